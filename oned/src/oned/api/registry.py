"""The one way in which a method is declared: name, parameters, where it runs, handler.

A resource's room registers its methods here; the call's flow (``oned.api.flow``) reads the
declaration and knows no method by name. Introspection is answered from the same declarations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from oned.api.xmlrpc import Answer, Fault, FaultCode, Int64, Unsupported, Value

Handler: TypeAlias = Callable[..., Awaitable[Answer]]
"""``async def handler(call, *parameters)``; parameters come typed and complete."""


class Type(Enum):
    """Type of a parameter, with its name in introspection."""

    STRING = "string"
    INT = "int"
    LONG = "i8"
    BOOLEAN = "boolean"
    INTEGERS = "array"


class _Required:
    __slots__ = ()


REQUIRED: Final = _Required()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter after the session; only trailing ones have a default."""

    name: str
    type: Type
    default: Any = REQUIRED
    secret: bool = False

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED


def string(name: str, *, secret: bool = False) -> Parameter:
    return Parameter(name, Type.STRING, secret=secret)


def integer(name: str) -> Parameter:
    return Parameter(name, Type.INT)


def boolean(name: str) -> Parameter:
    return Parameter(name, Type.BOOLEAN)


def long(name: str) -> Parameter:
    return Parameter(name, Type.LONG)


class Where(Enum):
    """Which server executes a method."""

    ANYWHERE = "any server, from its own database"
    LEADER = "the leader, a follower forwards"


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    Attributes:
        handler: what answers it.
        parameters: those after the session.
        where: who executes it.
        writes: whether it can change anything; a forwarded write whose answer is lost has an
            unknown outcome.
        linearizable: whether a leader makes sure that it still leads before it reads.
            ``raftstatus`` does not: it must answer when there is no quorum.
        when_disabled: allowed while the zone is disabled.
        help: one sentence.
    """

    name: str
    handler: Handler
    parameters: tuple[Parameter, ...]
    where: Where
    writes: bool
    linearizable: bool
    when_disabled: bool
    help: str

    def bind(self, values: Sequence[Value]) -> list[Any]:
        """Typed and complete arguments from the parameters after the session.

        Parameters too many are ignored, as OpenNebula does.

        Raises:
            Fault: TYPE, when one is missing or of the wrong type.
        """
        bound = []
        for position, parameter in enumerate(self.parameters):
            if position < len(values):
                bound.append(_typed(parameter, position + 1, values[position]))
            elif parameter.is_required:
                raise Fault(
                    FaultCode.TYPE,
                    f"{self.name} lacks parameter {position + 1}, {parameter.name}",
                )
            else:
                bound.append(parameter.default)
        return bound

    def loggable(self, values: Sequence[Value], length: int) -> list[object]:
        """The parameters after the session with secrets hidden and long strings cut."""
        shown: list[object] = []
        for position, value in enumerate(values):
            is_known = position < len(self.parameters)
            if not is_known or self.parameters[position].secret:
                shown.append("****")
            else:
                shown.append(value[:length] if isinstance(value, str) else value)
        return shown

    @property
    def signatures(self) -> list[list[str]]:
        """One signature for each number of parameters: result first, then the session."""
        required = sum(parameter.is_required for parameter in self.parameters)
        types = [parameter.type.value for parameter in self.parameters]
        return [["array", "string", *types[:count]] for count in range(required, len(types) + 1)]


def _typed(parameter: Parameter, position: int, value: Value) -> Any:
    match parameter.type:
        case Type.STRING:
            valid = isinstance(value, str)
        case Type.INT:
            valid = type(value) is int
        case Type.LONG:
            valid = type(value) in (int, Int64)
        case Type.BOOLEAN:
            valid = isinstance(value, bool)
        case Type.INTEGERS:
            valid = isinstance(value, tuple) and all(type(item) is int for item in value)
    if not valid:
        raise Fault(
            FaultCode.TYPE,
            f"Parameter {position}, {parameter.name}, must be {_name(parameter.type)}, not"
            f" {_kind(value)}",
        )
    return value


def _name(wanted: Type) -> str:
    return "an array of int" if wanted is Type.INTEGERS else wanted.value


def _kind(value: Value) -> str:
    match value:
        case Unsupported():
            return value.type
        case bool():
            return "boolean"
        case Int64():
            return "i8"
        case int():
            return "int"
        case str():
            return "string"
        case _:
            return "such an array"


class Registry:
    """All methods of this server by name."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}

    def read(
        self,
        name: str,
        handler: Handler,
        *parameters: Parameter,
        where: Where = Where.ANYWHERE,
        linearizable: bool = True,
        when_disabled: bool = True,
        summary: str = "",
    ) -> None:
        """Declare a method that changes nothing."""
        self._add(
            Method(
                name,
                handler,
                parameters,
                where,
                writes=False,
                linearizable=linearizable,
                when_disabled=when_disabled,
                help=summary,
            )
        )

    def write(
        self,
        name: str,
        handler: Handler,
        *parameters: Parameter,
        when_disabled: bool = False,
        summary: str = "",
    ) -> None:
        """Declare a method that changes something: the leader executes it."""
        self._add(
            Method(
                name,
                handler,
                parameters,
                Where.LEADER,
                writes=True,
                linearizable=False,
                when_disabled=when_disabled,
                help=summary,
            )
        )

    def _add(self, method: Method) -> None:
        assert method.name not in self._methods, method.name
        optional = [not parameter.is_required for parameter in method.parameters]
        assert optional == sorted(optional), f"{method.name}: only trailing ones have defaults"
        self._methods[method.name] = method

    def get(self, name: str) -> Method:
        """The method called ``name``.

        Raises:
            Fault: NO_SUCH_METHOD.
        """
        method = self._methods.get(name)
        if method is None:
            raise Fault(FaultCode.NO_SUCH_METHOD, f"Method '{name}' not defined")
        return method

    def names(self) -> list[str]:
        return sorted([*self._methods, *INTROSPECTION])

    def introspect(self, name: str, values: Sequence[Value]) -> Answer:
        """Answer a ``system.*`` method; these take no session.

        Raises:
            Fault: wrong parameters, or an unknown method in them.
        """
        if name == "system.listMethods":
            return self.names()
        if len(values) != 1 or not isinstance(values[0], str):
            raise Fault(FaultCode.TYPE, f"{name} takes the name of a method")
        target = values[0]
        if name == "system.methodHelp":
            return INTROSPECTION.get(target) or self.get(target).help or target
        if target in INTROSPECTION:
            listing = target == "system.listMethods"
            return [["array"]] if listing else [["array", "string"]]
        return self.get(target).signatures


INTROSPECTION = {
    "system.listMethods": "Names of all methods",
    "system.methodHelp": "What a method does, in a sentence",
    "system.methodSignature": "Types of a method's result and parameters",
}
"""Methods that OpenNebula's XML-RPC library brings, with their help."""
