"""The replicated content: zones, users, groups, rules and documents as tables.

One module per resource turns rows into models and changes into SQL statements.
Nothing here opens a connection or waits: callers bring a ``Reader`` and propose
the ``Change`` that comes out.
"""
