"""Composition root: opens, wires and starts the parts of one server, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import uvloop

from oned import founding, pki, tls
from oned.api.server import ApiServer
from oned.config import Config, Environment
from oned.errors import (
    ConfigError,
    DatabaseDamaged,
    DatabaseFailed,
    ForeignDatabase,
    StorageError,
)
from oned.fencing import Fence, fenced_report
from oned.hooks.kubernetes import KubernetesHook
from oned.hooks.runner import HookRunner
from oned.hooks.vip import Vip
from oned.node import Node, Observers, Settings
from oned.raft.timing import Options
from oned.raft.types import Configuration, ServerId
from oned.state.bootstrap import bootstrap_change
from oned.storage.store import Store
from oned.telemetry import logs
from oned.telemetry.admin import AdminServer
from oned.telemetry.metrics import Metrics
from oned.transport.peers import Peers

SEED = ServerId(0)
"""Id of the server that makes the zone."""

SERVICES = ("sunstone", "onegate", "oneflow", "oneform", "oneks")
"""OpenNebula's own services, each of which reads serveradmin's credentials from a file."""

EXIT_FAILED = 1

VOTERS_TO_HAND_OVER = 2
"""With fewer nobody could take over, and waiting would serve nobody."""

GC_THRESHOLDS = (10_000, 20, 50)
"""Rarer than Python's own: a call makes hundreds of objects and hardly any cycle."""

OPEN_PAUSE_SECONDS = (0.2, 2.0)
"""First and longest pause before a database that a full or bad disk refuses is tried again."""

_ALONE = (
    "{error}. No other server is known to have its content, so that nothing was replaced. Put a"
    " backup in its place; or, if the zone has other servers, move {path} away and start again:"
    " they send this server a copy"
)

_log = structlog.get_logger()


def run(config: Config, environment: Environment) -> int:
    """Serve until a signal; the exit code.

    Raises:
        OnedError: the server cannot be started as configured.
    """
    logs.setup(config.log.debug_level)
    return uvloop.run(_serve(config, environment))


def init(config: Config, environment: Environment) -> int:
    """Make the database of a new zone; the exit code.

    Raises:
        OnedError: there is one already, or credentials are missing.
    """
    store = Store(environment.var / "one.db")
    try:
        zone_uuid = ""
        if not config.federation.solo:
            certificate = config.peer.directory / f"{environment.server_name}.crt"
            zone_uuid = pki.identity(certificate).zone_uuid
        _bootstrap(store, config, environment, zone_uuid=zone_uuid)
    finally:
        store.close()
    return 0


# --- database --------------------------------------------------------------------


async def _open(config: Config, environment: Environment) -> Store:
    """The database of this server, as soon as the disk gives it.

    One that is damaged is replaced by an empty one, which the zone fills, where the zone has
    other voters.

    Raises:
        StorageError: it cannot be used, and waiting does not help.
    """
    path = environment.var / "one.db"
    loop = asyncio.get_running_loop()
    pause, longest = OPEN_PAUSE_SECONDS
    while True:
        try:
            return await loop.run_in_executor(None, Store, path)
        except DatabaseFailed as error:
            _log.error("the database cannot be opened, it is tried again", error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
        except DatabaseDamaged as error:
            if config.federation.solo or not Store.others_vote(path):
                raise StorageError(_ALONE.format(error=error, path=path)) from error
            aside = Store.put_aside(path)
            _log.error("the database is put aside", error=str(error), path=str(aside))


def _bootstrap(store: Store, config: Config, environment: Environment, *, zone_uuid: str) -> None:
    """Make a zone: with this server as its only voter, or solo with no server at all."""
    solo = config.federation.solo
    server = None
    if not solo:
        server = founding.member(store, environment, SEED)
    password = secrets.token_hex(16)
    change = bootstrap_change(
        oneadmin=founding.read_credentials(environment.auth_file),
        serveradmin_password=password,
        zone_endpoint=config.federation.master_oned or environment.zone_endpoint,
        server=server,
        now=int(time.time()),
    )
    store.bootstrap(
        change,
        zone_uuid=zone_uuid,
        server_id=ServerId(-1) if server is None else SEED,
        configuration=Configuration(() if server is None else (server,)),
    )
    _write_service_credentials(environment.var / ".one", f"serveradmin:{password}\n")
    _log.info("zone created", server=environment.server_name, solo=solo)


def _write_service_credentials(directory: Path, text: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        path = directory / f"{service}_auth"
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as file:  # noqa: PTH123 (a descriptor)
                file.write(text)


def _settle_identity(
    store: Store, config: Config, environment: Environment, zone_uuid: str | None
) -> None:
    """Make the database fit who this server is, or refuse to go on with it.

    ``zone_uuid`` is the zone in this server's certificate; None for a solo server.
    """
    facts = store.facts
    if not facts.initialised and store.replaces:
        # Whoever made a second zone here would lose the first.
        if config.federation.solo or not Store.others_vote(store.path):
            raise StorageError(
                f"the database {store.path} is empty, and there was another one in its place: put"
                f" a backup there, or remove {store.path}.synced to begin anew"
            )
        _log.warning("the database is new in place of another one: the zone has to send its copy")
        return
    if not facts.initialised:
        if config.federation.solo:
            _bootstrap(store, config, environment, zone_uuid="")
        elif environment.may_bootstrap and founding.is_founded(environment):
            _log.warning("the zone was founded on another server, and has to send its copy")
        elif environment.may_bootstrap and zone_uuid is not None:
            _bootstrap(store, config, environment, zone_uuid=zone_uuid)
        return
    if zone_uuid is None:
        return
    if facts.zone_uuid not in ("", zone_uuid):
        raise ForeignDatabase(
            f"the database is of zone {facts.zone_uuid}, the certificate of zone {zone_uuid}: "
            f"give this server the right volume, or an empty one"
        )
    wanted = config.federation.server_id
    server_id = facts.server_id if wanted == "AUTO" else ServerId(wanted)
    if server_id < 0 and not facts.zone_uuid:
        raise ConfigError("SERVER_ID = AUTO needs a zone that knows this server: set its number")
    if not facts.zone_uuid or server_id != facts.server_id:
        if facts.server_id >= 0 and facts.zone_uuid:
            raise ForeignDatabase(
                f"the database is of server {facts.server_id}, oned.conf says {server_id}"
            )
        # Born solo: from now on it is a server of the zone that its certificate names.
        store.adopt(zone_uuid=zone_uuid, server_id=server_id, hard_state=facts.hard_state)


# --- life ------------------------------------------------------------------------


@dataclass(slots=True)
class _Parts:
    store: Store
    node: Node
    peers: Peers | None
    api: ApiServer
    admin: AdminServer
    hooks: HookRunner


def _settings(config: Config, environment: Environment) -> Settings:
    raft = config.raft
    wanted = config.federation.server_id
    return Settings(
        options=Options(
            election_timeout=raft.election_timeout_ms / 1000,
            heartbeat=raft.broadcast_timeout_ms / 1000,
        ),
        log_retention=raft.log_retention,
        limit_purge=raft.limit_purge,
        purge_interval=raft.log_purge_timeout_seconds,
        solo=config.federation.solo,
        fixed_id=None if wanted == "AUTO" else ServerId(wanted),
        name=environment.server_name,
    )


def _build(config: Config, environment: Environment, store: Store) -> _Parts:
    node = Node(store, _settings(config, environment), environment.var / "snapshots")
    peers = None
    if not config.federation.solo:
        peers = Peers(
            directory=config.peer.directory,
            name=environment.server_name,
            host=config.peer.listen_address,
            port=config.peer.port,
            events=node.post,
        )
    _settle_identity(store, config, environment, peers.zone_uuid if peers else None)
    node.restart_core()
    logs.identify(
        lambda: {
            "zone": node.store.facts.zone_uuid,
            "server": environment.server_name,
            "term": node.core.term,
        }
    )
    certificates = [peers.certificates] if peers else []
    api_certificates = _api_certificates(config)
    if api_certificates is not None:
        certificates.append(api_certificates)
    metrics = Metrics(environment.server_name)
    kubernetes = KubernetesHook(environment)
    metrics.route_seconds = kubernetes.unconfirmed_seconds
    hooks = HookRunner(
        residents={"vip": Vip(), "kubernetes": kubernetes},
        leader=config.leader_hook,
        follower=config.follower_hook,
        environment=environment,
        server_id=lambda: int(node.core.server_id),
        report=metrics.hook,
    )
    node.observers = Observers(
        leading=hooks.became_leader,
        following=hooks.became_follower,
        batch=metrics.batch,
        commit=metrics.commit,
        sync=metrics.sync,
        election=metrics.election,
        snapshot=metrics.snapshot,
    )
    admin = AdminServer(
        config.admin.listen_address,
        config.admin.port,
        lambda: {
            **node.report(),
            "certificates": {each.which: each.report() for each in certificates},
        },
        metrics,
        lambda: not node.failed.done() and node.database == "ok",
    )
    api = ApiServer(
        node,
        config,
        requests=metrics.call,
        backup=metrics.backup,
        certificates=api_certificates,
    )
    return _Parts(store, node, peers, api, admin, hooks)


def _api_certificates(config: Config) -> tls.Certificates | None:
    files = config.api_tls
    if files is None:
        return None
    watched = (files.certificate, files.key, *((files.authority,) if files.authority else ()))
    return tls.Certificates(
        "api", watched, lambda: tls.load_api(files.certificate, files.key, files.authority)
    )


async def _serve(config: Config, environment: Environment) -> int:
    for warning in config.warnings:
        _log.warning("oned.conf", warning=warning)
    ends = _Ends(Fence(environment.fence_file))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ends.ask)
    code: int | None = None
    while code is None:
        stay = _stay_fenced if ends.fence.is_up() else _take_part
        code = await stay(config, environment, ends)
    return code


@dataclass(slots=True)
class _Ends:
    """What ends a server's part in its zone: a signal, which a second one hurries, or a fence."""

    fence: Fence
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self) -> None:
        (self.hurried if self.stopped.is_set() else self.stopped).set()


async def _take_part(config: Config, environment: Environment, ends: _Ends) -> int | None:
    """Serve until a signal or a failure; the exit code, or None when the server was fenced."""
    parts = _build(config, environment, await _open(config, environment))
    try:
        await parts.admin.start()
        await parts.api.start()
        await parts.node.start(parts.peers)
        _settle_memory()
        _log.info("serving", port=config.port)
        return await _until_stopped(parts, ends)
    finally:
        await _retire(parts.node, environment.route_seconds, ends.hurried)
        await _stop(parts)


async def _stay_fenced(config: Config, environment: Environment, ends: _Ends) -> int | None:
    """Answer at the admin port, and do nothing else; None when the fence is taken away.

    The database is closed meanwhile, so that others may look at it.
    """
    node = Node(
        await _open(config, environment),
        _settings(config, environment),
        environment.var / "snapshots",
    )
    node.restart_core()
    report = fenced_report(node.report())
    await node.stop()
    node.store.close()
    admin = AdminServer(
        config.admin.listen_address,
        config.admin.port,
        lambda: report,
        Metrics(environment.server_name),
        lambda: True,
    )
    await admin.start()
    _log.warning("fenced: this server takes no part in its zone", file=str(ends.fence.path))
    try:
        await _first(ends.stopped.wait(), ends.fence.wait(up=False))
    finally:
        await admin.stop()
    return 0 if ends.stopped.is_set() else None


async def _first(*awaited: Awaitable[object]) -> None:
    """Until one of them has happened; the others are given up."""
    tasks = [asyncio.ensure_future(each) for each in awaited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _settle_memory() -> None:
    """What is there from the start stays: looking through it again and again costs pauses."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _until_stopped(parts: _Parts, ends: _Ends) -> int | None:
    failed = asyncio.Event()
    parts.node.failed.add_done_callback(lambda _failed: failed.set())
    await _first(ends.stopped.wait(), failed.wait(), ends.fence.wait(up=True))
    if not parts.node.failed.done():
        _log.info("stopping")
        return 0 if ends.stopped.is_set() else None
    error = parts.node.failed.exception()
    _log.error("stopping, this server cannot go on", error=str(error))
    return EXIT_FAILED


async def _retire(node: Node, route_seconds: float, hurried: asyncio.Event) -> None:
    """Hand over so that no caller finds nobody; a second signal ends the waiting.

    Those who route hear twice: that this server ends, which they may know already, and who leads
    now. kube-proxy takes in one change a second, so that the second news would come late if it
    came at once. Whoever is sent here in the meantime is forwarded.
    """
    if not route_seconds or node.failed.done() or len(node.core.voters) < VOTERS_TO_HAND_OVER:
        return
    if node.core.leadership is not None:
        await _pause(route_seconds, hurried)
        await node.hand_over()
    await _pause(route_seconds, hurried)


async def _pause(seconds: float, hurried: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await hurried.wait()


async def _stop(parts: _Parts) -> None:
    """Leadership first, so that callers find the successor while this server still answers."""
    await parts.node.hand_over()
    await parts.hooks.close()
    await parts.api.stop()
    await parts.node.stop()
    await parts.admin.stop()
    parts.store.close()
