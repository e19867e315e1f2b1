"""https on request: clients trust ca.crt of the Secret, and rotation costs no call."""

from __future__ import annotations

import json
import ssl
import xmlrpc.client

import lab
import onezones
import pytest
import timeouts
from https import CALLS_MIN, STAGE, Client, all_use, condition, fingerprint, secret, state

OVERLAP_SECONDS = 20
"""Shorter than users need: the client of this test looks for new authorities all the time."""

pytestmark = timeouts.limit(timeouts.ZONE_READY + 8 * STAGE)


@pytest.fixture
def https_zone(namespace: str) -> tuple[onezones.Zone, str]:
    """examples/tls.yaml, reached by a node's port, and its URL."""
    manifest = onezones.example("tls")
    address = lab.node_address(lab.entry_node())
    manifest["spec"]["tls"] |= {
        "ipAddresses": [address],
        "authorityOverlapSeconds": OVERLAP_SECONDS,
    }
    zone = onezones.make(namespace, manifest, 3)
    return zone, zone.url().replace("http://", "https://")


def renew(zone: onezones.Zone, _client: Client) -> None:
    """A Secret that is gone is made anew; servers take what is in it."""
    before = secret(zone, f"{zone.name}-tls")["tls.crt"]
    lab.kubectl("-n", zone.namespace, "delete", "secret", f"{zone.name}-tls")
    lab.wait_until(
        "the operator has made another certificate",
        lambda: secret(zone, f"{zone.name}-tls")["tls.crt"] != before,
        timeouts.STEP,
    )
    shown = fingerprint(secret(zone, f"{zone.name}-tls")["tls.crt"])
    wanted = dict.fromkeys(zone.pods(), shown)
    lab.wait_until("all servers show it", lambda: all_use(zone, "api", wanted), STAGE)


def rotate_authority(zone: onezones.Zone, client: Client) -> None:
    """All three stages; the client learns what the Secret says."""
    authority = f"{zone.name}-ca"
    before = fingerprint(secret(zone, authority)["tls.crt"])
    lab.kubectl("-n", zone.namespace, "annotate", "secret", authority, "onezone.dev/rotate=now")

    def is_replaced() -> bool:
        client.learn()
        values = secret(zone, authority)
        alone = set(values) == {"tls.crt", "tls.key"}
        plan = zone.get()["status"]["plan"]
        if plan["message"] not in seen:
            seen.add(plan["message"])
            lab.step(f"  {plan['message']}")
        return alone and fingerprint(values["tls.crt"]) != before and plan["step"] == "Nothing"

    seen: set[str] = set()
    lab.wait_until("the authority is another one", is_replaced, 4 * STAGE)
    peers = secret(zone, f"{zone.name}-peers")
    wanted = {server: fingerprint(peers[f"{server}.crt"]) for server in zone.pods()}
    assert all_use(zone, "peer", wanted)
    new = fingerprint(secret(zone, authority)["tls.crt"])
    for server in zone.pods():
        certificates = zone.server_status(server)["certificates"]
        for which in ("api", "peer"):
            lab.wait_until(
                f"{server} trusts the new authority alone ({which})",
                lambda server=server, which=which: (
                    zone.server_status(server)["certificates"][which]["authorities"] == [new]
                ),
                STAGE,
            )
            assert not certificates[which]["refused"]


def test_certificates_are_rotated_with_no_failed_call(https_zone) -> None:
    """Not one call fails, no pod is restarted, nobody stands for election."""
    zone, url = https_zone
    assert zone.get()["status"]["endpoint"].startswith("https://")
    assert condition(zone, "CertificatesReady")["status"] == "True"
    stranger = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        xmlrpc.client.ServerProxy(url, context=stranger).one.system.version("nobody:nothing")
    before = state(zone)
    with Client(zone, url) as client:
        for stage in (renew, rotate_authority):
            lab.step(f"{stage.__name__} under a client that writes")
            written = len(client.written)
            stage(zone, client)
            assert len(client.written) - written >= CALLS_MIN
            assert client.errors == []
    assert client.errors == []
    assert state(zone) == before
    members = zone.server_status(before["leader"])["members"]
    assert all(member["endpoint"].startswith("https://") for member in members)
    pool = client.call("one.documentpool.info", -2, -1, -1, onezones.DOCUMENT_TYPE)
    assert all(f"<NAME>{name}</NAME>" in pool for name in client.written.values())
    lab.step(json.dumps(zone.get()["status"]["certificates"]))
