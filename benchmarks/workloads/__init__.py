"""What is done to the systems: one module each, from a system to tables and measured values."""
