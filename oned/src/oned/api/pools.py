"""Lists of objects: filters, ranges, pages, and what a caller may see."""

from __future__ import annotations

from oned.api.calls import Call
from oned.api.responses import wrong_parameter
from oned.state.entry import Row, Value
from oned.state.objects import Kind

GROUP, MINE, ALL, MINE_AND_GROUP = -4, -3, -2, -1
"""Values of a pool's filter; a number from 0 is a user's id."""

FROM_START = TO_END = -1
_IDS_IN_STATEMENT_MAX = 20_000


def rows(
    call: Call,
    kind: Kind,
    *,
    filter_flag: int = ALL,
    start: int = FROM_START,
    end: int = TO_END,
    where: tuple[str, tuple[Value, ...]] | None = None,
) -> list[Row]:
    """Ids and bodies of what the caller may see, in the order that it wants.

    Args:
        call: who asks.
        kind: of which table.
        filter_flag: whose objects.
        start: lowest id, or the offset of a page.
        end: highest id; below -1 it is the length of a page, negated.
        where: a further condition with its parameters.

    Raises:
        Failure: the filter is none.
    """
    conditions, parameters = [], list[Value]()
    for text, values in (
        _chosen(call, filter_flag),
        _visible(call, kind, filter_flag),
        where or ("", ()),
    ):
        if text:
            conditions.append(f"({text})")
            parameters.extend(values)
    page = ""
    if end >= TO_END:
        if start > FROM_START:
            conditions.append("oid >= ?")
            parameters.append(start)
        if end > TO_END:
            conditions.append("oid <= ?")
            parameters.append(end)
    else:
        page = " LIMIT ? OFFSET ?"
        parameters += [-end, max(start, 0)]
    condition = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return call.reader.rows(
        f"SELECT oid, body FROM {kind.table}{condition} "  # noqa: S608  # names are constants
        f"ORDER BY oid {_order(call)}{page}",
        tuple(parameters),
    )


def to_xml(kind: Kind, found: list[Row]) -> str:
    """The list as OpenNebula writes it; an empty one is not an empty string."""
    inner = "".join([str(row[1]) for row in found])
    return f"<{kind.pool_root}>{inner}</{kind.pool_root}>"


def _order(call: Call) -> str:
    order = call.caller.list_order or call.config.api_list_order
    return "ASC" if order == "ASC" else "DESC"


def _chosen(call: Call, filter_flag: int) -> tuple[str, tuple[Value, ...]]:
    caller = call.caller
    if filter_flag == ALL:
        return "", ()
    if filter_flag == MINE:
        return "uid = ?", (caller.uid,)
    if filter_flag == GROUP:
        return "gid = ?", (caller.gid,)
    if filter_flag == MINE_AND_GROUP:
        return f"uid = ? OR gid IN ({_numbers(caller.groups)})", (caller.uid,)
    if filter_flag >= 0:
        return "uid = ?", (filter_flag,)
    raise wrong_parameter("Incorrect filter_flag")


def _visible(call: Call, kind: Kind, filter_flag: int) -> tuple[str, tuple[Value, ...]]:
    caller = call.caller
    if caller.is_admin or filter_flag == MINE:
        return "", ()
    ruled = call.services.rules.visible(caller, kind.type)
    if ruled.everything:
        return "", ()
    texts = [
        "uid = ?",
        "other_u = 1",
        f"group_u = 1 AND gid IN ({_numbers(caller.groups)})",
    ]
    if ruled.oids:
        texts.append(f"oid IN ({_numbers(ruled.oids)})")
    if ruled.gids:
        texts.append(f"gid IN ({_numbers(ruled.gids)})")
    return " OR ".join(texts), (caller.uid,)


def _numbers(numbers: frozenset[int]) -> str:
    """Ids as a list in a statement: they are integers, and too many for parameters."""
    return ", ".join([str(int(number)) for number in sorted(numbers)[:_IDS_IN_STATEMENT_MAX]])
