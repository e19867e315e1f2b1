"""What the API's certificate is for, and the object by which cert-manager is asked for it."""

from __future__ import annotations

import ipaddress

from onezone_operator import naming
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone
from onezone_operator.resources.metadata import build_metadata, with_digest

__all__ = ["api_hosts", "api_secret_name", "build_certificate", "is_address"]

_CLUSTER_DOMAIN = "cluster.local"


def api_secret_name(zone: OneZone) -> str:
    """The Secret that the API's certificate is in."""
    reference = zone.spec.tls.secret_ref
    return reference.name if reference is not None else naming.tls_secret_name(zone.name)


def api_hosts(zone: OneZone, service: Manifest | None = None) -> tuple[str, ...]:
    """DNS names and addresses that clients may reach the zone at.

    Servers are covered by a wildcard, so that a zone can grow without a new certificate.

    Args:
        zone: the zone.
        service: the leader's Service as it is, with the address of its load balancer.
    """
    spec, namespace = zone.spec, zone.namespace
    hosts = []
    for name in (naming.leader_service_name(zone.name), naming.any_service_name(zone.name)):
        hosts += [name, f"{name}.{namespace}", f"{name}.{namespace}.svc"]
        hosts.append(f"{name}.{namespace}.svc.{_CLUSTER_DOMAIN}")
    servers = f"*.{naming.servers_service_name(zone.name)}.{namespace}.svc"
    hosts += [servers, f"{servers}.{_CLUSTER_DOMAIN}", *spec.tls.dns_names, *spec.tls.ip_addresses]
    pinned = spec.endpoint.metallb.address if spec.endpoint.metallb is not None else None
    addresses = f"{spec.endpoint.load_balancer_ip or ''},{pinned or ''}".split(",")
    hosts += [address for address in addresses if is_address(address.strip())]
    for ingress in (service or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or []:
        hosts += [ingress[key] for key in ("ip", "hostname") if ingress.get(key)]
    return tuple(dict.fromkeys(_normal(host.strip()) for host in hosts))


def build_certificate(zone: OneZone, hosts: tuple[str, ...]) -> Manifest:
    """What cert-manager is asked for: a Secret like the one that the operator makes itself."""
    issuer = zone.spec.tls.issuer_ref
    assert issuer is not None
    name = naming.tls_secret_name(zone.name)
    manifest = {
        "apiVersion": naming.CERTIFICATE_API_VERSION,
        "kind": naming.CERTIFICATE_KIND,
        "metadata": build_metadata(zone, name),
        "spec": {
            "secretName": name,
            "secretTemplate": {"labels": naming.object_labels(zone.name)},
            "dnsNames": [host for host in hosts if not is_address(host)],
            "ipAddresses": [host for host in hosts if is_address(host)],
            "issuerRef": {"name": issuer.name, "kind": issuer.kind, "group": "cert-manager.io"},
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "server auth"],
        },
    }
    return with_digest(manifest)


def is_address(host: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _normal(host: str) -> str:
    """An address as certificates spell it."""
    return str(ipaddress.ip_address(host)) if is_address(host) else host.lower()
