"""What an operator of the zone sees of a server: logs, metrics, and the admin port."""
