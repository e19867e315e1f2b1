"""Wakes the reconciler: the only room that knows kopf. Events carry no decisions."""
