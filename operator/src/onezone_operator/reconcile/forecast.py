"""What the plan would do, step by step, if every step went well: the dry run of a change.

The plan itself is asked again and again; what is simulated is the world that it looks at. So a
forecast can be wrong about servers that fail on the way, never about what the operator would do
with the facts that it is shown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from onezone_operator import naming
from onezone_operator.models.observed import (
    Manifest,
    Member,
    ObservedApiCertificate,
    ObservedAuthority,
    ObservedPod,
    ObservedRoute,
    ObservedStatefulSet,
    ObservedVolume,
    ObservedZone,
    ServerReport,
)
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.plan import plan
from onezone_operator.reconcile.steps import (
    AnnounceAuthority,
    ApplyObjects,
    CreateAuthority,
    CreateBackup,
    CreateCredentials,
    CreateJob,
    DeleteBackup,
    DeleteTask,
    DeleteVolume,
    DropCertificates,
    DropPolicy,
    ExpandVolume,
    FenceServer,
    HandOver,
    IssueApiCertificate,
    IssueCertificates,
    Nothing,
    PromoteAuthority,
    RecordBootstrap,
    RecreateStatefulSet,
    RegisterMember,
    RemoveMember,
    RepairRoute,
    ReplacePod,
    ReportBackup,
    ReportTask,
    RetireAuthority,
    SetCredentialsOwner,
    SetReplicas,
    Step,
    Wait,
    WaitForCatchUp,
)
from onezone_operator.resources.drift import find_drift

__all__ = ["STEPS_MAX", "forecast"]

STEPS_MAX = 100
"""Steps that are forecast: growing from one server to nine takes half of them."""

_CERTIFICATE = timedelta(days=3650)
_NEW = "forecast"


def forecast(
    zone: OneZone, observed: ObservedZone, now: datetime, *, address_type: str = "IPv4"
) -> tuple[Step, ...]:
    """The steps up to the first at which the operator would rest: done, or waiting for something
    that only the world can bring.
    """
    steps: list[Step] = []
    for _ in range(STEPS_MAX):
        step = plan(zone, observed, now, address_type=address_type)
        steps.append(step)
        following = _after(zone, observed, step, now)
        if following is None or following == observed:
            break
        observed = following
    return tuple(steps)


def _after(  # noqa: C901, PLR0912 - one short case for each kind
    zone: OneZone, observed: ObservedZone, step: Step, now: datetime
) -> ObservedZone | None:
    """The facts once a step was carried out and the servers followed; None to end here."""
    match step:
        case Nothing():
            return None
        case CreateAuthority(zone_uuid=uuid, bootstrapped=bootstrapped):
            authority = ObservedAuthority(uuid or zone.metadata.uid, bootstrapped, _NEW)
            return replace(observed, authority=authority)
        case RecordBootstrap():
            assert observed.authority is not None
            return replace(observed, authority=replace(observed.authority, bootstrapped=True))
        case CreateCredentials(owned=owned) | SetCredentialsOwner(owned=owned):
            return _with_credentials(zone, observed, owned=owned)
        case IssueCertificates(servers=servers):
            return _with_certificates(observed, servers, now)
        case DropCertificates(servers=servers):
            rest = observed.peers.servers - set(servers)
            return replace(observed, peers=replace(observed.peers, servers=rest))
        case IssueApiCertificate(hosts=hosts):
            return _with_api_certificate(observed, hosts, now)
        case AnnounceAuthority() | PromoteAuthority() | RetireAuthority():
            # What follows takes the servers' time.
            return None
        case ApplyObjects(manifests=manifests):
            for manifest in manifests:
                observed = _with_object(observed, manifest, now)
            return observed
        case DropPolicy(name=name):
            rest_of = {key: each for key, each in observed.objects.items() if key[1] != name}
            return replace(observed, objects=rest_of)
        case SetReplicas(manifest=manifest) | RecreateStatefulSet(manifest=manifest):
            # Made anew it has the same template, so that its pods are no older ones.
            return _with_object(observed, manifest, now)
        case RegisterMember(server=server, endpoint=endpoint):
            return _with_members(
                observed, (*_members(observed), _learner(observed, server, endpoint))
            )
        case RemoveMember(server=server):
            return _without_member(observed, server)
        case ReplacePod(server=server):
            return _with_new_pod(observed, server)
        case FenceServer(server=server, is_fenced=is_fenced):
            return _with_fence(observed, server, is_fenced=is_fenced)
        case RepairRoute(leader=leader, address=address, term=term):
            return replace(observed, route=ObservedRoute((address,), leader, term))
        case ExpandVolume(volume=name, after=size):
            volumes = tuple(
                replace(each, requested=size, capacity=size) if each.name == name else each
                for each in observed.volumes
            )
            return replace(observed, volumes=volumes)
        case HandOver(leader=leader, server=server):
            return _handed_over(observed, leader, to=server)
        case (
            DeleteVolume()
            | ReportTask()
            | DeleteTask()
            | CreateBackup()
            | CreateJob()
            | ReportBackup()
            | DeleteBackup()
        ):
            return None
        case WaitForCatchUp(server=server):
            voting = [
                replace(each, voter=True, lag=0) if each.name == server else each
                for each in _members(observed)
            ]
            return _with_members(observed, tuple(voting))
        case Wait(reason="SeedStarting"):
            return _with_seed(zone, observed)
        case Wait():
            return None


def _with_certificates(
    observed: ObservedZone, servers: tuple[str, ...], now: datetime
) -> ObservedZone:
    assert observed.authority is not None
    ends = dict.fromkeys(servers, now + _CERTIFICATE)
    peers = replace(
        observed.peers,
        trusted=observed.authority.trusted,
        servers=observed.peers.servers | set(servers),
    )
    return replace(observed, certificates={**observed.certificates, **ends}, peers=peers)


def _with_api_certificate(
    observed: ObservedZone, hosts: tuple[str, ...], now: datetime
) -> ObservedZone:
    assert observed.authority is not None
    certificate = ObservedApiCertificate(
        fingerprint=_NEW,
        not_after=now + _CERTIFICATE,
        names=frozenset(hosts),
        trusted=observed.authority.trusted,
        is_of_authority=True,
    )
    return replace(observed, api_certificate=certificate)


def _with_credentials(zone: OneZone, observed: ObservedZone, *, owned: bool) -> ObservedZone:
    name = naming.auth_secret_name(zone.name)
    owner = [{"kind": naming.KIND, "uid": zone.metadata.uid}] if owned else []
    secret = {
        "kind": "Secret",
        "metadata": {
            "name": name,
            "labels": naming.object_labels(zone.name),
            "ownerReferences": owner,
        },
    }
    objects = {**observed.objects, ("Secret", name): secret}
    return replace(observed, objects=objects, has_credentials=True)


def _with_object(observed: ObservedZone, manifest: Manifest, now: datetime) -> ObservedZone:
    key = (manifest["kind"], manifest["metadata"]["name"])
    live = observed.objects.get(key)
    observed = replace(observed, objects={**observed.objects, key: _merged(live or {}, manifest)})
    if manifest["kind"] != "StatefulSet":
        return observed
    before = observed.statefulset
    rolls = before is None or _is_new_template(manifest, live)
    revision = _NEW if rolls or before is None else before.update_revision
    replicas = manifest["spec"]["replicas"]
    statefulset = ObservedStatefulSet(replicas, revision, True)
    return _with_pods(replace(observed, statefulset=statefulset), manifest, now)


def _is_new_template(manifest: Manifest, live: Manifest | None) -> bool:
    """Whether pods of the live StatefulSet are outdated by the manifest.

    A field that shall be gone shows in the hash alone, and then it is one of the template: there
    is nothing else in a StatefulSet that is taken away.
    """
    drift = find_drift(manifest, live)
    if live is None or any(each.startswith("spec.template") for each in drift):
        return True
    return bool(drift) and all(naming.DESIRED_ANNOTATION in each for each in drift)


def _with_pods(observed: ObservedZone, manifest: Manifest, now: datetime) -> ObservedZone:
    """The pods that the StatefulSet's controller would keep, make or take away."""
    assert observed.statefulset is not None
    zone = manifest["metadata"]["name"]
    wanted = [naming.server_name(zone, each) for each in range(observed.statefulset.replicas)]
    pods = []
    for ordinal, name in enumerate(wanted):
        fresh = ObservedPod(
            name=name,
            uid=f"{_NEW}-{name}",
            ready=True,
            created=now,
            address=f"{_NEW}-{ordinal}",
            revision=observed.statefulset.update_revision,
        )
        pods.append(observed.pod(name) or fresh)
    claims = {volume.name for volume in observed.volumes}
    volumes = [
        ObservedVolume(f"{naming.DATA_VOLUME}-{name}", is_bound=True)
        for name in wanted
        if f"{naming.DATA_VOLUME}-{name}" not in claims
    ]
    observed = replace(observed, pods=tuple(pods), volumes=(*observed.volumes, *volumes))
    gone = observed.reports.keys() - set(wanted)
    reports = {name: each for name, each in observed.reports.items() if name not in gone}
    observed = replace(observed, reports=reports)
    return _with_members(observed, _members(observed)) if _leader(observed) else observed


def _with_new_pod(observed: ObservedZone, server: str) -> ObservedZone:
    """The pod comes back from the present template."""
    revision = observed.statefulset.update_revision if observed.statefulset else _NEW
    pods = tuple(
        replace(each, uid=f"{_NEW}-{server}", ready=True, revision=revision, trouble=None)
        if each.name == server
        else each
        for each in observed.pods
    )
    observed = replace(observed, pods=pods)
    return _with_members(observed, _members(observed))


def _with_fence(observed: ObservedZone, server: str, *, is_fenced: bool) -> ObservedZone:
    """A fenced server hands over and follows nobody; how it comes back is not forecast."""
    pods = tuple(
        replace(each, is_fenced=is_fenced) if each.name == server else each
        for each in observed.pods
    )
    observed = replace(observed, pods=pods)
    leader = _leader(observed)
    if not is_fenced or leader is None or leader.name != server:
        return observed
    return _handed_over(observed, server)


def _handed_over(observed: ObservedZone, server: str, *, to: str | None = None) -> ObservedZone:
    members = _members(observed)
    heirs = [
        each for each in members if each.voter and each.name != server and to in {None, each.name}
    ]
    if not heirs:
        return observed
    leader = _leader(observed)
    assert leader is not None
    term, heir = leader.term + 1, heirs[0]
    reports = {
        name: replace(
            each,
            state="leader" if name == heir.name else "follower",
            serving=name == heir.name,
            leader_id=heir.id,
            term=term,
        )
        for name, each in observed.reports.items()
    }
    pod = observed.pod(heir.name)
    address = () if pod is None or pod.address is None else (pod.address,)
    observed = replace(observed, reports=reports, route=ObservedRoute(address, heir.name, term))
    return _with_members(observed, members)


def _without_member(observed: ObservedZone, server: str) -> ObservedZone:
    leader = _leader(observed)
    if leader is not None and leader.name == server:
        observed = _handed_over(observed, server)
    rest = tuple(each for each in _members(observed) if each.name != server)
    reports = {name: each for name, each in observed.reports.items() if name != server}
    return _with_members(replace(observed, reports=reports), rest)


def _with_seed(zone: OneZone, observed: ObservedZone) -> ObservedZone:
    """The first server has made the database and leads alone."""
    assert observed.authority is not None
    name = naming.server_name(zone.name, 0)
    scheme = zone.spec.tls.scheme
    endpoint = naming.server_endpoint(zone.name, zone.namespace, name, scheme=scheme)
    report = ServerReport(
        name=name,
        zone_uuid=observed.authority.zone_uuid or "",
        server_id=0,
        state="solo",
        term=1,
        leader_id=0,
        commit=1,
        serving=True,
        initialised=True,
        configuration_committed=True,
        members=(Member(0, name, endpoint, True, 0, 0.0),),
    )
    pods = tuple(replace(each, ready=True, trouble=None) for each in observed.pods)
    pod = observed.pod(name)
    address = () if pod is None or pod.address is None else (pod.address,)
    route = ObservedRoute(address, name, 1)
    return replace(observed, pods=pods, reports={name: report}, route=route)


def _leader(observed: ObservedZone) -> ServerReport | None:
    leading = [each for each in observed.reports.values() if each.serving and each.members]
    return max(leading, key=lambda each: each.term, default=None)


def _members(observed: ObservedZone) -> tuple[Member, ...]:
    leader = _leader(observed)
    return leader.members if leader is not None else ()


def _learner(observed: ObservedZone, server: str, endpoint: str) -> Member:
    identity = max((each.id for each in _members(observed)), default=-1) + 1
    return Member(identity, server, endpoint, voter=False, lag=0, last_contact_seconds=0.0)


def _with_members(observed: ObservedZone, members: tuple[Member, ...]) -> ObservedZone:
    """Every server with a pod knows these members and follows the leader."""
    leader = _leader(observed)
    if leader is None:
        return observed
    reports: dict[str, ServerReport] = {}
    heard = []
    for member in members:
        pod = observed.pod(member.name)
        known = observed.reports.get(member.name)
        if known is None and (pod is None or not pod.ready):
            heard.append(member)
            continue
        heard.append(
            replace(member, lag=0 if member.voter else member.lag, last_contact_seconds=0.0)
        )
        base = known or replace(leader, name=member.name, state="follower", serving=False)
        reports[member.name] = replace(base, server_id=member.id, term=leader.term)
    told = tuple(heard)
    reports = {
        name: replace(each, members=told, leader_id=leader.server_id, configuration_committed=True)
        for name, each in reports.items()
    }
    return replace(observed, reports={**observed.reports, **reports})


def _merged(live: Any, desired: Any) -> Any:
    """Server-side apply, as far as drift can tell: what is desired, over what is there."""
    if isinstance(live, dict) and isinstance(desired, dict):
        return {**live, **{key: _merged(live.get(key), each) for key, each in desired.items()}}
    return desired
