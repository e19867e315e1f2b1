"""Pure builders: OneZone → Kubernetes objects, and why an object differs from what it shall be.

Neighbours: ``reconcile`` asks for what shall be, ``kube`` applies it. No I/O, no clock and no
randomness: secrets are made elsewhere, once, and are never rendered here.
"""
