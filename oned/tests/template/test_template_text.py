"""The text form of OpenNebula's template grammar."""

import pytest

from oned.errors import TemplateError
from oned.template import Template, Vector


def parse_error(text):
    with pytest.raises(TemplateError) as caught:
        Template.parse(text)
    return str(caught.value)


def test_reads_values_bare_quoted_and_empty():
    template = Template.parse('port = 2633\nNAME="a \\"b\\" c"\nEMPTY =\nNONE=""\nLAST =')
    assert template.get("PORT") == "2633"
    assert template.get("name") == 'a "b" c'
    assert template.get("EMPTY", "default") == ""
    assert template.get("NONE", "default") == ""
    assert template.get("LAST", "default") == ""
    assert template.get("ABSENT", "default") == "default"


def test_reads_a_vector_over_lines_with_comments_between_its_items():
    template = Template.parse(
        """FEDERATION = [
            MODE = "STANDALONE", # why
            # a line of its own
            zone_id = 0,
            SERVER_ID = -1 ]"""
    )
    vector = template.vector("FEDERATION")
    assert vector == Vector({"MODE": "STANDALONE", "ZONE_ID": "0", "SERVER_ID": "-1"})
    assert [vector.line(name) for name in ("MODE", "ZONE_ID", "SERVER_ID")] == [2, 4, 5]


def test_keeps_repeated_names_in_order():
    template = Template.parse('A=1\nB=[X=1]\nA=2\nB=[X=2]\nA=[ ]\nB="plain"')
    assert template.values("A") == ["1", "2", Vector()]
    assert template.vectors("B") == [Vector({"X": "1"}), Vector({"X": "2"})]
    assert template.get("B") == "plain"
    assert template.names() == ["A", "B"]
    assert [attribute.line for attribute in template.attributes("A")] == [1, 3, 5]


def test_first_of_a_repeated_name_in_a_vector_counts():
    assert Template.parse("A=[X=1, x=2]").vector("A") == Vector({"X": "1"})


def test_quoted_value_spans_lines():
    template = Template.parse('A="one\ntwo" B=3')
    assert template.get("A") == "one\ntwo"
    assert template.line("B") == 2


def test_escaped_quote_closes_only_when_no_other_quote_follows():
    assert Template.parse('A="C:\\"').get("A") == "C:\\"
    assert Template.parse('A="say \\"x\\""').get("A") == 'say "x"'


def test_hash_inside_quotes_is_no_comment():
    assert Template.parse('A="#1" # two').get("A") == "#1"


def test_names_that_xml_reserves_get_a_prefix():
    assert Template.parse("2nd=1\nxmlns=2").names() == ["ONE_2ND", "ONE_XMLNS"]
    vector = Template.parse("RAFT=[XMLRPC_TIMEOUT_MS=1, 2nd=2]").vector("RAFT")
    assert vector == Vector({"XMLRPC_TIMEOUT_MS": "1", "ONE_2ND": "2"})


@pytest.mark.parametrize("text", ["", "  \n\n", "# only a comment", "# one\n  # two\n"])
def test_nothing_is_an_empty_template(text):
    assert len(Template.parse(text)) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A B", "syntax error, unexpected VARIABLE, expecting EQUAL or EQUAL_EMPTY"),
        ("A", "syntax error, unexpected end of file, expecting EQUAL or EQUAL_EMPTY"),
        ("A=1\n= 2", "syntax error, unexpected EQUAL, expecting VARIABLE"),
        ("A=[B=1,]", "syntax error, unexpected CBRACKET, expecting VARIABLE"),
        ("A=[B=1 C=2]", "syntax error, unexpected VARIABLE, expecting COMMA or CBRACKET"),
        ("A=[B=1", "syntax error, unexpected end of file, expecting COMMA or CBRACKET"),
        ("A=[B]", "syntax error, unexpected CBRACKET, expecting EQUAL"),
        ("A=[B=]", "syntax error, unexpected CBRACKET, expecting STRING"),
        ("A=[B=[C=1]]", "syntax error, unexpected OBRACKET, expecting STRING"),
        ("A==1", "syntax error, unexpected EQUAL, expecting STRING or OBRACKET"),
        ('A="b', "syntax error, unterminated string"),
        ('A="x]]>y"', "a value may not contain ]]>"),
        ("A=x\x00y", "a value may not contain the character U+0000"),
    ],
)
def test_error_says_what_was_found_and_expected(text, message):
    assert parse_error(text).startswith(f"Parse error: {message} at line ")


def test_error_names_line_and_columns():
    assert parse_error("A=1\nB = [ C=1\n  D=2 ]").endswith(" at line 3, columns 3:4")


def test_set_add_remove_and_copy():
    template = Template()
    template.add("a", "1")
    template.add("A", "2")
    other = template.copy()
    other.set("A", "3")
    other.remove("absent")
    assert template.values("A") == ["1", "2"]
    assert other.values("A") == ["3"]
    assert template != other
    other.remove("a")
    assert other == Template()


@pytest.mark.parametrize("name", ["", "A-B", "A B", "é", "A\n"])
def test_a_name_outside_the_grammar_is_refused(name):
    with pytest.raises(TemplateError):
        Template().set(name, "x")


@pytest.mark.parametrize("value", ["a]]>b", "\x01", "\ud800", "\uffff"])
def test_a_value_that_xml_cannot_hold_is_refused(value):
    for change in (Template().set, Template().add):
        with pytest.raises(TemplateError):
            change("A", value)
    with pytest.raises(TemplateError):
        Vector({"A": value})


def test_merge_replaces_names_and_removes_with_an_empty_vector():
    template = Template.parse("A=1 A=2 B=3 C=[X=1]")
    template.merge(Template.parse("A=[Y=1]\nC=[ ]\nD=4\nD=5"))
    assert template == Template.parse("B=3 A=[Y=1] D=4 D=5")


def test_vector_is_a_mapping_that_ignores_case():
    vector = Vector([("name", "x")])
    assert vector["Name"] == "x"
    assert "NAME" in vector
    assert 3 not in vector
    assert hash(vector) == hash(Vector({"NAME": "x"}))
    assert Vector({**vector, "ID": "1"}) == Vector({"ID": "1", "NAME": "x"})
