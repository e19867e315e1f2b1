"""Frames that tell a network where an address lives now, and sending them.

A gratuitous ARP (RFC 5227, section 3) or an unsolicited neighbour advertisement (RFC 4861,
section 7.2.6) makes neighbours and switches replace what they remember of the old leader's
machine. We build the frames ourselves: starting ``arping`` costs more than the announcement.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

__all__ = ["frames", "send"]

_ETHERTYPE_ARP = 0x0806
_ETHERTYPE_IPV6 = 0x86DD
_BROADCAST = b"\xff" * 6
_ALL_NODES = IPv6Address("ff02::1")
_ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"
_REQUEST = 1
_REPLY = 2
_ICMPV6 = 58
_ADVERTISEMENT = 136
_OVERRIDE = 1 << 29


def frames(mac: str, address: IPv4Address | IPv6Address) -> list[bytes]:
    """The Ethernet frames that announce ``address`` at ``mac`` to the whole network.

    For IPv4 both forms, request and reply: some neighbours heed only the one, some the other.

    Raises:
        ValueError: ``mac`` is not of six bytes.
    """
    hardware = bytes.fromhex(mac.replace(":", ""))
    if len(hardware) != len(_BROADCAST):
        raise ValueError(f"{mac!r} is no Ethernet address")
    if isinstance(address, IPv6Address):
        return [_advertisement(hardware, address)]
    return [_arp(hardware, address, operation) for operation in (_REQUEST, _REPLY)]


def send(interface: str, announcements: list[bytes]) -> None:
    """Put frames on the wire.

    Raises:
        PermissionError: raw sockets need CAP_NET_RAW.
        OSError: the interface is gone or down.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        for frame in announcements:
            wire.send(frame)


def _arp(hardware: bytes, address: IPv4Address, operation: int) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    target = _BROADCAST if operation == _REPLY else bytes(6)
    body += hardware + address.packed + target + address.packed
    return _BROADCAST + hardware + struct.pack("!H", _ETHERTYPE_ARP) + body


def _advertisement(hardware: bytes, address: IPv6Address) -> bytes:
    option = struct.pack("!BB", 2, 1) + hardware
    body = struct.pack("!I", _OVERRIDE) + address.packed + option
    length = 4 + len(body)
    pseudo = address.packed + _ALL_NODES.packed + struct.pack("!II", length, _ICMPV6)
    checksum = _checksum(pseudo + struct.pack("!BBH", _ADVERTISEMENT, 0, 0) + body)
    message = struct.pack("!BBH", _ADVERTISEMENT, 0, checksum) + body
    # The hop limit of 255 proves to the receiver that no router forwarded it.
    header = struct.pack("!IHBB", 6 << 28, length, _ICMPV6, 255)
    header += address.packed + _ALL_NODES.packed
    return _ALL_NODES_MAC + hardware + struct.pack("!H", _ETHERTYPE_IPV6) + header + message


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
