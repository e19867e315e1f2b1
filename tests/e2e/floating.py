"""A zone behind an address of MetalLB, and what a neighbour on the nodes' network hears of it."""

from __future__ import annotations

import dataclasses
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Self

import clients
import lab
import onezones
import pytest
import timeouts

NETWORK = "kind"
"""kind's Docker network, on whose bridge this machine is a neighbour of the nodes."""
_ETHERTYPE_ARP = 0x0806
_FRAME_BYTES = 2048
_HEADER = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")


def install_metallb() -> None:
    """MetalLB, with a pool of addresses of the nodes' network."""
    subprocess.run(
        [sys.executable, lab.ROOT / "tools" / "cluster", "metallb"],
        check=True,
        timeout=timeouts.METALLB_READY,
    )


def address(zone: onezones.Zone) -> str:
    """The zone's floating address, as soon as it has one."""

    def given() -> str:
        service = lab.kubectl_json("-n", zone.namespace, "get", "service", zone.name)
        found = service["status"].get("loadBalancer", {}).get("ingress", [])
        return found[0]["ip"] if found else ""

    return lab.wait_until("MetalLB gave an address", given, timeouts.STEP)


def url(zone: onezones.Zone) -> str:
    """The zone's calls at its floating address."""
    return f"http://{address(zone)}:{onezones.API_PORT}/RPC2"


def client(zone: onezones.Zone) -> clients.RetryingClient:
    """A client outside of the cluster that knows the floating address alone."""
    return clients.RetryingClient(url(zone), zone.session())


def hardware_address(node: str) -> str:
    """A node's Ethernet address on the nodes' network."""
    found: str = json.loads(lab.docker("inspect", node))[0]["NetworkSettings"]["Networks"][NETWORK][
        "MacAddress"
    ]
    return found


@dataclasses.dataclass(frozen=True)
class Claim:
    """A gratuitous ARP: sender and target are one address."""

    at: float
    hardware: str
    address: str


class Neighbour:
    """Hears every gratuitous ARP for one address on the nodes' bridge while it is open."""

    def __init__(self, wanted: str) -> None:
        """Get ready to listen."""
        self.claims: list[Claim] = []
        network = json.loads(lab.docker("network", "inspect", NETWORK))[0]
        self._bridge = network["Options"].get(
            "com.docker.network.bridge.name", f"br-{network['Id'][:12]}"
        )
        self._wanted = wanted
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        try:
            self._wire = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE_ARP)
            )
        except PermissionError:
            pytest.skip("hearing ARP on the nodes' bridge takes CAP_NET_RAW")
        self._wire.bind((self._bridge, _ETHERTYPE_ARP))
        self._wire.settimeout(0.2)

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                frame = self._wire.recv(_FRAME_BYTES)
            except TimeoutError:
                continue
            _, _, _, _, _, hardware, sender, _, target = _ARP.unpack_from(frame, _HEADER.size)
            if sender == target and socket.inet_ntoa(sender) == self._wanted:
                self.claims.append(Claim(time.time(), hardware.hex(":"), self._wanted))

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._stopped.set()
        self._thread.join(timeouts.CALL)
        self._wire.close()
