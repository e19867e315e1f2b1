"""Numbers and names that are fixed by the protocol, not by configuration."""

RPC_PORT = 2633
"""XML-RPC, OpenNebula's PORT."""

PEER_PORT = 2635
"""Raft between the servers of a zone, mutual TLS (2634 is OpenNebula's gRPC)."""

ADMIN_PORT = 2636
"""/livez, /healthz, /readyz, /leader, /status, /metrics."""

OPENNEBULA_VERSION = "7.4.0"
"""The OpenNebula release whose API we answer with; ``one.system.version`` says this."""
