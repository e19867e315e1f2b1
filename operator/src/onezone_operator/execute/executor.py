"""Carries out one step.

What a step was planned on may have changed by the time it is carried out. So the calls that
matter are conditional where Kubernetes offers it (uid, resourceVersion), and the server set is
read again from the leader right before it is changed.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import assert_never

from onezone_operator import naming
from onezone_operator.errors import FactsChanged, ZoneRefused
from onezone_operator.kube.apply import (
    annotate_secret,
    apply_objects,
    create_secret,
    delete_object,
    delete_pod,
    fence_pod,
    read_secret,
    replace_secret,
    set_secret_owner,
    write_route,
    write_task_status,
)
from onezone_operator.kube.authority import (
    NEXT_CERTIFICATE,
    OLD_CERTIFICATE,
    announce,
    certificate_ends,
    create_authority,
    fingerprint,
    fingerprints,
    issue_api_certificate,
    issue_certificate,
    promote,
    retire,
    trusted_pem,
)
from onezone_operator.kube.backups import create_object, write_backup_status
from onezone_operator.kube.observe import Credentials, secret_data
from onezone_operator.kube.ports import KubeApi
from onezone_operator.kube.volumes import delete_stateful_set, expand_volume
from onezone_operator.models.observed import Manifest, ObservedZone, ServerReport
from onezone_operator.models.onezone import OneZone
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
    describe,
)
from onezone_operator.zone.ports import ApiAddress, ZoneApi

__all__ = ["Executor"]

_PASSWORD_BYTES = 24
_MESSAGE_MAX = 1024


@dataclass(frozen=True, slots=True)
class Executor:
    """Carries out steps of one pass."""

    kube: KubeApi
    zone_api: ZoneApi
    zone: OneZone
    observed: ObservedZone
    credentials: Credentials | None

    async def execute(  # noqa: C901, PLR0912, PLR0915 - one branch for each kind
        self, step: Step
    ) -> str:
        """Do it, and say in a sentence what was done.

        Raises:
            OperatorError: it was not done, or perhaps done; the next pass will see.
        """
        match step:
            case CreateAuthority():
                await self._create_authority(step)
            case CreateCredentials(owned=owned):
                await self._create_credentials(owned=owned)
            case SetCredentialsOwner(owned=owned):
                name = naming.auth_secret_name(self.zone.name)
                await set_secret_owner(self.kube, self.zone, name, owned=owned)
            case IssueCertificates(servers=servers):
                await self._issue_certificates(servers)
            case DropCertificates(servers=servers):
                await self._issue_certificates((), spare=servers)
            case IssueApiCertificate(hosts=hosts):
                await self._issue_api_certificate(hosts)
            case AnnounceAuthority() | PromoteAuthority() | RetireAuthority():
                await self._change_authority(step)
            case ApplyObjects(manifests=manifests):
                await self._apply_objects(manifests)
            case DropPolicy(name=name, uid=uid):
                await delete_object(self.kube, self.zone, "NetworkPolicy", name, uid=uid)
            case RecordBootstrap():
                await annotate_secret(
                    self.kube,
                    self.zone,
                    naming.authority_secret_name(self.zone.name),
                    {naming.BOOTSTRAPPED_ANNOTATION: "true"},
                )
            case RegisterMember():
                await self._register_member(step)
            case RemoveMember():
                await self._remove_member(step)
            case SetReplicas(manifest=manifest):
                await apply_objects(self.kube, (manifest,), seen=self.observed.objects)
            case ReplacePod():
                await self._replace_pod(step)
            case FenceServer(server=server, uid=uid, is_fenced=is_fenced):
                await fence_pod(self.kube, self.zone, server, uid=uid, is_fenced=is_fenced)
            case RepairRoute():
                await self._repair_route(step)
            case HandOver():
                await self._hand_over(step)
            case DeleteVolume():
                await self._delete_volume(step)
            case ExpandVolume(volume=name, volume_uid=uid, version=version, after=size):
                await expand_volume(self.kube, self.zone, name, uid=uid, version=version, size=size)
            case RecreateStatefulSet(uid=uid, version=version):
                await delete_stateful_set(self.kube, self.zone, uid=uid, version=version)
            case ReportTask(task=task, status=status):
                await write_task_status(self.kube, task, status)
            case DeleteTask(name=name, uid=uid):
                await delete_object(self.kube, self.zone, naming.TASK_KIND, name, uid=uid)
            case CreateBackup(manifest=manifest) | CreateJob(manifest=manifest):
                await create_object(self.kube, manifest)
            case ReportBackup(backup=backup, status=backup_status):
                await write_backup_status(self.kube, backup, backup_status)
            case DeleteBackup(name=name, uid=uid):
                await delete_object(self.kube, self.zone, naming.BACKUP_KIND, name, uid=uid)
            case WaitForCatchUp() | Wait() | Nothing():
                pass
            case _:
                assert_never(step)
        return describe(step)

    async def _create_authority(self, step: CreateAuthority) -> None:
        zone_uuid = step.zone_uuid or str(uuid.uuid4())
        annotations = {naming.UUID_ANNOTATION: zone_uuid}
        if step.bootstrapped:
            annotations[naming.BOOTSTRAPPED_ANNOTATION] = "true"
        name = naming.authority_secret_name(self.zone.name)
        await create_secret(
            self.kube,
            self.zone,
            name,
            create_authority(zone_uuid),
            live=self.observed.objects.get(("Secret", name)),
            annotations=annotations,
            kind="kubernetes.io/tls",
        )

    async def _create_credentials(self, *, owned: bool) -> None:
        name = naming.auth_secret_name(self.zone.name)
        text = f"oneadmin:{secrets.token_urlsafe(_PASSWORD_BYTES)}"
        await create_secret(
            self.kube,
            self.zone,
            name,
            {naming.AUTH_KEY: text.encode()},
            live=self.observed.objects.get(("Secret", name)),
            owned=owned,
        )

    async def _apply_objects(self, manifests: tuple[Manifest, ...]) -> None:
        await apply_objects(self.kube, manifests, seen=self.observed.objects)

    async def _read_authority(self) -> tuple[Manifest, dict[str, bytes], str]:
        """The authority's Secret, its values, and the zone's uuid."""
        name = naming.authority_secret_name(self.zone.name)
        secret = await read_secret(self.kube, self.zone, name)
        facts = self.observed.authority
        if secret is None or facts is None or facts.zone_uuid is None:
            raise FactsChanged("the zone's authority is gone")
        return secret, secret_data(secret), facts.zone_uuid

    async def _issue_certificates(
        self, servers: tuple[str, ...], *, spare: tuple[str, ...] = ()
    ) -> None:
        """Add certificates to the Secret; those of the same authority stay, but the spare ones."""
        zone = self.zone
        _, authority, zone_uuid = await self._read_authority()
        peers_name = naming.peers_secret_name(zone.name)
        secret = await read_secret(self.kube, zone, peers_name)
        present = secret_data(secret)
        values = {naming.AUTHORITY_KEY: trusted_pem(authority)}
        for server in certificate_ends(authority, present):
            if server not in spare:
                values |= {key: present[key] for key in (f"{server}.crt", f"{server}.key")}
        for server in servers:
            host = naming.server_host(zone.name, zone.namespace, server)
            short = f"{server}.{naming.servers_service_name(zone.name)}"
            values |= issue_certificate(
                authority, zone_uuid=zone_uuid, server=server, hosts=(host, short, server)
            )
        await replace_secret(self.kube, zone, peers_name, values, live=secret)

    async def _issue_api_certificate(self, hosts: tuple[str, ...]) -> None:
        _, authority, _ = await self._read_authority()
        name = naming.tls_secret_name(self.zone.name)
        secret = await read_secret(self.kube, self.zone, name)
        values = issue_api_certificate(authority, hosts=hosts)
        await replace_secret(
            self.kube, self.zone, name, values, live=secret, kind="kubernetes.io/tls"
        )

    async def _change_authority(
        self, step: AnnounceAuthority | PromoteAuthority | RetireAuthority
    ) -> None:
        """One stage further, if the Secret is still at the one that it was seen at."""
        secret, values, zone_uuid = await self._read_authority()
        annotations: dict[str, str | None] = {}
        match step:
            case AnnounceAuthority():
                expected = fingerprint(values)
                changed = announce(values, zone_uuid)
                announced = step.now.isoformat(timespec="seconds")
                annotations = {
                    naming.ROTATE_ANNOTATION: None,
                    naming.ANNOUNCED_ANNOTATION: announced,
                }
            case PromoteAuthority():
                expected = next(iter(fingerprints(values.get(NEXT_CERTIFICATE))), None)
                changed = promote(values)
            case RetireAuthority():
                expected = next(iter(fingerprints(values.get(OLD_CERTIFICATE))), None)
                changed = retire(values)
                annotations = {naming.ANNOUNCED_ANNOTATION: None}
        if expected != step.fingerprint:
            raise FactsChanged("the zone's authority was changed meanwhile")
        name = naming.authority_secret_name(self.zone.name)
        await replace_secret(
            self.kube, self.zone, name, changed, live=secret, annotations=annotations
        )

    async def _register_member(self, step: RegisterMember) -> None:
        address, session, report = await self._ask_leader(step.leader)
        if any(member.name == step.server for member in report.members):
            raise FactsChanged(f"{step.server} is a member already")
        await self.zone_api.add_server(
            address, session, name=step.server, endpoint=step.endpoint, peer=step.peer
        )

    async def _remove_member(self, step: RemoveMember) -> None:
        address, session, report = await self._ask_leader(step.leader)
        names = {member.id: member.name for member in report.members}
        if names.get(step.server_id) != step.server:
            raise FactsChanged(f"{step.server} is not member {step.server_id} any more")
        await self.zone_api.delete_server(address, session, server_id=step.server_id)

    async def _ask_leader(self, leader: str) -> tuple[ApiAddress, str, ServerReport]:
        """Address, session and fresh report of the server that led when the step was planned."""
        pod = self.observed.pod(leader)
        if pod is None or pod.address is None or self.credentials is None:
            raise FactsChanged(f"the leader {leader} cannot be called")
        report = (await self.zone_api.read_reports({leader: pod.address})).get(leader)
        if report is None or not report.serving or report.state not in {"leader", "solo"}:
            raise FactsChanged(f"{leader} does not lead any more")
        authority = self.observed.authority
        if authority is None or report.zone_uuid != authority.zone_uuid:
            # Its address was given to another zone's server of the same name.
            raise FactsChanged(f"what answers as {leader} is of another zone")
        if not report.configuration_committed:
            raise FactsChanged("another change of the server set is under way")
        host = naming.server_host(self.zone.name, self.zone.namespace, leader)
        trusted = self.credentials.authority if self.zone.spec.tls.enabled else None
        address = ApiAddress(pod.address, host, trusted)
        return address, self.credentials.session, report

    async def _replace_pod(self, step: ReplacePod) -> None:
        """Delete the pod, after a last look at who leads: a follower may lead by now."""
        if not step.is_leader:
            pod = self.observed.pod(step.server)
            address = pod.address if pod is not None else None
            reports = await self.zone_api.read_reports({step.server: address} if address else {})
            report = reports.get(step.server)
            if report is not None and report.state == "leader" and len(report.members) > 1:
                raise FactsChanged(f"{step.server} leads by now: it is replaced last")
        await delete_pod(self.kube, self.zone, step.server, uid=step.uid)

    async def _hand_over(self, step: HandOver) -> None:
        address, session, _ = await self._ask_leader(step.leader)
        try:
            await self.zone_api.transfer_leadership(address, session, server_id=step.server_id)
        except ZoneRefused as error:
            if step.task is not None:
                # The task has until its deadline, and tells meanwhile why.
                message = str(error)[:_MESSAGE_MAX]
                status = step.task.status.model_copy(update={"message": message})
                if status != step.task.status:
                    await write_task_status(self.kube, step.task, status)
            raise FactsChanged(f"{step.leader} does not hand over: {error}") from error

    async def _delete_volume(self, step: DeleteVolume) -> None:
        """After a last look: a server that is a member again keeps what it has."""
        _, _, report = await self._ask_leader(step.leader)
        if any(member.name == step.server for member in report.members):
            raise FactsChanged(f"{step.server} is a member")
        # The claim first: it stays until its pod is gone, and no other pod may take it meanwhile.
        await delete_object(
            self.kube, self.zone, "PersistentVolumeClaim", step.volume, uid=step.volume_uid
        )
        if step.pod_uid is not None:
            await delete_pod(self.kube, self.zone, step.server, uid=step.pod_uid)

    async def _repair_route(self, step: RepairRoute) -> None:
        await write_route(
            self.kube,
            self.zone,
            leader=step.leader,
            address=step.address,
            node=step.node,
            pod_uid=step.pod_uid,
            term=step.term,
        )
