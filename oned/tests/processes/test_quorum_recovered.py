"""A zone of real processes loses two of three databases, and goes on with the third.

The course is the operator's: all stop, each server carries the founding out before it starts, the
founder leads alone, its name is taken out of the founding, the others join again one by one.
"""

from __future__ import annotations

import json
import shutil

import pytest
from local_zone import LocalZone
from test_backup_and_restore import allocate, documents, managed, onedb, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


class Course:
    """A zone that is stopped, founded by one of its servers, and joined by the others."""

    def __init__(self, zone: LocalZone) -> None:
        self.zone = zone
        self.inside = managed(zone)
        self.servers = {server["name"]: server for server in zone.listed()}

    def stop(self) -> None:
        for name, server in self.servers.items():
            if self.inside.servers[name].is_running(server["pid"]):
                self.zone.kill(server)

    def prepare(self, name: str, founding: dict) -> str:
        """What a pod's init container does; what it says."""
        environment = self.inside.servers[name].environment(
            auth_file=self.inside.auth_file,
            zone_endpoint=self.servers[name]["endpoint"],
            bootstrap="",
        )
        environment["ONED_FOUNDING"] = json.dumps(founding, separators=(",", ":"))
        configuration = self.zone.directory / name / "oned.conf"
        return onedb("prepare", "-c", configuration, environment=environment)

    def start(self, name: str, founding: dict) -> None:
        """As a pod does."""
        self.prepare(name, founding)
        self.inside.start(name)
        self.inside.save()  # or nobody could stop it

    def join(self, name: str) -> None:
        self.inside.register(name)
        self.inside.wait_until_voter(name)

    def members(self, server: dict) -> dict[str, int]:
        status = self.zone.status(server) or {"members": []}
        return {member["name"]: member["id"] for member in status["members"]}


def lose(zone: LocalZone, name: str) -> None:
    """The volume is gone, and an empty one is there."""
    shutil.rmtree(zone.directory / name / "var")
    (zone.directory / name / "var").mkdir(mode=0o700)


def test_a_zone_goes_on_with_one_of_three_databases(tmp_path):
    zone = LocalZone(tmp_path / "zone")
    try:
        zone.up()
        first, second, third = zone.listed()
        for number in range(20):
            allocate(zone, first, f"kept-{number:02}")
        kept = [f"kept-{number:02}" for number in range(20)]
        until(lambda: documents(zone, second) == kept, "the survivor has every change")
        course = Course(zone)
        ids = course.members(zone.leader())
        course.stop()
        # One volume is lost; the other comes back late, with its database: it must make way.
        lose(zone, first["name"])
        founding = {"id": "task-1", "server": second["name"], "source": None}
        course.start(second["name"], founding)
        until(lambda: zone.leader()["name"] == second["name"], "the founder leads")
        assert course.members(second) == {second["name"]: ids[second["name"]]}
        assert documents(zone, second) == kept
        allocate(zone, second, "new")
        founding["server"] = ""
        for server in (first, third):
            course.start(server["name"], founding)
            course.join(server["name"])
        now = course.members(zone.leader())
        assert set(now) == set(ids)
        assert min(now[first["name"]], now[third["name"]]) > max(ids.values())
        for server in (first, second, third):
            until(
                lambda server=server: documents(zone, server) == [*kept, "new"],
                f"{server['name']} has every change",
            )
        aside = list((zone.directory / third["name"] / "var").glob("one.db.replaced-*"))
        assert aside, "the database that made way is still there"
    finally:
        zone.down()
    for server in (first, second, third):
        assert course.prepare(server["name"], founding) == "Nothing to prepare.\n"


def test_a_founder_that_lost_its_volume_afterwards_makes_no_second_zone(tmp_path):
    """Its name is out of the founding by then: it begins empty, and waits to be told who it is."""
    zone = LocalZone(tmp_path / "zone", servers=1)
    try:
        zone.up()
        (server,) = zone.listed()
        allocate(zone, server, "kept")
        course = Course(zone)
        course.stop()
        lose(zone, server["name"])
        course.start(server["name"], {"id": "task-1", "server": "", "source": None})
        until(lambda: zone.status(server) is not None, "it answers")
        status = zone.status(server)
        assert (status["initialised"], status["serving"]) == (False, False)
    finally:
        zone.down()
