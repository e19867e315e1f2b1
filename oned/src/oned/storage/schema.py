"""Tables, as OpenNebula names them (``src/sql/OneDB.cc``).

``REPLICATED`` is what a snapshot carries and what must be equal on all servers at
an equal applied index; the other tables are a server's own.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

metadata = MetaData()


def _pool(name: str, *extra: SchemaItem) -> Table:
    """A pool: id, name, XML body, and beside the body what permissions are filtered by."""
    return Table(
        name,
        metadata,
        Column("oid", Integer, primary_key=True, autoincrement=False),
        Column("name", String(128), nullable=False),
        Column("body", Text, nullable=False),
        Column("uid", Integer, nullable=False),
        Column("gid", Integer, nullable=False),
        Column("owner_u", Integer, nullable=False),
        Column("group_u", Integer, nullable=False),
        Column("other_u", Integer, nullable=False),
        *extra,
    )


user_pool = _pool("user_pool", UniqueConstraint("name", name="user_name"))
group_pool = _pool("group_pool", UniqueConstraint("name", name="group_name"))
zone_pool = _pool("zone_pool", UniqueConstraint("name", name="zone_name"))
document_pool = _pool("document_pool", Column("type", Integer, nullable=False))

acl = Table(
    "acl",
    metadata,
    Column("oid", Integer, primary_key=True, autoincrement=False),
    Column("userset", BigInteger, nullable=False),
    Column("resource", BigInteger, nullable=False),
    Column("rights", BigInteger, nullable=False),
    Column("zone", BigInteger, nullable=False),
    UniqueConstraint("userset", "resource", "rights", "zone", name="acl_rule"),
)

user_quotas = Table(
    "user_quotas",
    metadata,
    Column("user_oid", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

group_quotas = Table(
    "group_quotas",
    metadata,
    Column("group_oid", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

pool_control = Table(
    "pool_control",
    metadata,
    Column("tablename", String(32), primary_key=True),
    Column("last_oid", BigInteger, nullable=False),
)

db_versioning = Table(
    "db_versioning",
    metadata,
    Column("oid", Integer, primary_key=True, autoincrement=False),
    Column("version", String(256), nullable=False),
    Column("timestamp", Integer, nullable=False),
    Column("comment", String(256), nullable=False),
)

system_attributes = Table(
    "system_attributes",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("body", Text, nullable=False),
)

REPLICATED = (
    user_pool,
    group_pool,
    zone_pool,
    document_pool,
    acl,
    user_quotas,
    group_quotas,
    pool_control,
    db_versioning,
    system_attributes,
)

logdb = Table(
    "logdb",
    metadata,
    # In SQLite an INTEGER key is the table's own order; any other costs a second tree.
    Column(
        "log_index",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("term", Integer, nullable=False),
    Column("sqlcmd", Text, nullable=False),
    Column("timestamp", Integer, nullable=False),
    Column("fed_index", BigInteger, nullable=False),
    Column("applied", Integer, nullable=False),
    Column("members", Text, nullable=False),
    Column("checksum", Integer, nullable=False),
)
"""The Raft log. Ours are ``members``, the configuration of an entry that changes it, and
``checksum``, the CRC-32 of what Raft needs of the record: see ``oned.storage.records``."""

raft_state = Table(
    "raft_state",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
"""This server's own Raft state, one row a fact: see ``oned.storage.hard_state``."""
