"""XML in and out, text out, and that nothing is lost on the way."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from oned.errors import TemplateError
from oned.template import Attribute, Template, Vector

NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8)
VALUES = st.text(max_size=20).filter(
    lambda value: not value.endswith("\\") and is_storable(value) and "\r" not in value
)
VECTORS = st.dictionaries(NAMES, VALUES, max_size=4).map(Vector)
TEMPLATES = st.lists(st.builds(Attribute, NAMES, st.one_of(VALUES, VECTORS)), max_size=8).map(
    Template
)


def is_storable(value):
    try:
        Template().set("A", value)
    except TemplateError:
        return False
    return True


def without_empty_vectors(template):
    """XML cannot tell an empty vector from an empty value."""
    return Template(attribute for attribute in template if attribute.value != Vector())


@given(TEMPLATES)
def test_text_comes_back_as_it_was(template):
    assert Template.parse(template.to_text()) == template


@given(TEMPLATES)
def test_xml_comes_back_as_it_was(template):
    template = without_empty_vectors(template)
    assert Template.parse(template.to_xml()) == template


@given(TEMPLATES)
def test_xml_is_well_formed_and_sorted(template):
    names = [child.tag for child in etree.fromstring(template.to_xml("ROOT").encode())]
    assert names == sorted(names)


@given(TEMPLATES, TEMPLATES)
def test_merge_leaves_what_the_other_does_not_name(template, other):
    merged = template.copy()
    merged.merge(other)
    for name in {*template.names(), *other.names()}:
        source = other if name in other else template
        expected = source.values(name)
        if source is other:
            expected = [value for value in expected if value != Vector()]
        assert merged.values(name) == expected


@given(st.text(alphabet='AB=[],"#\\ \n<>]x1', max_size=30))
def test_any_text_parses_or_gives_a_parse_error(text):
    try:
        template = Template.parse(text)
    except TemplateError as error:
        assert str(error).startswith("Parse error: ")  # noqa: PT017
    else:
        etree.fromstring(template.to_xml().encode())


def test_xml_form():
    template = Template.parse('NAME=x\nNIC=[NETWORK=b,IP="1<2"]\nNIC=[ ]\nEMPTY=')
    assert template.to_xml() == (
        "<TEMPLATE><EMPTY><![CDATA[]]></EMPTY><NAME><![CDATA[x]]></NAME>"
        "<NIC><IP><![CDATA[1<2]]></IP><NETWORK><![CDATA[b]]></NETWORK></NIC><NIC></NIC></TEMPLATE>"
    )


def test_text_form():
    template = Template.parse('NIC=[NETWORK=b,IP="1 \\"2\\""]\nNAME="say \\"x\\""\nNONE=[]')
    assert template.to_text() == (
        'NAME="say \\"x\\""\nNIC=[\n  IP="1 \\"2\\"",\n  NETWORK="b" ]\nNONE=[ ]'
    )


def test_reads_xml_whatever_its_root_is_called():
    template = Template.parse(
        "<ANY><!-- c --><name>x &amp; y</name>"
        "<NIC>\n <IP><![CDATA[1<2]]></IP><GATEWAY/></NIC><E/></ANY>"
    )
    assert template == Template(
        [
            Attribute("NAME", "x & y"),
            Attribute("NIC", Vector({"IP": "1<2", "GATEWAY": ""})),
            Attribute("E", ""),
        ]
    )


@pytest.mark.parametrize(
    "text",
    [
        "<",
        "<A>",
        "<A></B>",
        "<A><B>1</B></A><C/>",
        "<A><B>text<C>1</C></B></A>",
        "<A><B><C><D>1</D></C></B></A>",
        '<!DOCTYPE A [<!ENTITY x "y">]><A><B>&x;</B></A>',
        '<!DOCTYPE A SYSTEM "file:///etc/passwd"><A><B>1</B></A>',
        "<!DOCTYPE A><A><B>1</B></A>",
        "<A><B>&undefined;</B></A>",
        "<A>\ud800</A>",
    ],
)
def test_malformed_or_unsafe_xml_is_refused(text):
    with pytest.raises(TemplateError, match=r"^Parse error: XML Template malformed\.$"):
        Template.parse(text)


@pytest.mark.parametrize("text", ["<A><B>]]&gt;</B></A>", "<A><B-C>1</B-C></A>"])
def test_xml_may_not_smuggle_what_text_may_not_hold(text):
    with pytest.raises(TemplateError, match=r"^Parse error: "):
        Template.parse(text)


def test_entity_expansion_is_refused_before_it_costs():
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
    text = f'<!DOCTYPE A [<!ENTITY e0 "{"x" * 10}">{entities}]><A><B>&e8;</B></A>'
    with pytest.raises(TemplateError, match="malformed"):
        Template.parse(text)
