"""Between the servers of a zone: a port of their own, mutual TLS, frames and snapshots."""
