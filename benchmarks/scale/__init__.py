"""The operator at scale: hundreds of zones behind a real API server, their servers simulated."""
