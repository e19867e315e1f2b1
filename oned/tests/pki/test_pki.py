"""Certificates of a zone: who is let in, who is not, and what a wrong file is told as."""

import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from oned import pki, tls
from oned.errors import PeerError
from oned.pki import issuing


@pytest.fixture
def authority(tmp_path):
    return pki.create_authority(tmp_path / "ca")


def shake(server: ssl.SSLContext, client: ssl.SSLContext):
    """A whole handshake in memory; (what the server saw, what the client saw)."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="anything"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    done = [False, False]
    for _ in range(10):
        for number, end in enumerate(ends):
            if not done[number]:
                try:
                    end.do_handshake()
                    done[number] = True
                except ssl.SSLWantReadError:
                    pass
        if all(done):
            return ends[1], ends[0]
    raise AssertionError("no handshake")


def contexts(directory, server="zone-0", client="zone-1"):
    return tls.load_peer(directory, server).server, tls.load_peer(directory, client).client


def test_two_servers_of_a_zone_know_each_other(tmp_path, authority):
    for name in ("zone-0", "zone-1"):
        pki.issue_server(authority, name, hosts=["localhost", "127.0.0.1"], directory=tmp_path)
    seen_by_server, seen_by_client = shake(*contexts(tmp_path))
    assert seen_by_server.version() == "TLSv1.3"
    assert pki.verify(seen_by_server.getpeercert(), zone_uuid=authority.zone_uuid) == (
        pki.PeerIdentity(authority.zone_uuid, "zone-1")
    )
    peer = pki.verify(seen_by_client.getpeercert(), zone_uuid=authority.zone_uuid, name="zone-0")
    assert str(peer) == f"onezone://{authority.zone_uuid}/zone-0"


def test_certificate_of_another_authority_is_refused(tmp_path, authority):
    """Even when it claims our zone's uuid."""
    impostor = pki.create_authority(tmp_path / "other-ca", authority.zone_uuid)
    pki.issue_server(authority, "zone-0", hosts=[], directory=tmp_path / "ours")
    pki.issue_server(impostor, "zone-1", hosts=[], directory=tmp_path / "theirs")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(
            tls.load_peer(tmp_path / "ours", "zone-0").server,
            tls.load_peer(tmp_path / "theirs", "zone-1").client,
        )


def test_client_without_certificate_is_refused(tmp_path, authority):
    pki.issue_server(authority, "zone-0", hosts=[], directory=tmp_path)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(tmp_path / "ca.crt")
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(tls.load_peer(tmp_path, "zone-0").server, bare)


def test_older_tls_is_refused(tmp_path, authority):
    for name in ("zone-0", "zone-1"):
        pki.issue_server(authority, name, hosts=[], directory=tmp_path)
    server, client = contexts(tmp_path)
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(server, client)


def test_another_zone_of_the_same_authority_is_refused(tmp_path, authority):
    other = pki.Authority(
        "6f1c6dd0-0000-4000-8000-000000000000", authority.certificate, authority.key
    )
    pki.issue_server(authority, "zone-0", hosts=[], directory=tmp_path)
    pki.issue_server(other, "zone-1", hosts=[], directory=tmp_path)
    seen_by_server, _ = shake(*contexts(tmp_path))
    with pytest.raises(PeerError, match="another zone"):
        pki.verify(seen_by_server.getpeercert(), zone_uuid=authority.zone_uuid)


def test_another_server_than_expected_is_refused(tmp_path, authority):
    pki.issue_server(authority, "zone-0", hosts=[], directory=tmp_path)
    certificate = {"subjectAltName": (("URI", f"onezone://{authority.zone_uuid}/zone-0"),)}
    with pytest.raises(PeerError, match="zone-2 was expected"):
        pki.verify(certificate, zone_uuid=authority.zone_uuid, name="zone-2")


@pytest.mark.parametrize("peercert", [None, {}])
def test_no_certificate_is_refused(peercert):
    with pytest.raises(PeerError, match="no certificate"):
        pki.verify(peercert, zone_uuid="z")


@pytest.mark.parametrize(
    "names",
    [
        (),
        (("DNS", "zone-0"),),
        (("URI", "spiffe://z/zone-0"),),
        (("URI", "onezone://z/"),),
        (("URI", "onezone://z/a"), ("URI", "onezone://z/b")),
        (("URI", "onezone:///a"),),
    ],
)
def test_identity_must_be_one_server(names):
    with pytest.raises(PeerError, match="not one"):
        pki.identity({"subjectAltName": names})


def test_identity_of_a_file(tmp_path, authority):
    path = pki.issue_server(authority, "zone-0", hosts=["h", "::1"], directory=tmp_path)
    assert pki.identity(path) == pki.PeerIdentity(authority.zone_uuid, "zone-0")


def test_keys_are_private(tmp_path, authority):
    pki.issue_server(authority, "zone-0", hosts=[], directory=tmp_path)
    for path in (tmp_path / "ca" / "ca.key", tmp_path / "zone-0.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "key=" not in repr(authority)
    assert not list(tmp_path.glob(".*"))


def test_authority_is_read_back(tmp_path, authority):
    loaded = pki.load_authority(tmp_path / "ca")
    assert loaded.zone_uuid == authority.zone_uuid
    assert loaded.certificate == authority.certificate


def test_authority_is_never_overwritten(tmp_path, authority):
    before = (tmp_path / "ca" / "ca.key").read_bytes()
    with pytest.raises(PeerError, match="never overwritten"):
        pki.create_authority(tmp_path / "ca")
    assert (tmp_path / "ca" / "ca.key").read_bytes() == before


def test_renewed_certificate_replaces_the_old_one(tmp_path, authority):
    path = pki.issue_server(authority, "zone-0", hosts=[], directory=tmp_path)
    before = path.read_bytes()
    pki.issue_server(authority, "zone-0", hosts=[], directory=tmp_path)
    assert path.read_bytes() != before
    tls.load_peer(tmp_path, "zone-0")


def test_directory_of_another_authority_is_left_alone(tmp_path, authority):
    other = pki.create_authority(tmp_path / "other")
    pki.issue_server(authority, "zone-0", hosts=[], directory=tmp_path / "peers")
    with pytest.raises(PeerError, match="another authority"):
        pki.issue_server(other, "zone-1", hosts=[], directory=tmp_path / "peers")
    assert not (tmp_path / "peers" / "zone-1.key").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "a\n", "x" * 129, "é"])
def test_unusable_server_name(tmp_path, authority, name):
    with pytest.raises(PeerError, match="server's name"):
        pki.issue_server(authority, name, hosts=[], directory=tmp_path / "peers")
    assert not (tmp_path / "peers").exists()


@pytest.mark.parametrize("host", ["", "a b", "http://x", "é"])
def test_unusable_host(tmp_path, authority, host):
    with pytest.raises(PeerError, match="neither an address nor a host name"):
        pki.issue_server(authority, "a", hosts=[host], directory=tmp_path / "peers")


def test_wrong_days_and_uuid(tmp_path, authority):
    with pytest.raises(PeerError, match="at least 1 day"):
        pki.issue_server(authority, "a", hosts=[], directory=tmp_path, days=0)
    with pytest.raises(PeerError, match="no uuid"):
        pki.create_authority(tmp_path / "new", "mine")


def test_validity_never_exceeds_the_authority(tmp_path, authority):
    path = pki.issue_server(authority, "a", hosts=[], directory=tmp_path, days=100 * 365)
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


class TestFiles:
    """What is wrong is found when a context is built, and said with the file's name."""

    @pytest.fixture
    def peers(self, tmp_path, authority):
        directory = tmp_path / "peers"
        for name in ("zone-0", "zone-1"):
            pki.issue_server(authority, name, hosts=[], directory=directory)
        return directory

    @pytest.mark.parametrize("missing", ["ca.crt", "zone-0.crt", "zone-0.key"])
    def test_missing(self, peers, missing):
        (peers / missing).unlink()
        with pytest.raises(PeerError, match=f"{missing} is missing"):
            tls.load_peer(peers, "zone-0")

    @pytest.mark.parametrize("broken", ["ca.crt", "zone-0.crt", "zone-0.key"])
    def test_broken(self, peers, broken):
        (peers / broken).write_text("nothing")
        with pytest.raises(PeerError, match=f"{broken} holds no"):
            tls.load_peer(peers, "zone-0")

    def test_key_of_another_server(self, peers):
        (peers / "zone-0.key").write_bytes((peers / "zone-1.key").read_bytes())
        with pytest.raises(PeerError, match="is not the key of"):
            tls.load_peer(peers, "zone-0")

    def test_certificate_of_another_server(self, peers):
        (peers / "zone-0.crt").write_bytes((peers / "zone-1.crt").read_bytes())
        with pytest.raises(PeerError, match="is of server zone-1"):
            tls.load_peer(peers, "zone-0")

    def test_authority_of_another_zone(self, peers, tmp_path):
        pki.create_authority(tmp_path / "other")
        (peers / "ca.crt").write_bytes((tmp_path / "other" / "ca.crt").read_bytes())
        with pytest.raises(PeerError, match="was not issued by"):
            tls.load_peer(peers, "zone-0")

    def test_expired(self, peers, authority, monkeypatch):
        monkeypatch.setattr(
            issuing,
            "validity",
            lambda days: (
                datetime.now(UTC) - timedelta(days=9),
                datetime.now(UTC) - timedelta(days=1),
            ),
        )
        pki.issue_server(authority, "zone-0", hosts=[], directory=peers)
        with pytest.raises(PeerError, match="expired"):
            tls.load_peer(peers, "zone-0")

    def test_authority_with_another_key(self, tmp_path, authority):
        pki.create_authority(tmp_path / "other")
        (tmp_path / "ca" / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
        with pytest.raises(PeerError, match="is not the key"):
            pki.load_authority(tmp_path / "ca")

    def test_server_certificate_is_no_authority(self, tmp_path, peers):
        (tmp_path / "ca" / "ca.crt").write_bytes((peers / "zone-0.crt").read_bytes())
        (tmp_path / "ca" / "ca.key").write_bytes((peers / "zone-0.key").read_bytes())
        with pytest.raises(PeerError, match="names no zone"):
            pki.load_authority(tmp_path / "ca")
