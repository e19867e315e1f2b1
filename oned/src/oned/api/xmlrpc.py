"""XML-RPC as OpenNebula's clients speak it: bytes to calls, answers to bytes. No I/O.

Whatever arrives is either a ``MethodCall`` or a ``Fault``. A body is refused before it can cost
anything: no document type (and so no entities), bounded depth, parameters and strings. The
server bounds the size of the body before it reads it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from lxml import etree


class FaultCode(IntEnum):
    """Numbers of xmlrpc-c, which OpenNebula's own server is made with."""

    INTERNAL = -500
    TYPE = -501
    INDEX = -502
    PARSE = -503
    NETWORK = -504
    TIMEOUT = -505
    NO_SUCH_METHOD = -506
    REFUSED = -507
    INTROSPECTION = -508
    LIMIT = -509


class Fault(Exception):
    """The call as a whole cannot be answered; ``code`` is one of ``FaultCode``."""

    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Int64(int):
    """An ``i8``; an ``i4`` or ``int`` is a plain ``int``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A value of a type that no method takes. It is harmless as a parameter too many."""

    type: str


Value: TypeAlias = "str | int | bool | tuple[Value, ...] | Unsupported"
"""What a parameter can be; ``Int64`` is among ``int``."""

Answer: TypeAlias = "str | int | bool | Sequence[Answer]"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one body.

    Attributes:
        parameters: how many, where ``one.*`` methods have 10 at most.
        items: elements of an array, which in OpenNebula is a list of group ids.
        string: characters of one string; templates and sessions.
        name: characters of a method's name.
    """

    parameters: int = 64
    items: int = 1024
    string: int = 8 * 2**20
    name: int = 128


LIMITS = Limits()


class MethodCall(NamedTuple):
    """A parsed call."""

    name: str
    parameters: tuple[Value, ...]


_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
    collect_ids=False,
    encoding="utf-8",
)
_DOCTYPE = re.compile(rb"(?:\s|\xef\xbb\xbf|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_BLANK = " \t\r\n"
_RANGE = {4: 1 << 31, 8: 1 << 63}


def parse_call(body: bytes, limits: Limits = LIMITS) -> MethodCall:
    """Read one ``methodCall``.

    Raises:
        Fault: PARSE, TYPE or LIMIT; nothing else.
    """
    if b"<!DOCTYPE" in body and _DOCTYPE.match(body):
        raise Fault(FaultCode.PARSE, "A document type is not allowed")
    try:
        root = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError as error:
        if getattr(error, "code", 0) == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
            raise Fault(FaultCode.LIMIT, "XML exceeds the limits on depth or text") from None
        raise Fault(FaultCode.PARSE, f"Call is not valid XML: {error.msg}") from None
    except (ValueError, LookupError):
        raise Fault(FaultCode.PARSE, "Call is not valid XML") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Fault(FaultCode.PARSE, "A document type is not allowed")
    if root.tag != "methodCall":
        raise Fault(FaultCode.PARSE, "The root element must be methodCall")
    children = list(root)
    if not children or children[0].tag != "methodName":
        raise Fault(FaultCode.PARSE, "methodCall must begin with methodName")
    name = _text(children[0]).strip(_BLANK)
    if len(name) > limits.name:
        raise Fault(FaultCode.LIMIT, f"A method's name has {limits.name} characters at most")
    if len(children) == 1:
        return MethodCall(name, ())
    if len(children) > 2 or children[1].tag != "params":  # noqa: PLR2004  # name, params
        raise Fault(FaultCode.PARSE, "methodCall holds methodName and params, nothing else")
    return MethodCall(name, _parameters(children[1], limits))


def _parameters(element: etree._Element, limits: Limits) -> tuple[Value, ...]:
    if len(element) > limits.parameters:
        raise Fault(FaultCode.LIMIT, f"A call has {limits.parameters} parameters at most")
    values = []
    for param in element:
        if param.tag != "param" or len(param) != 1 or (value := param[0]).tag != "value":
            raise Fault(FaultCode.PARSE, "params holds param elements with one value each")
        values.append(_value(value, limits))
    return tuple(values)


def _value(element: etree._Element, limits: Limits, *, nested: bool = False) -> Value:
    if not len(element):
        return _string(element, limits)
    if len(element) > 1 or (element.text or "").strip(_BLANK):
        raise Fault(FaultCode.PARSE, "A value holds one typed element or text")
    typed = element[0]
    match typed.tag:
        case "string":
            return _string(typed, limits)
        case "i4" | "int":
            return _integer(typed, 4)
        case "i8":
            return Int64(_integer(typed, 8))
        case "boolean":
            text = _text(typed)
            if text not in ("0", "1"):
                raise Fault(FaultCode.TYPE, "A boolean is 0 or 1")
            return text == "1"
        case "array" if not nested:
            return _array(typed, limits)
        case "array" | "double" | "dateTime.iso8601" | "base64" | "struct" | "nil":
            return Unsupported(str(typed.tag))
        case _:
            raise Fault(FaultCode.PARSE, "A value has an unknown type")


def _array(element: etree._Element, limits: Limits) -> tuple[Value, ...]:
    if len(element) != 1 or element[0].tag != "data":
        raise Fault(FaultCode.PARSE, "An array holds one data element")
    data = element[0]
    if len(data) > limits.items:
        raise Fault(FaultCode.LIMIT, f"An array has {limits.items} items at most")
    values = []
    for item in data:
        if item.tag != "value":
            raise Fault(FaultCode.PARSE, "An array's data holds values")
        values.append(_value(item, limits, nested=True))
    return tuple(values)


def _text(element: etree._Element) -> str:
    if len(element):
        raise Fault(FaultCode.PARSE, f"{element.tag} holds text only")
    return element.text or ""


def _string(element: etree._Element, limits: Limits) -> str:
    text = _text(element)
    if len(text) > limits.string:
        raise Fault(FaultCode.LIMIT, f"A string has {limits.string} characters at most")
    return text


def _integer(element: etree._Element, size: int) -> int:
    text = _text(element)
    if not _INTEGER.fullmatch(text):
        raise Fault(FaultCode.TYPE, f"An {element.tag} is a decimal number")
    number = int(text)
    if not -_RANGE[size] <= number < _RANGE[size]:
        raise Fault(FaultCode.TYPE, f"An {element.tag} has {size * 8} bits")
    return number


_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>'
_PARAM = f"{_HEAD}<params><param>"
_PARAM_END = "</param></params></methodResponse>\r\n"
_ARRAY = "<value><array><data>"
_ARRAY_END = "</data></array></value>"
_SUCCESS = f"{_PARAM}{_ARRAY}<value><boolean>1</boolean></value>"
_SUCCESS_END = f"<value><i4>0</i4></value>{_ARRAY_END}{_PARAM_END}"


def _escape(text: str) -> str:
    """``text`` such that a parser gives it back as it is, carriage returns included."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;") if "\r" in text else text


def _write(value: Answer) -> str:
    if isinstance(value, str):
        return f"<value><string>{_escape(value)}</string></value>"
    if isinstance(value, bool):
        return f"<value><boolean>{value:d}</boolean></value>"
    if isinstance(value, Int64):
        return f"<value><i8>{value}</i8></value>"
    if isinstance(value, int):
        return f"<value><i4>{value}</i4></value>"
    return "".join((_ARRAY, *[_write(item) for item in value], _ARRAY_END))


def write_success(value: Answer) -> bytes:
    """OpenNebula's answer array for a success."""
    return "".join((_SUCCESS, _write(value), _SUCCESS_END)).encode()


def write_failure(text: str, code: int, object_id: int = -1) -> bytes:
    """OpenNebula's answer array for a failure."""
    return write_answer((False, text, code, object_id, Int64(-1)))


def write_answer(value: Answer) -> bytes:
    """A plain answer, as introspection gives it."""
    return "".join((_PARAM, _write(value), _PARAM_END)).encode()


def write_fault(fault: Fault) -> bytes:
    """An XML-RPC fault."""
    return (
        f"{_HEAD}<fault><value><struct>"
        f"<member><name>faultCode</name><value><int>{fault.code:d}</int></value></member>"
        f"<member><name>faultString</name><value><string>{_escape(fault.text)}</string></value>"
        "</member></struct></value></fault></methodResponse>\r\n"
    ).encode()
