"""A model of what Kubernetes does with backup Jobs, and of the storage that they write into."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from operator_cluster import NAMESPACE, ZONE, Disk, ViolationError
from operator_servers import Servers

from onezone_operator import naming

BACKUP_SPEC = {
    "zoneRef": {"name": ZONE},
    "storage": {"volume": {"claimName": "backups"}},
    "deletionPolicy": "Delete",
}


@dataclass
class Backups(Servers):
    """Jobs run for some ticks, read from a server, and leave a file or an error."""

    stored: dict[str, int] = field(default_factory=dict)
    """Files, and the last entry in each."""
    taken_from: list[str] = field(default_factory=list)
    """Servers that backups were taken from."""
    job_takes: int = 1
    """Ticks that a Job runs."""
    job_failures: int = 0
    """The next so many Jobs fail."""

    def run_jobs(self) -> None:
        """One second in the life of the Jobs and of what owns them."""
        owners = {live["metadata"]["uid"] for live in self.objects.values()}
        for (kind, name), job in list(self.objects.items()):
            if kind != "Job":
                continue
            if job["metadata"]["ownerReferences"][0]["uid"] not in owners:
                del self.objects[(kind, name)]
                self.job_pods.pop(name, None)
            elif "status" not in job:
                job["left"] = job.get("left", self.job_takes) - 1
                if job["left"] < 0:
                    self._finish(name, job)

    def _finish(self, name: str, job: dict[str, Any]) -> None:
        spec = job["spec"]["template"]["spec"]
        assert "serviceAccountName" not in spec
        assert spec["automountServiceAccountToken"] is False
        command = spec["containers"][0]["command"]
        self._check_let_through(spec)
        if self.job_failures:
            self.job_failures -= 1
            words = {"error": "no space left"}
        elif command[:2] == ["onedb", "backup"]:
            words = self._back_up(command)
        else:
            assert command[:2] == ["onedb", "backup-delete"]
            self._delete(command[2])
            words = {}
        outcome = "Failed" if "error" in words else "Complete"
        job["status"] = {"conditions": [{"type": outcome, "status": "True"}]}
        labels = job["spec"]["template"]["metadata"]["labels"]
        assert naming.ZONE_LABEL not in labels, "the pod would be taken for a server"
        message = {"terminated": {"message": json.dumps(words) if words else ""}}
        self.job_pods[name] = {
            "metadata": {
                "name": f"{name}-x",
                "labels": labels,
                "ownerReferences": [{"uid": job["metadata"]["uid"]}],
            },
            "status": {"containerStatuses": [{"state": message}]},
        }

    def _check_let_through(self, spec: dict[str, Any]) -> None:
        """The Jobs' policy, if there is one, knows the port of the store."""
        policy = self.objects.get(("NetworkPolicy", naming.backups_policy_name(ZONE)))
        variables = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
        if policy is None or "AWS_ENDPOINT_URL" not in variables:
            return
        wanted = int(str(variables["AWS_ENDPOINT_URL"]).rpartition(":")[2])
        ports = [each["port"] for rule in policy["spec"]["egress"] for each in rule["ports"]]
        if wanted not in ports:
            raise ViolationError(f"no policy lets the Job through to port {wanted}: {ports}")

    def _back_up(self, command: list[str]) -> dict[str, Any]:
        location, server = (command[command.index(each) + 1] for each in ("--to", "--server"))
        name = server.removeprefix("http://").partition(".")[0]
        assert server == f"http://{name}.{ZONE}-servers.{NAMESPACE}.svc:2633/RPC2"
        disk = self.disks.get(name, Disk())
        if name not in self.running() or not disk.initialised:
            return {"error": f"{server}: Connection refused"}
        self.stored[location] = disk.commit
        self.taken_from.append(name)
        return {
            "location": location,
            "zone_uuid": disk.zone_uuid,
            "index": disk.commit,
            "size": 1000,
            "sha256": "0" * 64,
            "verified": "--verify" in command,
        }

    def _delete(self, location: str) -> None:
        others = [each for each in self.good_locations() if each != location]
        if location in self.stored and not others:
            raise ViolationError(f"the last good backup is deleted: {location}")
        self.stored.pop(location, None)

    def good_locations(self) -> list[str]:
        """Files of backups that are said to have succeeded."""
        return [
            live["status"]["location"]
            for (kind, _), live in self.objects.items()
            if kind == naming.BACKUP_KIND
            and any(
                each["status"] == "True"
                for each in (live.get("status") or {}).get("conditions") or []
            )
        ]

    def check_delete_backup(self, name: str) -> None:
        live = self.objects[(naming.BACKUP_KIND, name)]
        location = (live.get("status") or {}).get("location")
        if location in self.stored and live["spec"].get("deletionPolicy") == "Delete":
            raise ViolationError(f"the file of {name} is left over")
        if naming.SCHEDULED_ANNOTATION not in live["metadata"].get("annotations", {}):
            raise ViolationError(f"{name}, which a user made, is deleted")
        self.objects.pop((naming.BACKUP_KIND, name))

    def ask_backup(self, name: str, **spec: Any) -> None:
        """Create a OneZoneBackup."""
        self.put(naming.BACKUP_KIND, name, {"spec": {**BACKUP_SPEC, **spec}})

    def add_taken(self, name: str, moment: str) -> None:
        """A scheduled backup that succeeded long ago."""
        location = f"file:///backups/{ZONE}/{name}.bck"
        self.ask_backup(name)
        live = self.objects[(naming.BACKUP_KIND, name)]
        live["metadata"]["annotations"] = {naming.SCHEDULED_ANNOTATION: moment}
        condition = {
            "type": "Succeeded",
            "status": "True",
            "reason": "Done",
            "lastTransitionTime": moment,
        }
        live["status"] = {
            "startedAt": moment,
            "completedAt": moment,
            "attempts": 1,
            "location": location,
            "storage": BACKUP_SPEC["storage"],
            "verified": True,
            "conditions": [condition],
        }
        self.stored[location] = 1
