"""The XML form: children with text, or with one level of elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml import etree

from oned.errors import TemplateError
from oned.template.attributes import Attribute, Value, Vector

_MALFORMED_XML = "Parse error: XML Template malformed."


def element(name: str, value: Value) -> str:
    """One attribute as XML, values in CDATA, items of a vector in alphabetical order."""
    if isinstance(value, str):
        return f"<{name}><![CDATA[{value}]]></{name}>"
    inner = "".join(f"<{key}><![CDATA[{value[key]}]]></{key}>" for key in sorted(value))
    return f"<{name}>{inner}</{name}>"


def parse_xml(text: str) -> Iterator[Attribute]:
    """Attributes of an XML template: children with text, or with one level of elements."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        strip_cdata=True,
    )
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError, ValueError) as error:
        raise TemplateError(_MALFORMED_XML) from error
    document: Any = root.getroottree().docinfo
    if document.doctype:
        raise TemplateError(_MALFORMED_XML)
    for child in root:
        name = str(child.tag)
        value = (
            Vector((str(item.tag), _text(item)) for item in child) if len(child) else _text(child)
        )
        if len(child) and (child.text or "").strip():
            raise TemplateError(_MALFORMED_XML)
        line: Any = child.sourceline
        yield Attribute(name, value, line or 0)


def _text(element: etree._Element) -> str:
    """Text of an element that may hold nothing else."""
    if len(element):
        raise TemplateError(_MALFORMED_XML)
    return element.text or ""
