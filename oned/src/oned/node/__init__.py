"""The only driver of ``raft``: one event loop, one writing thread, one write at a time."""

from oned.node.driver import Node
from oned.node.settings import Observers, Settings

__all__ = ["Node", "Observers", "Settings"]
