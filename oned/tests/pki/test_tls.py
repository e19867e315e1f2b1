"""Certificates that change while they are in use: what is taken, and what is refused."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from oned import pki, tls
from oned.errors import PeerError
from oned.pki import issuing

PAST = (datetime.now(UTC) - timedelta(days=9), datetime.now(UTC) - timedelta(days=1))


@pytest.fixture
def authority(tmp_path):
    return pki.create_authority(tmp_path / "ca")


@pytest.fixture
def directory(tmp_path, authority):
    directory = tmp_path / "tls"
    pki.issue_api(authority, hosts=["front.example", "192.0.2.1"], directory=directory)
    return directory


def files(directory):
    return tuple(directory / name for name in ("tls.crt", "tls.key", "ca.crt"))


def watched(directory):
    return tls.Certificates("api", files(directory), lambda: tls.load_api(*files(directory)))


def bundle(path, *authorities):
    path.write_bytes(b"".join(each.certificate_pem for each in authorities))


def shake(server, client, host="front.example"):
    """A whole handshake in memory; what the client saw."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
        if not waiting:
            return ends[0]
    raise AssertionError("no handshake")


def test_names_and_addresses_are_checked_by_clients(directory):
    certificates = watched(directory)
    for host in ("front.example", "192.0.2.1"):
        seen = shake(certificates.server, certificates.client, host)
        assert seen.version() == "TLSv1.3"
        assert seen.selected_alpn_protocol() is None
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(certificates.server, certificates.client, "other.example")


def test_tls_1_2_is_the_oldest(directory):
    certificates = watched(directory)
    client = tls.load_api(*files(directory)).client
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(certificates.server, client).version() == "TLSv1.2"
    assert certificates.server.current.minimum_version is ssl.TLSVersion.TLSv1_2


def test_next_handshake_shows_the_new_certificate(directory, authority):
    certificates = watched(directory)
    before = certificates.report()
    certificates.look()
    assert certificates.report() == before
    pki.issue_api(authority, hosts=["new.example"], directory=directory)
    certificates.look()
    assert certificates.report()["fingerprint"] != before["fingerprint"]
    shake(certificates.server, certificates.client, "new.example")


def test_link_that_leads_elsewhere_is_noticed(tmp_path, directory, authority):
    """As Kubernetes does it: the files stay links, and a link below them is replaced."""
    other = tmp_path / "other"
    pki.issue_api(authority, hosts=["new.example"], directory=other)
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "..data").symlink_to(directory)
    for path in files(directory):
        (mount / path.name).symlink_to(f"..data/{path.name}")
    certificates = watched(mount)
    before = certificates.report()["fingerprint"]
    (mount / "..next").symlink_to(other)
    (mount / "..next").replace(mount / "..data")
    certificates.look()
    assert certificates.report()["fingerprint"] != before


def test_half_written_pair_is_refused_until_it_is_whole(tmp_path, directory, authority):
    certificates = watched(directory)
    before = certificates.report()
    pki.issue_api(authority, hosts=["new.example"], directory=tmp_path / "new")
    (directory / "tls.crt").write_bytes((tmp_path / "new" / "tls.crt").read_bytes())
    certificates.look()
    assert certificates.report() == before | {"refused": True}
    shake(certificates.server, certificates.client)
    (directory / "tls.key").write_bytes((tmp_path / "new" / "tls.key").read_bytes())
    certificates.look()
    assert not certificates.report()["refused"]
    shake(certificates.server, certificates.client, "new.example")


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("content", [None, b"", b"nothing"])
def test_unusable_file_is_refused(directory, name, content):
    certificates = watched(directory)
    before = certificates.report()
    if content is None:
        (directory / name).unlink()
    else:
        (directory / name).write_bytes(content)
    certificates.look()
    assert certificates.report() == before | {"refused": True}
    shake(certificates.server, certificates.client)
    with pytest.raises(PeerError, match=name):
        watched(directory)


def test_expired_certificate_is_refused(directory, authority, monkeypatch):
    certificates = watched(directory)
    before = certificates.report()
    monkeypatch.setattr(issuing, "validity", lambda _days: PAST)
    pki.issue_api(authority, hosts=["front.example"], directory=directory)
    certificates.look()
    assert certificates.report() == before | {"refused": True}
    with pytest.raises(PeerError, match="expired"):
        watched(directory)


def test_certificate_of_the_api_is_no_peers(tmp_path, directory, authority):
    """Whoever has its key cannot call a server's peer port."""
    peers = tmp_path / "peers"
    pki.issue_server(authority, "zone-0", hosts=[], directory=peers)
    outsider = tls.load_peer(peers, "zone-0").client
    outsider.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        shake(tls.load_peer(peers, "zone-0").server, outsider)


def test_api_certificate_needs_a_host(tmp_path, authority):
    with pytest.raises(PeerError, match="at least one host"):
        pki.issue_api(authority, hosts=[], directory=tmp_path)
    with pytest.raises(PeerError, match="at least 1 day"):
        pki.issue_api(authority, hosts=["a"], directory=tmp_path, days=0)


class TestAuthorityChanges:
    """Old and new are both trusted, then certificates are changed, then the old one is dropped."""

    @pytest.fixture
    def new(self, tmp_path, authority):
        return pki.create_authority(tmp_path / "new-ca", authority.zone_uuid)

    @pytest.fixture
    def peers(self, tmp_path, authority):
        found = {}
        for name in ("zone-0", "zone-1"):
            home = tmp_path / name
            pki.issue_server(authority, name, hosts=[], directory=home)
            paths = tuple(home / file for file in ("ca.crt", f"{name}.crt", f"{name}.key"))
            found[name] = tls.Certificates(
                "peer",
                paths,
                lambda home=home, name=name: tls.load_peer(home, name, authority.zone_uuid),
            )
        return found

    @staticmethod
    def greet(peers):
        """Each calls the other; both ends look."""
        shake(peers["zone-0"].server, peers["zone-1"].client)
        shake(peers["zone-1"].server, peers["zone-0"].client)

    def test_one_server_after_the_other(self, *, tmp_path, authority, new, peers):
        def stage(change):
            for name, certificates in peers.items():
                change(tmp_path / name, name)
                certificates.look()
                assert not certificates.report()["refused"]
                self.greet(peers)

        old_client = tls.load_peer(tmp_path / "zone-1", "zone-1").client
        stage(lambda home, _: bundle(home / "ca.crt", authority, new))
        assert len(peers["zone-0"].report()["authorities"]) == 2
        shake(peers["zone-0"].server, old_client)
        stage(lambda home, name: pki.issue_server(new, name, hosts=[], directory=home))
        stage(lambda home, _: bundle(home / "ca.crt", new))
        assert peers["zone-0"].report()["authorities"] == [pki.fingerprint(new.certificate)]
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(peers["zone-0"].server, old_client)

    def test_authority_is_not_dropped_while_it_is_needed(self, tmp_path, new, peers):
        bundle(tmp_path / "zone-0" / "ca.crt", new)
        peers["zone-0"].look()
        assert peers["zone-0"].report()["refused"]
        self.greet(peers)

    def test_certificate_of_another_zone_is_refused(self, tmp_path, peers):
        other = pki.create_authority(tmp_path / "other")
        pki.issue_server(other, "zone-0", hosts=[], directory=tmp_path / "theirs")
        for name in ("ca.crt", "zone-0.crt", "zone-0.key"):
            (tmp_path / "zone-0" / name).write_bytes((tmp_path / "theirs" / name).read_bytes())
        peers["zone-0"].look()
        assert peers["zone-0"].report()["refused"]
        self.greet(peers)
