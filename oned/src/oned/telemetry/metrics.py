"""Prometheus metrics of one server, in a registry of its own.

The names that OpenNebula's exporter uses are kept beside ours, so that dashboards and alerts
written for it go on working. Who measures calls a small method here; nobody else touches
``prometheus_client``. The shape of a status is the one of ``/status``, in ARCHITECTURE.md.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CONTENT_TYPE_PLAIN_1_0_0,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Metrics"]

CALL_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0),
)
"""Half a millisecond is a local read, 15 s is where a client gives up."""

ELECTION_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
BACKUP_SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
BATCH_ENTRIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

METHODS_MAX = 250
"""Series of distinct method names; the rest count as ``other``. Callers choose the names."""

ERROR_AFTER_SECONDS = 5.0
"""Silence after which the leader counts a member as in error."""

STATES = ("solo", "candidate", "follower", "leader", "fenced")
DATABASE = ("ok", "stuck", "full", "failed", "damaged")
"""What ``/status`` calls the database."""


class Metrics:
    """All that is measured of one server.

    Args:
        server: the server's name, label ``one_server_fqdn`` of OpenNebula's own metrics.
        process: also export CPU, memory and descriptors of this process.

    Attributes:
        route_seconds: asked for how long the route to this server is unconfirmed, if it leads.
    """

    def __init__(self, server: str = "", *, process: bool = True) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        if process:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
        self._server = server
        self._term = self._gauge("oned_term", "Raft term this server is in.")
        self._is_leader = self._gauge("oned_is_leader", "1 while this server leads, else 0.")
        self._serving = self._gauge(
            "oned_serving", "1 while this server answers usefully: a ready leader or follower."
        )
        self._state = self._gauge("oned_state", "1 for the state this server is in.", "state")
        self._commit = self._gauge("oned_commit_index", "Last index known to be on a majority.")
        self._applied = self._gauge("oned_applied_index", "Last index applied to the tables.")
        self._last = self._gauge("oned_last_index", "Last index in the log.")
        self._log_entries = self._gauge(
            "oned_log_entries", "Entries that the log holds: the last index less the compacted."
        )
        self._database = self._gauge(
            "oned_database_condition", "1 for what the database is: ok, or why not.", "condition"
        )
        self._knows_leader = self._gauge(
            "oned_leader_known", "1 while this server knows who leads, or leads."
        )
        self._initialised = self._gauge(
            "oned_initialised", "1 once the database holds the zone; it has no vote before."
        )
        self._settled = self._gauge(
            "oned_configuration_committed", "0 while a change of the members is on its way."
        )
        self._staleness = self._gauge(
            "oned_read_staleness_seconds",
            "Everything acknowledged so long ago or before is in this server's tables;"
            " 0 on a leader that needs to ask nobody, +Inf while no bound is known.",
        )
        self._certificate_life = {
            "not_before": self._gauge(
                "oned_certificate_not_before_seconds",
                "When the life of the certificate in use began, as a Unix time.",
                "which",
            ),
            "not_after": self._gauge(
                "oned_certificate_not_after_seconds",
                "When the certificate in use ends, as a Unix time: of the API's port, if it speaks"
                " https, and of the peers'.",
                "which",
            ),
        }
        self._certificate_refused = self._gauge(
            "oned_certificate_refused",
            "1 while the files hold a certificate that cannot be used; the one before is in use.",
            "which",
        )
        self._members = self._gauge("oned_members", "Servers in the zone's server set.")
        self._voters = self._gauge("oned_voters", "Members that count for a majority.")
        self._lag = self._gauge(
            "oned_member_lag_entries",
            "Entries a member is behind the leader's log; known on the leader only.",
            "member",
        )
        self._contact = self._gauge(
            "oned_member_last_contact_seconds",
            "Seconds since a member last answered; known on the leader only.",
            "member",
        )
        self._reachable = self._gauge(
            "oned_member_reachable",
            "1 for a member that answered within 5 seconds, else 0; known on the leader only.",
            "member",
        )
        self._voters_reachable = self._gauge(
            "oned_voters_reachable",
            "Voters that answer, the leader included; on the leader only.",
            "server",
        )
        self._voters_needed = self._gauge(
            "oned_voters_needed", "Voters that make a majority; on the leader only.", "server"
        )
        self._sending = self._gauge(
            "oned_snapshot_sending_seconds",
            "For how long a snapshot has been under way to a member; absent when none is.",
            "member",
        )
        self._receiving = self._gauge(
            "oned_snapshot_receiving", "1 while this server receives or installs a snapshot."
        )
        self._received = self._gauge(
            "oned_snapshot_received_bytes", "Bytes of the snapshot that is being received."
        )
        self._one_is_leader = self._gauge(
            "opennebula_ha_is_leader", "As oned_is_leader.", "one_server_fqdn"
        )
        self._one_members = self._gauge(
            "opennebula_ha_members", "As oned_members.", "one_server_fqdn"
        )
        self._one_errors = self._gauge(
            "opennebula_ha_error_members",
            "Members that the leader has not heard of lately; on the leader only.",
            "one_server_fqdn",
        )
        self._calls = Counter(
            "oned_calls",
            "XML-RPC calls by method and outcome.",
            ("method", "outcome"),
            registry=self.registry,
        )
        self._call_seconds = self._histogram(
            "oned_call_seconds", "Duration of XML-RPC calls.", CALL_SECONDS, "method"
        )
        self._commit_seconds = self._histogram(
            "oned_commit_seconds", "From a proposal to its being applied here.", CALL_SECONDS
        )
        self._write_seconds = self._histogram(
            "oned_write_seconds",
            "Duration of one write of the database, fsync included.",
            CALL_SECONDS,
        )
        self._fsync_seconds = self._histogram(
            "oned_fsync_seconds", "How long the disk took to make one write durable.", CALL_SECONDS
        )
        self._batch = self._histogram(
            "oned_write_batch_entries", "Log entries in one write of the database.", BATCH_ENTRIES
        )
        self._elections = Counter(
            "oned_elections",
            "Elections this server stood in, by outcome.",
            ("outcome",),
            registry=self.registry,
        )
        self._election_seconds = self._histogram(
            "oned_election_seconds", "From standing for election to serving.", ELECTION_SECONDS
        )
        self._snapshots = Counter(
            "oned_snapshots",
            "Snapshots that were sent or received, by outcome.",
            ("direction", "outcome"),
            registry=self.registry,
        )
        self._hooks = Counter(
            "oned_hook_runs",
            "Runs of hooks by role and outcome.",
            ("role", "outcome"),
            registry=self.registry,
        )
        self._unrouted = self._gauge(
            "oned_route_unconfirmed_seconds",
            "For how long a leader on Kubernetes has not seen the leader Service lead to it;"
            " at most about two seconds on a healthy one, absent on other servers.",
            "server",
        )
        self.route_seconds: Callable[[], float | None] = lambda: None
        self._backups = Counter(
            "oned_backups",
            "Backups that were asked of this server, by result.",
            ("result",),
            registry=self.registry,
        )
        self._backup_seconds = self._histogram(
            "oned_backup_seconds", "From asking for a backup to its last byte.", BACKUP_SECONDS
        )
        self._backup_bytes = self._gauge(
            "oned_backup_last_size_bytes", "Size of the last backup that this server sent whole."
        )
        self._methods: set[str] = set()
        self._call_children: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def observe_status(self, status: Mapping[str, Any]) -> None:
        """Take over the gauges from what ``/status`` shows."""
        state = status["state"]
        leads = state == "leader"
        members = status["members"]
        self._term.set(status["term"])
        self._is_leader.set(leads)
        self._serving.set(bool(status["serving"]))
        for each in STATES:
            self._state.labels(each).set(each == state)
        self._commit.set(status["commit"])
        self._applied.set(status["applied"])
        self._last.set(status["log_index"])
        self._log_entries.set(status["log_index"] - status["log_base"])
        for each in DATABASE:
            self._database.labels(each).set(each == status["database"])
        self._knows_leader.set(leads or state == "solo" or status["leader_id"] >= 0)
        self._initialised.set(bool(status["initialised"]))
        self._settled.set(bool(status["configuration_committed"]))
        self._observe_snapshots(status["snapshots"])
        for which, certificate in status["certificates"].items():
            for moment, gauge in self._certificate_life.items():
                gauge.labels(which).set(datetime.fromisoformat(certificate[moment]).timestamp())
            self._certificate_refused.labels(which).set(certificate["refused"])
        staleness = status["staleness_seconds"]
        self._staleness.set(float("inf") if staleness is None else staleness)
        self._members.set(len(members))
        self._voters.set(sum(1 for member in members if member["voter"]))
        self._one_is_leader.labels(self._server).set(leads)
        self._one_members.labels(self._server).set(len(members))
        self._observe_members(status, leads=leads)
        self._unrouted.clear()
        unrouted = self.route_seconds()
        if unrouted is not None:
            self._unrouted.labels(self._server).set(unrouted)

    def _observe_snapshots(self, snapshots: Mapping[str, Any]) -> None:
        self._sending.clear()
        for name, seconds in snapshots["sending"].items():
            self._sending.labels(name).set(seconds)
        self._receiving.set(bool(snapshots["receiving"]))
        self._received.set(snapshots["received_bytes"])

    def _observe_members(self, status: Mapping[str, Any], *, leads: bool) -> None:
        # A member that left, or what only a leader knows, must not linger as a last value.
        known_to_leaders = (self._lag, self._contact, self._reachable, self._one_errors)
        for gauge in (*known_to_leaders, self._voters_reachable, self._voters_needed):
            gauge.clear()
        if not leads:
            return
        members = status["members"]
        voters = sum(1 for member in members if member["voter"])
        reachable = errors = 0
        for member in members:
            if member["lag"] is not None:
                self._lag.labels(member["name"]).set(member["lag"])
            if member["id"] == status["server_id"]:
                reachable += bool(member["voter"])
                continue
            contact = member["last_contact_seconds"]
            if contact is not None:
                self._contact.labels(member["name"]).set(contact)
            answers = contact is not None and contact <= ERROR_AFTER_SECONDS
            self._reachable.labels(member["name"]).set(answers)
            reachable += answers and bool(member["voter"])
            errors += not answers
        self._voters_reachable.labels(self._server).set(reachable)
        self._voters_needed.labels(self._server).set(voters // 2 + 1)
        self._one_errors.labels(self._server).set(errors)

    def call(self, method: str, outcome: str, seconds: float) -> None:
        """One XML-RPC call was answered; ``outcome`` is ``success`` or an error's word."""
        children = self._call_children.get((method, outcome))
        if children is None:
            children = self._children_of(method, outcome)
        counter, histogram = children
        counter.inc()
        histogram.observe(seconds)

    def batch(self, entries: int, seconds: float) -> None:
        """One write of the database with so many log entries took so long."""
        self._batch.observe(entries)
        self._write_seconds.observe(seconds)

    def sync(self, seconds: float) -> None:
        """The disk took so long to make one write durable. May be called in any thread."""
        self._fsync_seconds.observe(seconds)

    def commit(self, seconds: float) -> None:
        """One proposal was applied so long after it was made."""
        self._commit_seconds.observe(seconds)

    def election(self, outcome: str, seconds: float | None = None) -> None:
        """This server's candidacy ended: ``won`` (with its duration) or ``lost``."""
        self._elections.labels(outcome).inc()
        if seconds is not None:
            self._election_seconds.observe(seconds)

    def snapshot(self, direction: str, outcome: str) -> None:
        """A snapshot was ``sent`` or ``received``, and that was a ``success`` or ``failed``."""
        self._snapshots.labels(direction, outcome).inc()

    def backup(self, result: str, seconds: float, size: int) -> None:
        """A backup was a ``success`` or ``failed`` after so long; its size counts in the former."""
        self._backups.labels(result).inc()
        if result == "success":
            self._backup_seconds.observe(seconds)
            self._backup_bytes.set(size)

    def hook(self, role: str, outcome: str) -> None:
        """A hook ended; fits ``HookRunner``'s ``report``."""
        self._hooks.labels(role, outcome).inc()

    def exposition(self) -> tuple[bytes, str]:
        """The text for a scraper, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_1_0_0

    def _children_of(self, method: str, outcome: str) -> tuple[Counter, Histogram]:
        if method not in self._methods:
            if len(self._methods) >= METHODS_MAX:
                method = "other"
            else:
                self._methods.add(method)
        children = self._calls.labels(method, outcome), self._call_seconds.labels(method)
        if method != "other":
            self._call_children[method, outcome] = children
        return children

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
