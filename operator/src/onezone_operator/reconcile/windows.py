"""When a planned change of running servers may be made: maintenance windows, and what waits.

Pure: the time is given. A window that cannot be understood never opens, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from onezone_operator.models.onezone import MaintenanceWindow
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

__all__ = ["WAITS_FOR_WINDOW", "Opening", "find_opening", "plan_in_window"]

WAITS_FOR_WINDOW: dict[type[Step], bool] = {
    # Running servers are restarted, for no other reason than a change of the spec.
    ReplacePod: True,
    # Identity, secrets and objects: what pods need to run at all. Running pods are not touched.
    CreateAuthority: False,
    CreateCredentials: False,
    SetCredentialsOwner: False,
    IssueCertificates: False,
    DropCertificates: False,
    IssueApiCertificate: False,
    # Servers take certificates while they run, and those that end do not wait.
    AnnounceAuthority: False,
    PromoteAuthority: False,
    RetireAuthority: False,
    ApplyObjects: False,
    DropPolicy: False,
    RecordBootstrap: False,
    # The number of servers was asked for now, by a user or an autoscaler, and disturbs no other.
    RegisterMember: False,
    RemoveMember: False,
    SetReplicas: False,
    FenceServer: False,
    # Nothing is restarted, and a disk that is nearly full does not wait.
    ExpandVolume: False,
    RecreateStatefulSet: False,
    # Asked for now, by a task.
    HandOver: False,
    DeleteVolume: False,
    ReportTask: False,
    DeleteTask: False,
    # Backups have a schedule of their own, and disturb no server.
    CreateBackup: False,
    CreateJob: False,
    ReportBackup: False,
    DeleteBackup: False,
    # Repairs.
    RepairRoute: False,
    WaitForCatchUp: False,
    Wait: False,
    Nothing: False,
}
"""Every kind of step, and whether it waits when it is planned. The same step as a repair (the pod
of a server that takes no part) waits for nothing, and is not asked about here."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether a window is open, or when the next opens, or why none ever does."""

    is_open: bool
    following: datetime | None = None
    trouble: str = ""


def find_opening(windows: Sequence[MaintenanceWindow], now: datetime) -> Opening:
    """Look at all windows. Without any, it is always open."""
    if not windows:
        return Opening(True)
    following: list[datetime] = []
    troubles: list[str] = []
    for window in windows:
        try:
            zone = ZoneInfo(window.time_zone)
            local = now.astimezone(zone)
            # What began at this very second is a beginning too.
            began = next(CronSim(window.schedule, local + timedelta(seconds=1), reverse=True), None)
            begins = next(CronSim(window.schedule, local), None)
        except (CronSimError, ZoneInfoNotFoundError, ValueError, OSError) as error:
            troubles.append(f"{window.schedule!r} in {window.time_zone}: {error}")
            continue
        # Hours are counted in UTC: a night in which clocks change has windows of the same length.
        length = timedelta(minutes=window.duration_minutes)
        if began is not None and now < began.astimezone(UTC) + length:
            return Opening(True)
        if begins is not None:
            following.append(begins.astimezone(UTC))
    return Opening(False, min(following, default=None), "; ".join(troubles))


def plan_in_window(step: Step, windows: Sequence[MaintenanceWindow], now: datetime) -> Step:
    """The planned step, or the wait for a window if it is one that waits."""
    if not WAITS_FOR_WINDOW[type(step)]:
        return step
    opening = find_opening(windows, now)
    if opening.is_open:
        return step
    assert isinstance(step, ReplacePod)
    act = f"before the pod of {step.server} is replaced ({step.reason})"
    if opening.following is not None:
        moment = opening.following.strftime("%Y-%m-%d %H:%M UTC")
        return Wait(
            "MaintenanceWindow", f"Waiting for the maintenance window that opens {moment}, {act}"
        )
    trouble = opening.trouble or "no date fits its schedule"
    return Wait("WindowNeverOpens", f"No maintenance window opens {act}: {trouble}", True)
