"""``kubectl onezone``: what an administrator asks and does, with the operator up or down.

It reads the Kubernetes API, and the servers through it, as the user is logged in; what it sees is
judged by the same pure code as in the operator. ``view`` and ``report`` are pure, ``gather`` reads.
"""
