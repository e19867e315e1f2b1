"""A model of a zone's servers: members, votes, leader, and the API that the operator calls."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from operator_certificates import Certificates, check_acceptance, run_kubelet
from operator_cluster import NAMESPACE, ZONE, Cluster, Disk, ViolationError

from onezone_operator import naming
from onezone_operator.errors import ZoneRefused, ZoneUnreachable
from onezone_operator.models.observed import Member, ReportedCertificate, ServerReport
from onezone_operator.models.quantity import amount
from onezone_operator.zone.ports import ApiAddress

LONG_AGO = datetime(2025, 12, 31, tzinfo=UTC)
"""When a server that is away was last heard of."""

BACKUP_COMMIT = 5
"""The last entry in the backup that a zone is restored from."""


@dataclass
class RaftMember:
    id: int
    name: str
    voter: bool = False
    caught_up_in: int = 2


@dataclass
class Servers(Cluster):
    """The servers in the pods of a cluster. Clients write all the time."""

    members: list[RaftMember] = field(default_factory=list)
    leader: str | None = None
    term: int = 0
    commit: int = 0
    """The last entry that a client was told of."""
    hook_works: bool = True
    zones_made: int = 0
    session: str = ""
    """oneadmin's name and password, as they were when the zone was made."""
    refusal: str = ""
    """What every change of the server set is refused with."""
    commit_takes: int = 0
    """Ticks until a change of the server set is committed."""
    is_late: bool = False
    """The call arrives long after it was made."""
    loaded: dict[str, Certificates] = field(default_factory=dict)
    """By pod: certificates as its server has them."""
    hand_overs: int = 0
    foundings: list[str] = field(default_factory=list)
    """Who founded the zone anew."""
    replaced: set[str] = field(default_factory=set)
    """Servers whose volume was deleted by the operator."""
    _unsettled: int = 0
    _leading_pod: str = ""
    _ids: int = 0

    def voters(self) -> list[RaftMember]:
        return [member for member in self.members if member.voter]

    def has_quorum(self, members: list[RaftMember] | None = None, without: str = "") -> bool:
        voters = self.voters() if members is None else members
        up = [m for m in voters if m.name in self.running() and m.name != without and self._has(m)]
        return len(up) >= len(voters) // 2 + 1

    def _has(self, member: RaftMember) -> bool:
        return self.disks.get(member.name, Disk()).initialised

    def _session_of_secret(self) -> str:
        data = self.objects[("Secret", naming.auth_secret_name(ZONE))]["data"]
        return base64.b64decode(data[naming.AUTH_KEY]).decode()

    def _uid(self, name: str) -> str:
        return str(self.objects[("Pod", name)]["metadata"]["uid"])

    def run_servers(self) -> None:
        """The server that may makes the zone's database, from its certificate's uuid."""
        for name in sorted(self.running()):
            disk = self.disks[name]
            pod = self.objects[("Pod", name)]
            if pod["founding"]:
                self._prepare(name, disk, json.loads(pod["founding"]))
            if disk.initialised or pod["bootstrap"] != name:
                continue
            authority = self.objects[("Secret", naming.authority_secret_name(ZONE))]
            disk.initialised = True
            disk.zone_uuid = authority["metadata"]["annotations"][naming.UUID_ANNOTATION]
            self.session = self._session_of_secret()
            self.zones_made += 1
            if self.zones_made > 1:
                raise ViolationError("a second zone was made")
            self.members = [self._new_member(name, voter=True)]

    def run_certificates(self) -> None:
        """Servers get their files one after the other; a pod that starts has them at once."""
        uids = {self._uid(name): name for name in self.running()}
        self.loaded = {uid: each for uid, each in self.loaded.items() if uid in uids}
        for uid, name in uids.items():
            run_kubelet(self, name, self.loaded.setdefault(uid, Certificates()))
        members = {member.name for member in self.members}
        check_acceptance(
            {uids[uid]: each for uid, each in self.loaded.items() if uids[uid] in members}
        )

    def _prepare(self, name: str, disk: Disk, founding: dict[str, Any]) -> None:
        """What ``onedb prepare`` does in front of a server."""
        if disk.founded == founding["id"]:
            return
        before, disk.founded = disk.commit, founding["id"]
        if disk.initialised:
            disk.put_aside.append(before)
        source = founding["source"]
        if name != founding["server"]:
            disk.initialised, disk.commit = False, 0
            return
        if source is None and not disk.initialised:
            raise ViolationError(f"{name} founds the zone with no database")
        if source is not None:
            authority = self.objects[("Secret", naming.authority_secret_name(ZONE))]
            disk.zone_uuid = authority["metadata"]["annotations"][naming.UUID_ANNOTATION]
            disk.initialised, disk.commit = True, BACKUP_COMMIT
        others = {each for each in self.running() if each != name}
        if any(self.disks[each].founded != founding["id"] for each in others):
            # They start in the order of their names, so that only later ones may be left.
            assert all(each > name for each in others if self.disks[each].founded != disk.founded)
        self.foundings.append(name)
        if not self.zones_made:
            # A new zone that begins with a backup.
            self.session = self._session_of_secret()
            self.zones_made += 1
        elif source is not None and not self.is_confirmed():
            raise ViolationError("a backup takes the place of a zone, and nobody asked for that")
        self.commit = disk.commit
        self.members = [self._new_member(name, voter=True)]
        self.leader = None

    def run_raft(self) -> None:
        """Elect, replicate, and let learners vote that have caught up."""
        if not self.members or not self.has_quorum():
            self.leader = None
            return
        up = [m.name for m in self.voters() if m.name in self.running() and self._has(m)]
        # A leader that was started again is none.
        if self.leader not in up or self._uid(self.leader) != self._leading_pod:
            self.leader, self.term = (
                max(up, key=lambda name: self.disks[name].commit),
                self.term + 1,
            )
            if self.disks[self.leader].commit < self.commit:
                raise ViolationError(f"{self.leader} leads without what clients were told of")
            self._leading_pod = self._uid(self.leader)
        self._unsettled = max(self._unsettled - 1, 0)
        self.commit += 1
        uuid = self.disks[self.leader].zone_uuid
        for member in self.members:
            disk = self.disks.get(member.name)
            if member.name not in self.running() or disk is None:
                continue
            if not disk.initialised:
                # Another disk: the server forgot its votes, and is a learner until it caught up.
                member.voter, member.caught_up_in = False, 2
                disk.initialised, disk.zone_uuid = True, uuid
            elif not member.voter:
                member.caught_up_in -= 1
                member.voter = member.caught_up_in <= 0
            if member.voter:
                disk.commit = self.commit
        if self.hook_works:
            self._write_route()

    def _write_route(self) -> None:
        live = self.objects.get(("EndpointSlice", naming.leader_slice_name(ZONE)))
        pod = self.objects.get(("Pod", str(self.leader)))
        if live is None or pod is None:
            return
        annotations = live["metadata"].setdefault("annotations", {})
        annotations[naming.TERM_ANNOTATION] = str(self.term)
        annotations[naming.LEADER_ANNOTATION] = self.leader
        live["endpoints"] = [{"addresses": [pod["status"]["podIP"]]}]

    def ready_servers(self) -> set[str]:
        if self.leader is None:
            return set()
        return {name for name in self.running() if self.disks[name].initialised}

    # ZoneApi

    async def read_reports(self, addresses: dict[str, str]) -> dict[str, ServerReport]:
        self._begin(f"read status of {', '.join(sorted(addresses))}")
        self._end()
        return {
            name: self._report(name)
            for name, address in addresses.items()
            if name in self.running() | self.fenced()
            and self.objects[("Pod", name)]["status"]["podIP"] == address
        }

    async def add_server(
        self, address: ApiAddress, session: str, *, name: str, endpoint: str, peer: str
    ) -> None:
        self._begin(f"add server {name}", writes=True)
        self._check_call(address, session)
        tls = self.objects[(naming.KIND, ZONE)]["spec"].get("tls", {})
        scheme = "https" if tls.get("enabled") else "http"
        assert (address.authority is not None) == (scheme == "https")
        assert endpoint == f"{scheme}://{name}.{ZONE}-servers.{NAMESPACE}.svc:2633/RPC2"
        assert peer == f"{name}.{ZONE}-servers.{NAMESPACE}.svc:2635"
        if any(member.name == name for member in self.members):
            self._refuse(f"{name} was added twice")
        if self._unsettled or any(not member.voter for member in self.members):
            self._refuse("two changes of the server set in flight")
        self.members.append(self._new_member(name))
        self._unsettled = self.commit_takes
        self._end()

    async def delete_server(self, address: ApiAddress, session: str, *, server_id: int) -> None:
        self._begin(f"delete server {server_id}", writes=True)
        self._check_call(address, session)
        gone = [member for member in self.members if member.id == server_id]
        if not gone:
            raise ZoneRefused("SERVER not found in zone")
        if self._unsettled:
            self._refuse("two changes of the server set in flight")
        rest = [m for m in self.voters() if m.id != server_id]
        if not self.has_quorum(rest, without=gone[0].name):
            raise ViolationError(f"removing {gone[0].name} costs the quorum")
        self.members = [member for member in self.members if member.id != server_id]
        if self.leader == gone[0].name:
            self.run_raft()
        self._unsettled = self.commit_takes
        self._end()

    async def transfer_leadership(
        self, address: ApiAddress, session: str, *, server_id: int
    ) -> int:
        self._begin(f"hand over to {server_id}", writes=True)
        self._check_call(address, session)
        heirs = [
            m
            for m in self.voters()
            if m.name in self.running() and self._has(m) and server_id in {-1, m.id}
        ]
        heirs = [m for m in heirs if m.name != self.leader or m.id == server_id]
        if not heirs:
            raise ZoneRefused(f"Server {server_id} is not a member of this zone")
        if heirs[0].name != self.leader:
            self.leader, self.term = heirs[0].name, self.term + 1
            self._leading_pod = self._uid(self.leader)
            self.hand_overs += 1
            if self.hook_works:
                self._write_route()
        self._end()
        return heirs[0].id

    def _refuse(self, reason: str) -> None:
        """The zone refuses this; an operator that looks first does not even ask."""
        if self.is_late:
            raise ZoneRefused(reason)
        raise ViolationError(reason)

    def _check_call(self, address: ApiAddress, session: str) -> None:
        assert session.startswith("oneadmin:")
        if session != self.session:
            raise ZoneRefused("User couldn't be authenticated, aborting call.")
        if self.refusal:
            raise ZoneRefused(self.refusal)
        if self.leader is None or not self.has_quorum():
            raise ZoneUnreachable("no leader")
        pod = self.objects.get(("Pod", self.leader))
        if pod is None or pod["status"]["podIP"] != address.address:
            raise ZoneRefused("not the leader")

    # What the operator must not do to Kubernetes

    def check_resize(self, replicas: int) -> None:
        """A pod may go only when its server is no member any more."""
        live = self.objects.get(("StatefulSet", ZONE))
        # Made anew it takes up the pods that are there, and lets those go that are too many.
        there = [int(name.rpartition("-")[2]) for kind, name in self.objects if kind == "Pod"]
        before = live["spec"]["replicas"] if live is not None else max(there, default=-1) + 1
        if self.is_confirmed() and replicas == 0:
            assert live is not None
            policy = live["spec"]["persistentVolumeClaimRetentionPolicy"]
            if policy["whenScaled"] != "Retain":
                raise ViolationError("the volumes go with their pods")
            return
        if self.objects[(naming.KIND, ZONE)]["spec"].get("hibernated"):
            if replicas < before - 1 and not self.is_late:
                raise ViolationError(f"hibernating, {before} pods became {replicas} at once")
            return
        for member in self.members:
            ordinal = naming.server_ordinal(ZONE, member.name)
            if ordinal is not None and replicas <= ordinal < before:
                raise ViolationError(f"the pod of member {member.name} was taken")

    def is_confirmed(self) -> bool:
        """Whether a user wants the zone to begin anew."""
        return any(
            live["spec"].get("confirm")
            for (kind, _), live in self.objects.items()
            if kind == naming.TASK_KIND
        )

    def check_delete_claim(self, name: str) -> None:
        if any(member.name == name for member in self.members):
            raise ViolationError(f"the volume of member {name} is deleted")
        tasks = [live for (kind, _), live in self.objects.items() if kind == naming.TASK_KIND]
        if not any(live["spec"].get("server") == name for live in tasks):
            raise ViolationError(f"nobody asked to replace {name}")
        self.replaced.add(name)

    def check_growth(self, name: str, size: str) -> None:
        """One server at a time, the leader's volume last, and no other server away meanwhile."""
        if self.is_late:
            return
        others = [each.name for each in self.members if each.name != name]
        if any(self._is_growing(each) for each in others):
            raise ViolationError(f"the volume of {name} grows beside another")
        small = [each for each in others if amount(self._capacity(each)) < amount(size)]
        if name == self.leader and small:
            raise ViolationError(f"the leader's volume grows before those of {small}")
        away = sorted(set(others) - self.running())
        if away:
            raise ViolationError(f"the volume of {name} grows while {away} are away")

    def check_orphaning(self) -> None:
        """What belongs to the StatefulSet may go with it; what is small is not done."""
        claims = [live for (kind, _), live in self.objects.items() if kind.endswith("VolumeClaim")]
        if any(claim["metadata"]["ownerReferences"] for claim in claims):
            raise ViolationError("volumes go with the StatefulSet")
        if not self.is_late and any(each.name not in self.running() for each in self.members):
            raise ViolationError("the StatefulSet is deleted while a server is away")

    def check_patch(self, name: str, change: dict[str, Any]) -> None:
        mark = change["metadata"]["annotations"][naming.FENCED_ANNOTATION]
        if mark == "true" and not self.has_quorum(without=name):
            raise ViolationError(f"fencing {name} costs the quorum")

    def check_delete(self, name: str) -> None:
        if name in self.fenced():
            raise ViolationError(f"{name} is fenced, and its pod deleted")
        takes_part = name in self.running()
        if takes_part and len(self.voters()) > 1 and not self.has_quorum(without=name):
            raise ViolationError(f"deleting {name} costs the quorum")
        if takes_part and any(not member.voter for member in self.members):
            raise ViolationError(f"deleting {name} while another server catches up")
        if takes_part and name == self.leader and len(self.voters()) > 1 and not self.is_late:
            raise ViolationError(f"deleting {name}, which leads, without a hand-over")

    def _report(self, name: str) -> ServerReport:
        disk = self.disks[name]
        ids = {member.name: member.id for member in self.members}
        is_leader = name == self.leader
        knows = disk.initialised
        return ServerReport(
            name=name,
            zone_uuid=disk.zone_uuid,
            server_id=ids.get(name) if knows else None,
            state=self._state(name),
            term=self.term if knows else 0,
            leader_id=(ids.get(self.leader or "") if name not in self.fenced() else -1)
            if knows
            else None,
            commit=10 if knows else 0,
            log_index=disk.commit,
            log_term=self.term if knows else 0,
            serving=is_leader,
            initialised=knows,
            configuration_committed=not self._unsettled,
            certificates=self._certificates_of(name),
            members=tuple(self._member(each, is_leader) for each in self.members) if knows else (),
        )

    def _state(self, name: str) -> str:
        if name in self.fenced():
            return "fenced"
        return "leader" if name == self.leader else "follower"

    def _certificates_of(self, name: str) -> dict[str, ReportedCertificate]:
        loaded = self.loaded.get(self._uid(name))
        return loaded.report() if loaded is not None else {}

    def _member(self, member: RaftMember, told_by_leader: bool) -> Member:
        is_up = member.name in self.running()
        # Always the same moment, as it is for a server that stays away.
        away = (self.now - LONG_AGO).total_seconds()
        return Member(
            id=member.id,
            name=member.name,
            endpoint="http://x/RPC2",
            voter=member.voter,
            lag=(0 if member.voter else 500) if told_by_leader else None,
            last_contact_seconds=(0.1 if is_up else away) if told_by_leader else None,
        )

    def _new_member(self, name: str, *, voter: bool = False) -> RaftMember:
        self._ids += 1
        return RaftMember(self._ids - 1, name, voter)
