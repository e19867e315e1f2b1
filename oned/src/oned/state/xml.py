"""Object bodies as OpenNebula writes them: one line, no declaration, no namespaces.

Bodies come from our own tables, so that reading one only has to be fast and exact;
what comes from outside is parsed in ``oned.template`` and ``oned.api.xmlrpc``.
"""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from oned.template import Attribute, Template, Vector

_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, huge_tree=True, collect_ids=False, remove_comments=True
)


def escape(text: str) -> str:
    """``text`` as the content of an element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cdata(text: str) -> str:
    """``text`` in CDATA; a ``]]>`` inside is split over two sections."""
    return f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>"


def ids(name: str, numbers: Iterable[int]) -> str:
    """A set of ids, ascending: ``<USERS><ID>0</ID>…</USERS>``."""
    inner = "".join([f"<ID>{number}</ID>" for number in sorted(numbers)])
    return f"<{name}>{inner}</{name}>"


class Body:
    """The children of a parsed body's root, by name. A missing one reads as empty."""

    __slots__ = ("_children",)

    def __init__(self, text: str) -> None:
        """Parse ``text``; a ``ValueError`` says that it is no XML."""
        try:
            root = etree.fromstring(text, _PARSER)
        except etree.XMLSyntaxError as error:
            raise ValueError(f"body is not XML: {error}") from error
        self._children: dict[str, list[etree._Element]] = {}
        for child in root:
            self._children.setdefault(str(child.tag), []).append(child)

    def text(self, name: str, default: str = "") -> str:
        found = self._children.get(name)
        return (found[0].text or "") if found else default

    def integer(self, name: str, default: int = 0) -> int:
        found = self._children.get(name)
        return int(found[0].text or default) if found else default

    def integers(self, name: str) -> set[int]:
        """The numbers of an id set."""
        found = self._children.get(name)
        return {int(item.text or 0) for item in found[0]} if found else set()

    def fields(self, name: str) -> dict[str, str] | None:
        """Names and texts of the grandchildren in the first ``name``; None without one."""
        found = self._children.get(name)
        return {str(item.tag): item.text or "" for item in found[0]} if found else None

    def repeated(self, name: str) -> list[dict[str, str]]:
        """``fields`` of every ``name``."""
        return [
            {str(item.tag): item.text or "" for item in element}
            for element in self._children.get(name, ())
        ]

    def nested(self, name: str) -> list[dict[str, str]]:
        """Fields of every child of the first ``name``: ``SERVER_POOL`` and its servers."""
        found = self._children.get(name)
        if not found:
            return []
        return [{str(item.tag): item.text or "" for item in child} for child in found[0]]

    def template(self, name: str = "TEMPLATE") -> Template:
        """The attributes in ``name``."""
        found = self._children.get(name)
        return Template.stored(_attributes(found[0])) if found else Template()


def _attributes(element: etree._Element) -> list[Attribute]:
    attributes = []
    for child in element:
        value = (
            Vector([(str(item.tag), item.text or "") for item in child])
            if len(child)
            else child.text or ""
        )
        attributes.append(Attribute(str(child.tag), value))
    return attributes
