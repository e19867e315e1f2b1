"""What is done about a change of leadership outside the server: addresses, routes, services.

``runner`` runs the configured hooks in order; ``vip`` and ``kubernetes`` are two that stay
resident in the daemon, since starting a process costs more than an election. Raft alone decides
who leads: nothing here can make a server step down, and nothing here is believed by another.
"""
