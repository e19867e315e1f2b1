"""Backups under test: where they go, and what became of them."""

from __future__ import annotations

from typing import Any

import lab
import timeouts

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "backups"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
STORAGE = {"volume": {"claimName": "backups"}}


def backup(namespace: str, name: str) -> dict[str, Any]:
    """The OneZoneBackup."""
    return dict(lab.kubectl_json("-n", namespace, "get", "onezonebackup", name))


def wait_until_taken(namespace: str, name: str) -> dict[str, Any]:
    """Wait until it is over, which must be a success; its status."""
    seen: set[str] = set()

    def is_over() -> bool:
        status = backup(namespace, name).get("status") or {}
        message = str(status.get("message"))
        if message not in seen:
            seen.add(message)
            lab.step(f"  backup {name}: {message}")
        return any(each["status"] != "Unknown" for each in status.get("conditions") or [])

    lab.wait_until(f"backup {name} is over", is_over, timeouts.BACKUP)
    status = dict(backup(namespace, name)["status"])
    assert status["conditions"][0]["status"] == "True", status["message"]
    return status
