"""How a call runs, from bytes to bytes, the same for every method.

Parse, authenticate here, log, find out who executes it, run it or send it on, answer. The order
and the texts are OpenNebula's; what a caller is told about a change whose fate is not known is
ours: it is never called a failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import structlog

from oned.api import responses
from oned.api.calls import Call, PassToNewLeader, Services
from oned.api.forwarding import HOPS_MAX, Forwarder
from oned.api.registry import INTROSPECTION, Method, Registry, Where
from oned.api.responses import Code, Failure, from_proposal, internal, lost
from oned.api.xmlrpc import (
    Fault,
    FaultCode,
    MethodCall,
    parse_call,
    write_answer,
    write_failure,
    write_fault,
    write_success,
)
from oned.errors import Busy, NotLeader, OutcomeUnknown, ProposalError, StorageError
from oned.raft.types import NO_SERVER, RaftStatus, Role
from oned.state import users
from oned.state.callers import ONEADMIN, Caller

RequestHook: TypeAlias = Callable[[str, str, float], None]
"""Called once a call with its method, its outcome and seconds."""

UNKNOWN_METHOD = "unknown"
"""Method in metrics for calls of methods that do not exist: callers must not make up labels."""

SUCCESSOR_TIMEOUT_SECONDS = 3.0
"""How long a call waits to learn who leads after this server gave the lead away or lost it."""

LEADERLESS_SECONDS = 0.5
"""How long a follower that knows no leader lets a call wait: a hand-over takes less."""

_POLL_SECONDS = 0.02
_DEBUG_LEVEL = 3
_NO_COPY = "Cannot process request, this server has no copy of the zone's database yet"

_log = structlog.get_logger()


class Envelope(NamedTuple):
    """What came beside the call.

    Attributes:
        body: the call as it came.
        hops: how often it was sent on.
        linearizable: the caller wants to read what is true now, on a follower too.
    """

    body: bytes
    hops: int = 0
    linearizable: bool = False


class Flow:
    """Answers calls. One for each server.

    Attributes:
        is_stopping: a call that is cancelled from now on is answered all the same.
    """

    def __init__(
        self,
        services: Services,
        registry: Registry,
        forwarder: Forwarder,
        requests: RequestHook | None = None,
    ) -> None:
        self._services = services
        self._registry = registry
        self._forwarder = forwarder
        self._requests = requests
        self.is_stopping = False
        self._logs_calls = services.config.log.debug_level >= _DEBUG_LEVEL

    async def answer(self, envelope: Envelope) -> bytes:
        """The answer to one call; whatever happens, there is one."""
        started = time.perf_counter()
        name, outcome = UNKNOWN_METHOD, "fault"
        try:
            parsed = parse_call(envelope.body)
            if parsed.name in INTROSPECTION:
                name = parsed.name
                answer = write_answer(self._registry.introspect(name, parsed.parameters))
                outcome = "success"
            else:
                method = self._registry.get(parsed.name)
                name = method.name
                answer, outcome = await self._answer(method, parsed, envelope)
        except Fault as fault:
            answer = write_fault(fault)
        if self._requests:
            self._requests(name, outcome, time.perf_counter() - started)
        return answer

    async def _answer(
        self, method: Method, parsed: MethodCall, envelope: Envelope
    ) -> tuple[bytes, str]:
        """Answer and outcome of a call that takes a session."""
        try:
            answer = await self._run(method, parsed, envelope)
        except Failure as failure:
            return self._failed(method, failure)
        except ProposalError as error:
            return self._failed(method, from_proposal(error))
        except Fault:
            raise
        except asyncio.CancelledError:
            if not self.is_stopping:
                raise
            _let_go_on()
            return self._failed(method, lost("this server stops", writes=method.writes))
        except Exception:  # noqa: BLE001  # the root of a call: it is answered whatever happens
            _log.exception("a call failed unexpectedly", method=method.name)
            return self._failed(method, internal("Internal error, see the log of this server"))
        return answer, "success"

    def _failed(self, method: Method, failure: Failure) -> tuple[bytes, str]:
        text = f"[{method.name}] {failure.text}"
        if self._logs_calls:
            _log.debug("call failed", method=method.name, code=failure.code.name, text=text)
        return write_failure(text, failure.code, failure.object_id), failure.code.name.lower()

    async def _run(self, method: Method, parsed: MethodCall, envelope: Envelope) -> bytes:
        must = _must_be_true_now(method, envelope)
        # Who calls is read from the same tables, and must be true now as well.
        is_confirmed = must and await self._is_confirmed(method)
        try:
            caller = self._authenticate(method, parsed)
        except StorageError as error:
            raise internal(responses.NO_DATABASE) from error
        status = self._services.front.status()
        if status.role is Role.FOLLOWER and method.where is Where.LEADER:
            return await self._forward(method, envelope, wait=LEADERLESS_SECONDS)
        if must or method.where is Where.LEADER:
            _refuse_while_useless(status)
            if must and status.role is Role.FOLLOWER and not is_confirmed:
                return await self._forward(method, envelope, wait=SUCCESSOR_TIMEOUT_SECONDS)
        try:
            return await self._execute(method, parsed, envelope, caller, status)
        except NotLeader:
            # Certainly not done here, so that whoever leads now, or soon, may do it.
            return await self._forward(method, envelope, wait=SUCCESSOR_TIMEOUT_SECONDS)
        except PassToNewLeader:
            return await self._forward(method, envelope, wait=SUCCESSOR_TIMEOUT_SECONDS)

    async def _is_confirmed(self, method: Method) -> bool:
        """Whether this server follows, and its tables show what is true now."""
        front = self._services.front
        if method.where is Where.LEADER or front.status().role is not Role.FOLLOWER:
            return False
        try:
            await front.read_barrier()
        except (NotLeader, Busy):
            return False
        return True

    def _authenticate(self, method: Method, parsed: MethodCall) -> Caller:
        """The caller.

        Raises:
            Fault: there is no session.
            Failure: it is not good.
        """
        if not parsed.parameters or not isinstance(parsed.parameters[0], str):
            raise Fault(FaultCode.TYPE, f"Parameter 0 of {method.name}, the session, is a string")
        services = self._services
        caller = services.authenticator.caller(
            parsed.parameters[0],
            reader=services.front.reader,
            version=services.front.table_version(users.KIND.table),
        )
        if self._logs_calls:
            _log.debug(
                "call",
                method=method.name,
                uid=caller.uid if caller else -1,
                parameters=method.loggable(
                    parsed.parameters[1:], services.config.xmlrpc.log_result_length
                ),
            )
        if caller is None:
            if not services.front.status().serving and self._is_empty():
                raise internal(_NO_COPY)
            raise Failure(Code.AUTHENTICATION, responses.UNAUTHENTICATED)
        return caller

    def _is_empty(self) -> bool:
        sql = "SELECT oid FROM user_pool WHERE oid = ?"
        return not self._services.front.reader.rows(sql, (ONEADMIN,))

    async def _execute(
        self,
        method: Method,
        parsed: MethodCall,
        envelope: Envelope,
        caller: Caller,
        status: RaftStatus,
    ) -> bytes:
        """Run the method on this server, whose ``status`` is that of right now."""
        services = self._services
        if not method.when_disabled and services.zone_disabled:
            raise internal(responses.ZONE_DISABLED)
        arguments = method.bind(parsed.parameters[1:])
        if method.linearizable and status.serving and status.role in (Role.LEADER, Role.SOLO):
            try:
                await services.front.read_barrier()
            except (NotLeader, Busy):
                if _must_be_true_now(method, envelope):
                    raise
        call = Call(method=method.name, caller=caller, term=status.term, services=services)
        try:
            return write_success(await method.handler(call, *arguments))
        except OutcomeUnknown:
            raise
        except Exception as error:
            if not call.changed:
                raise
            # Whatever went wrong afterwards, it is too late to say that nothing was done.
            _log.exception("a call failed after its change", method=method.name)
            raise lost("the answer could not be made", writes=True) from error

    async def _forward(self, method: Method, envelope: Envelope, *, wait: float) -> bytes:
        """The leader's answer, unchanged.

        Raises:
            Failure: there is no leader, or it does not answer.
        """
        if envelope.hops >= HOPS_MAX:
            raise internal(responses.NO_LEADER)
        endpoint = await self._leader_endpoint(wait)
        if endpoint is None:
            raise internal(responses.NO_LEADER)
        return await self._forwarder.forward(
            endpoint,
            envelope.body,
            hops=envelope.hops,
            writes=method.writes,
            linearizable=envelope.linearizable,
        )

    async def _leader_endpoint(self, wait: float) -> str | None:
        """Where the leader is, when it is another server; it is waited for that long."""
        front = self._services.front
        deadline = time.monotonic() + wait
        while True:
            status = front.status()
            leader = status.leader_id
            if status.role is Role.FOLLOWER and leader not in (NO_SERVER, status.server_id):
                member = front.configuration().get(leader)
                if member is not None:
                    return member.endpoint
            if time.monotonic() >= deadline:
                return None
            # The front has no event for this; it happens once in a hand-over.
            await asyncio.sleep(_POLL_SECONDS)


def _let_go_on() -> None:
    """This task was cancelled, and has something to say before it ends."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


def _must_be_true_now(method: Method, envelope: Envelope) -> bool:
    """Whether an answer that is a little old would be a wrong one."""
    return method.linearizable and (envelope.linearizable or method.where is Where.LEADER)


def _refuse_while_useless(status: RaftStatus) -> None:
    """Refuse what needs a leader, or a follower that has one, where there is none.

    Raises:
        Failure: the caller may try again.
    """
    if status.role is Role.CANDIDATE:
        raise internal(responses.IN_ELECTION)
    if not status.serving:
        raise internal(
            responses.NO_LEADER if status.role is Role.FOLLOWER else responses.REPLICATING
        )
