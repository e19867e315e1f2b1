"""Command lines: ``oned`` runs and prepares servers; ``onezone``, ``oneuser``, ``onegroup`` and
``oneacl`` are clients of the API, with OpenNebula's arguments, tables, messages and exit codes.

They parse, ask and print, and decide nothing.
"""
