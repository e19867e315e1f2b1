"""Methods by resource: each module declares its own."""

from oned.api.methods import acls, documents, groups, leadership, system, users, zones
from oned.api.registry import Registry


def all_methods() -> Registry:
    """Everything that this server answers."""
    registry = Registry()
    for module in (system, zones, leadership, users, groups, acls, documents):
        module.register(registry)
    return registry
