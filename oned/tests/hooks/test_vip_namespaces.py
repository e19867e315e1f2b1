"""The vip hook between real network namespaces: two servers and a client on one bridge."""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import warnings

import pytest
import structlog

from oned.hooks import vip

pytestmark = pytest.mark.integration

FLOATING = "10.77.0.100"

HOLD = """
import asyncio, pathlib, signal, sys
from oned.hooks.resident import Occasion, Side
from oned.hooks.vip import Vip

async def main(lock, side, *arguments):
    vip = Vip(pathlib.Path(lock))
    run = asyncio.create_task(vip.run([side, *arguments], Occasion(Side(side), 1, 0, "zone-0")))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, run.cancel)
    await asyncio.wait({run})
    if not run.cancelled():
        run.result()

asyncio.run(main(*sys.argv[1:]))
"""


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def namespaces_permitted():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "not root, or no ip command"
    name = f"one-{secrets.token_hex(3)}"
    try:
        ip("netns", "add", name)
        try:
            ip("-n", name, "link", "add", "br0", "type", "bridge")
        finally:
            ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return error.stderr.strip()
    return None


class Network:
    """Namespaces a, b (servers) and c (client), each with eth0, on a bridge of a fourth."""

    HOSTS = ("a", "b", "c")

    def __init__(self, directory):
        self.directory = directory
        self.tag = secrets.token_hex(3)
        self.names = []
        switch = self.namespace("switch")
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for number, host in enumerate(self.HOSTS, 1):
            name = self.namespace(host)
            peer = ("peer", "name", "eth0", "netns", name)
            ip("-n", switch, "link", "add", f"port{number}", "type", "veth", *peer)
            ip("-n", switch, "link", "set", f"port{number}", "master", "br0", "up")
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def namespace(self, host):
        name = f"one-{self.tag}-{host}"
        ip("netns", "add", name)
        self.names.append(name)
        return name

    def name(self, host):
        return f"one-{self.tag}-{host}"

    def close(self):
        for name in self.names:
            ip("netns", "del", name)

    def link(self, host):
        return json.loads(ip("-n", self.name(host), "-j", "address", "show", "dev", "eth0"))[0]

    def mac(self, host):
        return self.link(host)["address"]

    def has(self, host, address=FLOATING):
        return address in [each["local"] for each in self.link(host)["addr_info"]]

    def learnt(self, address=FLOATING):
        """Which hardware the client believes the address is at."""
        found = json.loads(ip("-n", self.name("c"), "-j", "neigh", "show", "to", address) or "[]")
        return found[0].get("lladdr") if found else None

    def believe(self, mac, address=FLOATING):
        """Make the client remember an old place, as after having talked to the old leader."""
        entry = ("to", address, "lladdr", mac, "nud", "stale", "dev", "eth0")
        ip("-n", self.name("c"), "neigh", "replace", *entry)

    @contextlib.asynccontextmanager
    async def hook(self, host, side, *addresses):
        pairs = [part for address in addresses for part in ("eth0", address)]
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", self.name(host), sys.executable, "-c", HOLD),
            *(str(self.directory / f"{host}.lock"), side, *pairs),
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(10):
                await process.wait()

    async def run_hook(self, host, side, *addresses):
        async with self.hook(host, side, *addresses) as process, asyncio.timeout(20):
            assert await process.wait() == 0


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
def network(tmp_path):
    reason = namespaces_permitted()
    if reason is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"NOT TESTED: the floating address, {reason}", stacklevel=1)
        pytest.skip(f"network namespaces are not permitted here: {reason}")
    network = Network(tmp_path)
    yield network
    network.close()


async def test_address_moves_with_the_leader_and_the_network_learns_it(network):
    network.believe(network.mac("b"))
    async with network.hook("a", "leader", f"{FLOATING}/24"):
        await until(lambda: network.has("a"))
        await until(lambda: network.learnt() == network.mac("a"))
    assert network.has("a")  # only the follower's hook takes it away
    await network.run_hook("a", "follower", f"{FLOATING}/24")
    assert not network.has("a")
    assert network.has("a", "10.77.0.1")

    async with network.hook("b", "leader", f"{FLOATING}/24"):
        await until(lambda: network.has("b"))
        await until(lambda: network.learnt() == network.mac("b"))
        answer = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", network.name("c"), sys.executable, "-c"),
            "import socket; s = socket.socket(); s.settimeout(5)\n"
            f"print(s.connect_ex(('{FLOATING}', 1)))",
            stdout=asyncio.subprocess.PIPE,
        )
        # Refused by a kernel that has the address, and not unreachable.
        assert (await answer.communicate())[0] == b"111\n"


async def test_new_leader_is_learnt_while_the_old_one_still_has_the_address(network):
    """An old leader that was killed removes nothing: the announcement must be enough."""
    async with network.hook("a", "leader", f"{FLOATING}/24") as old:
        await until(lambda: network.learnt() == network.mac("a") or network.has("a"))
        old.kill()
    network.believe(network.mac("a"))
    async with network.hook("b", "leader", f"{FLOATING}/24"):
        await until(lambda: network.learnt() == network.mac("b"))


async def test_address_that_somebody_removes_comes_back(network):
    async with network.hook("a", "leader", f"{FLOATING}/24"):
        await until(lambda: network.has("a"))
        ip("-n", network.name("a"), "address", "del", f"{FLOATING}/24", "dev", "eth0")
        network.believe(network.mac("b"))
        await until(lambda: network.has("a"))
        await until(lambda: network.learnt() == network.mac("a"))


async def test_ipv6_address_is_announced_too(network):
    floating = "fd77::100"
    for number, host in enumerate(Network.HOSTS, 1):
        try:
            ip(
                *("-n", network.name(host), "address", "add", f"fd77::{number}/64"),
                *("dev", "eth0", "nodad"),
            )
        except subprocess.CalledProcessError:
            pytest.skip("no IPv6 here")
    network.believe(network.mac("b"), floating)
    async with network.hook("a", "leader", f"{floating}/64"):
        await until(lambda: network.has("a", floating))
        await until(lambda: network.learnt(floating) == network.mac("a"))


async def test_follower_without_the_address_succeeds(network):
    await network.run_hook("a", "follower", f"{FLOATING}/24")


async def test_leader_on_an_interface_that_does_not_exist_fails(network):
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", network.name("a"), sys.executable, "-c", HOLD),
        *(str(network.directory / "lock"), "leader", "eth7", f"{FLOATING}/24"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"interface eth7 does not exist" in errors


async def test_a_vip_sh_run_by_hand_is_waited_for(tmp_path):
    path = tmp_path / "vip_sh"
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        entered = asyncio.Event()

        async def enter():
            async with vip.Vip(path)._locked(structlog.get_logger()):
                entered.set()

        task = asyncio.create_task(enter())
        await asyncio.sleep(0.2)
        assert not entered.is_set()
        fcntl.flock(other, fcntl.LOCK_UN)
        await asyncio.wait_for(task, 10)


async def test_a_vip_sh_that_hangs_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(vip, "LOCK_SECONDS", 0.1)
    path = tmp_path / "vip_sh"
    with path.open("w") as other, structlog.testing.capture_logs() as logs:
        fcntl.flock(other, fcntl.LOCK_EX)
        async with vip.Vip(path)._locked(structlog.get_logger()):
            assert logs[0]["event"] == "lock not had, going on"
    async with vip.Vip(tmp_path / "no" / "directory")._locked(structlog.get_logger()):
        pass  # without OpenNebula's packages there is no script to wait for
