"""OpenNebula front-end daemon in Python, kept available by Raft."""

__version__ = "0.1.0"
