"""Ids that are never reused: the last one given for each table, in ``pool_control``."""

from __future__ import annotations

from oned.state.entry import Reader, Statement

ZONE_SERVER = "zone_server"
"""Counter of the server ids of this zone; it has no table of its own."""

OID_MAX = 0x7FFF_FFFF

FIRST_COUNTS = {
    "user_pool": 1,
    "group_pool": 99,
    "zone_pool": 99,
    "acl": 2,
    "document_pool": -1,
}
"""Last ids after bootstrap: what is below is OpenNebula's own, 100 begins the administrator's."""


def last_oid(reader: Reader, table: str) -> int:
    """The last id given, -1 when there was none yet."""
    rows = reader.rows("SELECT last_oid FROM pool_control WHERE tablename = ?", (table,))
    return int(rows[0][0] or 0) if rows else -1


def raise_to(table: str, oid: int) -> Statement:
    """Record that ``oid`` was given. Changes may be applied out of the order of their ids."""
    return Statement(
        "UPDATE pool_control SET last_oid = ? WHERE tablename = ? AND last_oid < ?",
        (oid, table, oid),
    )


def start(table: str, oid: int) -> Statement:
    """The counter's row, made once at bootstrap."""
    return Statement("INSERT INTO pool_control (tablename, last_oid) VALUES (?, ?)", (table, oid))
