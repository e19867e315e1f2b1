"""The resident ``vip`` hook: a floating address on bare metal, what OpenNebula's ``vip.sh`` does.

    RAFT_LEADER_HOOK   = [ COMMAND = "vip", ARGUMENTS = "leader eth0 10.3.3.2/24" ]
    RAFT_FOLLOWER_HOOK = [ COMMAND = "vip", ARGUMENTS = "follower eth0 10.3.3.2/24" ]

The leader adds the address at once, announces it a few times, and looks every second whether it
is still there; the follower takes it away. Then OpenNebula's services that run beside the leader
are started or stopped. Where the daemon is not root it uses ``sudo -n``, as the script does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from oned.errors import HookError
from oned.hooks import addresses, announcement
from oned.hooks.process import execute
from oned.hooks.resident import Side

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from oned.hooks.resident import Occasion

__all__ = ["Vip"]

ANNOUNCEMENTS = 5
"""Rounds of announcing after the address was added: one may be lost, a switch may be slow."""

ASSERT_SECONDS = 1.0
"""Between looks at the address while leading, and between announcements."""

COMMAND_SECONDS = 5.0
"""For one ``ip`` or ``arping``."""

SERVICE_SECONDS = 60.0
"""For one ``systemctl start`` or ``stop``."""

LOCK_SECONDS = 60.0
"""How long to wait for another ``vip.sh``; then go on all the same, as the script does."""

_LOCK_POLL_SECONDS = 0.05
_log = structlog.get_logger()


def _lock_path() -> Path:
    location = os.environ.get("ONE_LOCATION")
    return Path(location) / "var/lock/vip_sh" if location else Path("/var/lock/one/vip_sh")


class Vip:
    """Adds, keeps, announces and removes floating addresses.

    Args:
        lock: file that serialises us with any ``vip.sh`` run by hand; the script's own if None.
    """

    def __init__(self, lock: Path | None = None) -> None:
        self._lock = lock if lock is not None else _lock_path()
        privileged = os.geteuid() == 0 or shutil.which("sudo") is None
        self._sudo = () if privileged else ("sudo", "-n")

    def check(self, arguments: Sequence[str]) -> None:
        """Refuse arguments that name no side or no address; see ``Resident``."""
        addresses.parse_arguments(arguments)

    async def run(self, arguments: Sequence[str], occasion: Occasion) -> None:
        """Hold the addresses until cancelled, or give them up; see ``Resident``."""
        request = addresses.parse_arguments(arguments)
        log = _log.bind(hook="vip", role=request.side.value, term=occasion.term)
        if request.side is Side.FOLLOWER:
            await self._settle(request, log)
            await self._switch_services(request.side, log)
            return
        links, _ = await self._settle(request, log)
        # Beside holding the address: a service may take its time to start.
        services = asyncio.create_task(self._switch_services(request.side, log))
        try:
            await self._hold(request, links, log)
        finally:
            services.cancel()
            await asyncio.wait({services})

    async def close(self) -> None:
        """Nothing is kept between runs."""

    async def _hold(
        self, request: addresses.Request, links: Sequence[dict[str, Any]], log: Any
    ) -> None:
        """Announce the addresses, and put them back whenever somebody took them."""
        rounds = ANNOUNCEMENTS
        while True:
            if rounds:
                rounds -= 1
                await self._announce(request, links, log)
            await asyncio.sleep(ASSERT_SECONDS)
            links, changed = await self._settle(request, log)
            if changed:
                rounds = ANNOUNCEMENTS

    async def _settle(
        self, request: addresses.Request, log: Any
    ) -> tuple[list[dict[str, Any]], bool]:
        """Bring the addresses to what is asked; the links as found, and whether any changed."""
        links = await _links(request)
        if not addresses.plan_addresses(request, links):
            return links, False
        failures = []
        async with self._locked(log):
            for command in addresses.plan_addresses(request, links):
                result = await execute(*self._sudo, "ip", *command, seconds=COMMAND_SECONDS)
                if result.code:
                    failures.append(f"ip {' '.join(command)}: {result.output}")
                else:
                    log.info("address changed", command=" ".join(command))
        # Another may have done the same meanwhile: what counts is how things are now.
        if failures and addresses.plan_addresses(request, await _links(request)):
            raise HookError("; ".join(failures))
        return links, True

    async def _announce(
        self, request: addresses.Request, links: Sequence[dict[str, Any]], log: Any
    ) -> None:
        for floating in request.addresses:
            mac = addresses.hardware_address(floating.interface, links)
            if mac is None:
                continue
            try:
                announcement.send(floating.interface, announcement.frames(mac, floating.address.ip))
            except PermissionError:
                await self._arping(floating, log)
            except (OSError, ValueError) as error:
                log.warning(
                    "address not announced", address=str(floating.address), error=str(error)
                )

    async def _arping(self, floating: addresses.Floating, log: Any) -> None:
        if floating.address.version != 4 or shutil.which("arping") is None:  # noqa: PLR2004
            log.warning(
                "address not announced: neither CAP_NET_RAW nor arping",
                address=str(floating.address),
            )
            return
        for form in ("-U", "-A"):
            arguments = ("-c", "1", form, "-I", floating.interface, str(floating.address.ip))
            with contextlib.suppress(HookError):  # nobody has to hear it: leading goes on
                await execute(*self._sudo, "arping", *arguments, seconds=COMMAND_SECONDS)

    async def _switch_services(self, side: Side, log: Any) -> None:
        """Start or stop the services beside the leader; their failure is theirs alone."""
        if shutil.which("systemctl") is None:
            return
        try:
            shown = await execute(
                *("systemctl", "show", "--no-pager", "-p", "Id,UnitFileState,ActiveState"),
                *addresses.SERVICES,
                seconds=COMMAND_SECONDS,
            )
            if shown.code:  # no systemd runs here: a container
                log.debug("services left alone", output=shown.output)
                return
            for verb, unit in addresses.plan_services(side, addresses.parse_units(shown.output)):
                await self._switch_service(verb, unit, log)
        except HookError as error:
            log.warning("services not switched", error=str(error))

    async def _switch_service(self, verb: str, unit: str, log: Any) -> None:
        # The rules for sudo that OpenNebula ships name services without their suffix.
        name = unit.removesuffix(".service")
        result = await execute(*self._sudo, "systemctl", verb, name, seconds=SERVICE_SECONDS)
        if result.code:
            log.warning("service not switched", verb=verb, unit=name, output=result.output)
        else:
            log.info("service switched", verb=verb, unit=name)

    @contextlib.asynccontextmanager
    async def _locked(self, log: Any) -> AsyncIterator[None]:
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            log.debug("no lock", path=str(self._lock), error=error.strerror)
            yield
            return
        try:
            deadline = asyncio.get_running_loop().time() + LOCK_SECONDS
            while not _try_lock(descriptor):
                if asyncio.get_running_loop().time() > deadline:
                    log.warning("lock not had, going on", path=str(self._lock))
                    break
                await asyncio.sleep(_LOCK_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _links(request: addresses.Request) -> list[dict[str, Any]]:
    """The interfaces in question as they are; one that does not exist is left out."""
    links: list[dict[str, Any]] = []
    for interface in dict.fromkeys(floating.interface for floating in request.addresses):
        result = await execute(
            "ip", "-j", "address", "show", "dev", interface, seconds=COMMAND_SECONDS
        )
        if result.code and "does not exist" in result.output:
            continue
        try:
            links.extend(json.loads(result.output))
        except ValueError as error:
            raise HookError(f"ip address show dev {interface}: {result.output}") from error
    return links
