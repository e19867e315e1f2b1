"""What the vip hook decides, from arguments and from what the system says."""

import json
import struct
from ipaddress import ip_address, ip_interface

import pytest

from oned.errors import ConfigError, HookError
from oned.hooks import addresses, announcement
from oned.hooks.addresses import Floating, Request, parse_arguments, plan_addresses
from oned.hooks.resident import Side

# As printed by iproute2 6.1, shortened.
LINKS = json.loads("""
[{"ifindex":1,"ifname":"lo","link_type":"loopback","address":"00:00:00:00:00:00",
  "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
 {"ifindex":2,"ifname":"eth0","link_type":"ether","address":"02:00:00:00:00:0a",
  "addr_info":[{"family":"inet","local":"10.0.0.10","prefixlen":24,"label":"eth0"},
               {"family":"inet","local":"10.0.0.99","prefixlen":32},
               {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"},{}]},
 {"ifindex":3,"ifname":"tun0","link_type":"none","addr_info":[]}]
""")


def request(side, *pairs):
    return Request(side, tuple(Floating(name, ip_interface(text)) for name, text in pairs))


def test_arguments_are_those_of_vip_sh():
    assert parse_arguments(["leader", "eth0", "10.0.0.99/24", "eth1", "fd00::9/64"]) == request(
        Side.LEADER, ("eth0", "10.0.0.99/24"), ("eth1", "fd00::9/64")
    )
    assert parse_arguments(["follower"]) == Request(Side.FOLLOWER, ())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", "leader|follower"),
        ("boss eth0 10.0.0.1/24", "boss"),
        ("leader eth0", "no partner"),
        ("leader eth0 10.0.0.999/24", "no ip/cidr"),
        ("leader eth0 10.0.0.1/99", "no ip/cidr"),
        ("leader 10.0.0.1/24 eth0", "no interface"),
        ("leader an-interface-too-long 10.0.0.1/24", "no interface"),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    with pytest.raises(ConfigError) as caught:
        parse_arguments(arguments.split())
    assert text in str(caught.value)


def test_leader_adds_what_is_absent():
    assert plan_addresses(request(Side.LEADER, ("eth0", "10.0.0.50/24")), LINKS) == [
        ("address", "add", "10.0.0.50/24", "dev", "eth0")
    ]
    assert plan_addresses(request(Side.LEADER, ("eth0", "fd00::9/64")), LINKS) == [
        ("address", "add", "fd00::9/64", "dev", "eth0", "nodad")
    ]


def test_leader_leaves_what_is_there():
    assert plan_addresses(request(Side.LEADER, ("eth0", "10.0.0.10/24")), LINKS) == []


def test_follower_removes_what_is_there_whatever_its_prefix():
    assert plan_addresses(request(Side.FOLLOWER, ("eth0", "10.0.0.99/24")), LINKS) == [
        ("address", "del", "10.0.0.99/32", "dev", "eth0")
    ]
    assert plan_addresses(request(Side.FOLLOWER, ("eth0", "10.0.0.77/24")), LINKS) == []


def test_interface_that_does_not_exist():
    """A leader must say so; a follower has nothing to remove there."""
    with pytest.raises(HookError, match="eth7 does not exist"):
        plan_addresses(request(Side.LEADER, ("eth7", "10.0.0.1/24")), LINKS)
    assert plan_addresses(request(Side.FOLLOWER, ("eth7", "10.0.0.1/24")), LINKS) == []


def test_only_ethernet_is_announced_on():
    assert addresses.hardware_address("eth0", LINKS) == "02:00:00:00:00:0a"
    assert addresses.hardware_address("lo", LINKS) is None
    assert addresses.hardware_address("tun0", LINKS) is None
    assert addresses.hardware_address("eth7", LINKS) is None


SHOWN = """
Id=opennebula-flow.service
ActiveState=inactive
UnitFileState=enabled

Id=opennebula-gate.service
ActiveState=active
UnitFileState=disabled

Id=opennebula-form.service
ActiveState=inactive
UnitFileState=disabled

Id=opennebula-hem.service
ActiveState=inactive
UnitFileState=disabled

Id=opennebula-showback.timer
ActiveState=inactive
UnitFileState=
"""


def test_leader_starts_services_that_may_be_started():
    """Here flow is enabled, hem as shipped, form disabled by somebody, and showback absent."""
    units = addresses.parse_units(SHOWN)
    assert addresses.plan_services(Side.LEADER, units) == [
        ("start", "opennebula-flow.service"),
        ("start", "opennebula-hem.service"),
    ]


def test_follower_stops_services_that_run():
    assert addresses.plan_services(Side.FOLLOWER, addresses.parse_units(SHOWN)) == [
        ("stop", "opennebula-gate.service")
    ]


def test_no_services_at_all():
    assert addresses.parse_units("") == {}
    assert addresses.plan_services(Side.LEADER, {}) == []
    assert addresses.plan_services(Side.FOLLOWER, {}) == []


def test_gratuitous_arp_in_both_forms():
    request_frame, reply_frame = announcement.frames("02:00:00:00:00:0a", ip_address("10.0.0.99"))
    mac, address = bytes.fromhex("02000000000a"), bytes([10, 0, 0, 99])
    for frame, operation, target in ((request_frame, 1, bytes(6)), (reply_frame, 2, b"\xff" * 6)):
        assert frame[:14] == b"\xff" * 6 + mac + b"\x08\x06"
        assert struct.unpack("!HHBBH", frame[14:22]) == (1, 0x0800, 6, 4, operation)
        assert frame[22:] == mac + address + target + address


def test_neighbour_advertisement_has_a_valid_checksum():
    (frame,) = announcement.frames("02:00:00:00:00:0a", ip_address("fd00::9"))
    header, message = frame[14:54], frame[54:]
    assert frame[:6] == bytes.fromhex("333300000001")
    assert header[7] == 255
    pseudo = header[8:40] + struct.pack("!II", len(message), 58)
    words = struct.unpack(f"!{len(pseudo + message) // 2}H", pseudo + message)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert message[0] == 136


@pytest.mark.parametrize("mac", ["", "02:00", "nonsense", "80:00:02:08:fe:80:00:00"])
def test_other_hardware_addresses_are_refused(mac):
    with pytest.raises(ValueError):
        announcement.frames(mac, ip_address("10.0.0.99"))
