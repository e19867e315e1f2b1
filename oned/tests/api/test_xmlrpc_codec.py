"""Whatever arrives is a call or a fault, and answers are what clients read."""

import contextlib
import xmlrpc.client

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oned.api.xmlrpc import (
    LIMITS,
    Fault,
    FaultCode,
    Int64,
    Limits,
    MethodCall,
    Unsupported,
    parse_call,
    write_answer,
    write_failure,
    write_fault,
    write_success,
)


def call(*values: str, name: str = "one.x.y") -> bytes:
    inner = "".join(f"<param><value>{value}</value></param>" for value in values)
    return (
        f"<?xml version='1.0'?><methodCall><methodName>{name}</methodName>"
        f"<params>{inner}</params></methodCall>"
    ).encode()


def fault_of(body: bytes, limits: Limits = LIMITS) -> FaultCode:
    with pytest.raises(Fault) as error:
        parse_call(body, limits)
    return error.value.code


TEXT = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=("Cs", "Cc"),
        exclude_characters="\ufffe\uffff",
    )
)
VALUES = st.one_of(
    TEXT, st.booleans(), st.integers(-(2**31), 2**31 - 1), st.lists(st.integers(0, 100))
)


@given(st.lists(VALUES, max_size=10))
def test_what_a_client_writes_is_read(values):
    body = xmlrpc.client.dumps(tuple(values), "one.x.y").encode()
    read = parse_call(body)
    assert read.name == "one.x.y"
    assert list(read.parameters) == [tuple(v) if isinstance(v, list) else v for v in values]
    assert [type(p) for p in read.parameters if not isinstance(p, tuple)] == [
        type(v) for v in values if not isinstance(v, list)
    ]


@given(VALUES)
def test_what_is_answered_is_read_by_a_client(value):
    (answer,), _ = xmlrpc.client.loads(write_success(value))
    assert answer == [True, value, 0]
    assert type(answer[1]) is type(value)


def test_failures_and_faults_are_read_by_a_client():
    (answer,), _ = xmlrpc.client.loads(write_failure("[a] <b> & \r c", 1024, 7))
    assert answer == [False, "[a] <b> & \r c", 1024, 7, -1]
    assert b"<i8>-1</i8>" in write_failure("", 1, 1)
    with pytest.raises(xmlrpc.client.Fault) as error:
        xmlrpc.client.loads(write_fault(Fault(FaultCode.NO_SUCH_METHOD, "no <such> method")))
    assert (error.value.faultCode, error.value.faultString) == (-506, "no <such> method")
    (answer,), _ = xmlrpc.client.loads(write_answer([["array", "string"]]))
    assert answer == [["array", "string"]]


def test_integers_of_two_sizes_are_told_apart():
    read = parse_call(call("<i4>1</i4>", "<i8>1</i8>", "<int>-5</int>")).parameters
    assert [type(value) for value in read] == [int, Int64, int]
    assert read == (1, 1, -5)


def test_untyped_and_empty_values_are_strings():
    assert parse_call(call("a b", "", "<string/>")).parameters == ("a b", "", "")
    assert parse_call(call("<string><![CDATA[<a>]]></string>")).parameters == ("<a>",)
    assert parse_call(call("\n <string>a</string>\n ")).parameters == ("a",)


def test_a_call_may_lack_params():
    body = b"<methodCall><methodName> system.listMethods </methodName></methodCall>"
    assert parse_call(body) == MethodCall("system.listMethods", ())


def test_types_that_no_method_takes_are_marked():
    read = parse_call(call("<double>1.5</double>", "<struct/>")).parameters
    assert read == (Unsupported("double"), Unsupported("struct"))
    nested = "<array><data><value><array><data/></array></value></data></array>"
    assert parse_call(call(nested)).parameters == ((Unsupported("array"),),)


@pytest.mark.parametrize(
    "value",
    [
        "<i4>1.0</i4>",
        "<i4></i4>",
        "<i4> 1</i4>",
        "<i4>1_0</i4>",
        "<i4>٣</i4>",
        "<i4>0x10</i4>",
        "<i4>2147483648</i4>",
        "<i4>-2147483649</i4>",
        "<i8>9223372036854775808</i8>",
        f"<int>{'9' * 5000}</int>",
        "<boolean>true</boolean>",
        "<boolean>2</boolean>",
    ],
)
def test_bad_numbers_are_type_faults(value):
    assert fault_of(call(value)) is FaultCode.TYPE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<methodCall>",
        b"<methodResponse/>",
        b"<methodCall/>",
        b"<methodCall><params/></methodCall>",
        b"<methodCall><methodName>a</methodName><other/></methodCall>",
        b"<methodCall><methodName>a</methodName><params/><params/></methodCall>",
        b"<methodCall><methodName><b/></methodName></methodCall>",
        b"<methodCall><methodName>a</methodName><params><value/></params></methodCall>",
        call("<bigint>1</bigint>"),
        call("text<i4>1</i4>"),
        call("<i4>1</i4><i4>1</i4>"),
        call("<string>a<b/></string>"),
        call("<array/>"),
        "<methodCall/>".encode("utf-16"),
        call("a").replace(b"one.x.y", b"\xff\xfe"),
        call("&undeclared;"),
        call("&#0;"),
    ],
)
def test_malformed_calls_are_parse_faults(body):
    assert fault_of(body) is FaultCode.PARSE


BOMB = (
    b"<?xml version='1.0'?><!-- x --><!DOCTYPE a [<!ENTITY a0 'ha'>"
    + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b"]>"
    + call("&a11;")[21:]
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>" + call("a")[21:],
        b"\xef\xbb\xbf <!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + call("&x;")[21:],
        b"<?xml version='1.0'?><!-- a --><!DOCTYPE a><a/>",
    ],
)
def test_document_types_are_refused(body):
    assert fault_of(body) is FaultCode.PARSE


def test_a_doctype_inside_a_string_is_only_text():
    body = call("<string><![CDATA[<!DOCTYPE html>]]></string>")
    assert parse_call(body).parameters == ("<!DOCTYPE html>",)


def test_limits():
    deep = b"<methodCall>" + b"<a>" * 100_000
    assert fault_of(deep) is FaultCode.LIMIT
    assert fault_of(call("x" * 11_000_000)) is FaultCode.LIMIT
    limits = Limits(parameters=2, items=2, string=10, name=8)
    assert fault_of(call("a", "b", "c"), limits) is FaultCode.LIMIT
    items = "<array><data>" + "<value>a</value>" * 3 + "</data></array>"
    assert fault_of(call(items), limits) is FaultCode.LIMIT
    assert fault_of(call("x" * 11), limits) is FaultCode.LIMIT
    assert fault_of(call(name="n" * 9), limits) is FaultCode.LIMIT


PIECES = st.sampled_from(
    [
        "<methodCall>",
        "</methodCall>",
        "<methodName>",
        "</methodName>",
        "<params>",
        "</params>",
        "<param>",
        "</param>",
        "<value>",
        "</value>",
        "<array><data>",
        "</data></array>",
        "<i4>",
        "</i4>",
        "<string>",
        "</string>",
        "<boolean>1</boolean>",
        "<!DOCTYPE a [",
        "<!ENTITY b 'c'>",
        "]>",
        "&b;",
        "<!--",
        "-->",
        "<?pi",
        "?>",
        "<![CDATA[",
        "]]>",
        "1",
        "one.a.b",
        "é",
        "\x00",
    ]
)


@settings(max_examples=300)
@given(st.one_of(st.binary(), st.lists(PIECES, max_size=30).map(lambda p: "".join(p).encode())))
@example(b"<?xml version='1.0'?>")
@example(b"<!DOCTYPE" + b"<!--" * 1000)
def test_anything_is_a_call_or_a_fault(body):
    try:
        read = parse_call(body)
    except Fault:
        return
    assert isinstance(read.name, str)
    assert isinstance(read.parameters, tuple)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_call_is_a_call_or_a_fault(data):
    body = bytearray(xmlrpc.client.dumps(("user:pass", 1, True, [1, 2]), "one.x.y").encode())
    for _ in range(data.draw(st.integers(1, 5))):
        position = data.draw(st.integers(0, len(body) - 1))
        body[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Fault):
        parse_call(bytes(body))
