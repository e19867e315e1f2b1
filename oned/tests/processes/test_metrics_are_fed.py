"""Three real processes: what a scraper reads changes with what happens to them."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable

import pytest
from local_zone import LocalZone
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

WRITES = 20
SECONDS = 20.0

Scrape = dict[str, float]


def scrape(server: dict) -> Scrape:
    """Each sample by its name, with the values of its labels behind it."""
    url = server["admin_endpoint"].rstrip("/") + "/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def until(server: dict, condition: Callable[[Scrape], bool], what: str) -> Scrape:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        seen = scrape(server)
        if condition(seen):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{what}: not seen in {SECONDS:g} s")


def write(zone: LocalZone, server: dict, count: int) -> None:
    for number in range(count):
        zone.client(server).document.allocate(f'NAME="{time.monotonic_ns()}-{number}"', 7)


@pytest.fixture(scope="module")
def zone(tmp_path_factory):
    zone = LocalZone(tmp_path_factory.mktemp("zone"))
    zone.up()
    yield zone
    zone.down()


def others(zone: LocalZone, leader: dict) -> list[dict]:
    return [each for each in zone.listed() if each["name"] != leader["name"]]


def test_writes_are_counted_and_timed_and_the_log_grows(zone):
    leader = zone.leader()
    before = scrape(leader)
    write(zone, leader, WRITES)
    after = scrape(leader)
    for name in ("oned_commit_seconds_count", "oned_fsync_seconds_count"):
        assert after[name] >= before[name] + WRITES
    for name in ("oned_commit_seconds_sum", "oned_fsync_seconds_sum", "oned_write_seconds_sum"):
        assert after[name] > before[name]
    for name in ("oned_log_entries", "oned_last_index", "oned_commit_index", "oned_applied_index"):
        assert after[name] >= before[name] + WRITES


def test_lag_of_a_member_that_hangs_grows_and_goes(zone):
    leader = zone.leader()
    hanging = others(zone, leader)[0]
    lag = f"oned_member_lag_entries {hanging['name']}"
    until(leader, lambda seen: seen[lag] == 0, "a member that keeps up")
    os.kill(hanging["pid"], signal.SIGSTOP)
    try:
        write(zone, leader, WRITES)
        seen = scrape(leader)
        assert seen[lag] >= WRITES
        assert seen[f"oned_member_lag_entries {others(zone, leader)[1]['name']}"] < WRITES
    finally:
        os.kill(hanging["pid"], signal.SIGCONT)
    until(leader, lambda seen: seen[lag] == 0, "the member has caught up")


def test_tables_of_a_server_that_is_left_alone_grow_old(zone):
    """And the election that follows is counted and timed by who wins it."""
    leader = zone.leader()
    alone, *_ = others(zone, leader)
    hanging = [each for each in zone.listed() if each["name"] != alone["name"]]
    staleness = "oned_read_staleness_seconds"
    until(alone, lambda seen: seen[staleness] < 1.0, "a follower that hears its leader")
    before = {each["name"]: scrape(each) for each in zone.listed()}
    for each in hanging:
        os.kill(each["pid"], signal.SIGSTOP)
    try:
        until(alone, lambda seen: seen[staleness] > 2.0, "nobody tells it how old it is")
    finally:
        for each in hanging:
            os.kill(each["pid"], signal.SIGCONT)
    until(alone, lambda seen: seen[staleness] < 1.0, "somebody leads again")
    killed = winner = zone.leader()
    zone.kill(killed)
    while winner["name"] == killed["name"]:
        winner = zone.leader()
    known, won = before[winner["name"]], "oned_elections_total won"
    # It serves a moment before it takes note of that.
    seen = until(winner, lambda seen: seen.get(won, 0) > known.get(won, 0), "it won")
    assert seen["oned_election_seconds_count"] > known["oned_election_seconds_count"]
    assert seen["oned_election_seconds_sum"] > known["oned_election_seconds_sum"]
