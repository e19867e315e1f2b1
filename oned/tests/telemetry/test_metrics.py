import pytest

from oned.telemetry import metrics
from oned.telemetry.metrics import Metrics


def member(number, **changes):
    return {
        "id": number,
        "name": f"zone-{number}",
        "endpoint": f"http://zone-{number}:2633/RPC2",
        "peer_endpoint": f"zone-{number}:2635",
        "voter": True,
        "match": 10,
        "lag": 0,
        "last_contact_seconds": 0.04,
    } | changes


def status(**changes):
    return {
        "version": "0.1.0",
        "zone_uuid": "z",
        "server_id": 0,
        "name": "zone-0",
        "disk": "d",
        "state": "leader",
        "term": 3,
        "voted_for": 0,
        "leader_id": 0,
        "commit": 10,
        "applied": 9,
        "log_index": 11,
        "log_term": 3,
        "log_base": 4,
        "serving": True,
        "database": "ok",
        "initialised": True,
        "configuration_committed": True,
        "staleness_seconds": 0.0,
        "snapshots": {"sending": {}, "receiving": False, "received_bytes": 0},
        "certificates": {
            "peer": {
                "fingerprint": "f",
                "not_before": "2026-01-01T00:00:00Z",
                "not_after": "2027-01-01T00:00:00Z",
                "authorities": ["a"],
                "refused": False,
            }
        },
        "members": [
            member(0, last_contact_seconds=None),
            member(1, lag=4),
            member(2, last_contact_seconds=None, voter=False),
        ],
    } | changes


@pytest.fixture
def measured():
    return Metrics("front-0", process=False)


def value(measured, name, **labels):
    return measured.registry.get_sample_value(name, labels)


def test_leader_shows_itself_and_its_members(measured):
    measured.observe_status(status())
    assert value(measured, "oned_term") == 3
    assert value(measured, "oned_is_leader") == 1
    assert value(measured, "oned_state", state="leader") == 1
    assert value(measured, "oned_state", state="follower") == 0
    assert value(measured, "oned_commit_index") == 10
    assert value(measured, "oned_applied_index") == 9
    assert value(measured, "oned_last_index") == 11
    assert value(measured, "oned_read_staleness_seconds") == 0
    assert value(measured, "oned_members") == 3
    assert value(measured, "oned_voters") == 2
    assert value(measured, "oned_member_lag_entries", member="zone-1") == 4
    assert value(measured, "oned_member_last_contact_seconds", member="zone-1") == 0.04


def test_names_of_opennebulas_exporter_are_kept(measured):
    measured.observe_status(status())
    label = {"one_server_fqdn": "front-0"}
    assert value(measured, "opennebula_ha_is_leader", **label) == 1
    assert value(measured, "opennebula_ha_members", **label) == 3
    assert value(measured, "opennebula_ha_error_members", **label) == 1


def test_a_silent_member_counts_as_in_error(measured):
    silent = member(1, last_contact_seconds=metrics.ERROR_AFTER_SECONDS + 1)
    measured.observe_status(status(members=[member(0), silent]))
    assert value(measured, "opennebula_ha_error_members", one_server_fqdn="front-0") == 1


def test_what_only_a_leader_knows_goes_when_it_steps_down(measured):
    measured.observe_status(status())
    unknown = {"match": None, "lag": None, "last_contact_seconds": None}
    measured.observe_status(
        status(state="follower", members=[member(n, **unknown) for n in range(3)])
    )
    assert value(measured, "oned_is_leader") == 0
    assert value(measured, "oned_member_lag_entries", member="zone-1") is None
    assert value(measured, "opennebula_ha_error_members", one_server_fqdn="front-0") is None


def test_age_of_the_tables_is_unbounded_while_nothing_is_known(measured):
    measured.observe_status(status(state="follower", staleness_seconds=0.31))
    assert value(measured, "oned_read_staleness_seconds") == 0.31
    measured.observe_status(status(state="follower", staleness_seconds=None))
    assert value(measured, "oned_read_staleness_seconds") == float("inf")


def test_a_removed_member_goes(measured):
    measured.observe_status(status())
    measured.observe_status(status(members=[member(0)]))
    assert value(measured, "oned_member_lag_entries", member="zone-1") is None


def test_voters_that_answer_and_voters_that_are_needed(measured):
    """A learner counts for neither, and a voter that was never heard of does not answer."""
    members = [
        member(0),
        member(1),
        member(2, last_contact_seconds=None),
        member(3, voter=False),
    ]
    measured.observe_status(status(members=members))
    assert value(measured, "oned_voters_reachable", server="front-0") == 2
    assert value(measured, "oned_voters_needed", server="front-0") == 2
    assert value(measured, "oned_member_reachable", member="zone-1") == 1
    assert value(measured, "oned_member_reachable", member="zone-2") == 0
    assert value(measured, "oned_member_reachable", member="zone-0") is None
    measured.observe_status(status(state="follower"))
    assert value(measured, "oned_voters_reachable", server="front-0") is None
    assert value(measured, "oned_member_reachable", member="zone-2") is None


def test_log_database_and_settlement(measured):
    measured.observe_status(status(database="full", configuration_committed=False, leader_id=-1))
    assert value(measured, "oned_log_entries") == 7
    assert value(measured, "oned_database_condition", condition="full") == 1
    assert value(measured, "oned_database_condition", condition="ok") == 0
    assert value(measured, "oned_configuration_committed") == 0
    assert value(measured, "oned_initialised") == 1
    assert value(measured, "oned_leader_known") == 1
    measured.observe_status(status(state="follower", leader_id=-1))
    assert value(measured, "oned_leader_known") == 0


def test_backups_that_were_asked_for(measured):
    measured.backup("success", 2.5, 4096)
    measured.backup("failed", 60.0, 0)
    assert value(measured, "oned_backups_total", result="success") == 1
    assert value(measured, "oned_backups_total", result="failed") == 1
    assert value(measured, "oned_backup_seconds_sum") == 2.5
    assert value(measured, "oned_backup_last_size_bytes") == 4096


def test_route_is_told_while_this_server_leads(measured):
    measured.observe_status(status())
    assert value(measured, "oned_route_unconfirmed_seconds", server="front-0") is None
    for seconds in (0.5, 7.0):
        measured.route_seconds = lambda seconds=seconds: seconds
        measured.observe_status(status())
        assert value(measured, "oned_route_unconfirmed_seconds", server="front-0") == seconds
    measured.route_seconds = lambda: None
    measured.observe_status(status(state="follower"))
    assert value(measured, "oned_route_unconfirmed_seconds", server="front-0") is None


def test_snapshots_on_their_way(measured):
    under_way = {"sending": {"zone-2": 12.5}, "receiving": True, "received_bytes": 4096}
    measured.observe_status(status(snapshots=under_way))
    assert value(measured, "oned_snapshot_sending_seconds", member="zone-2") == 12.5
    assert value(measured, "oned_snapshot_receiving") == 1
    assert value(measured, "oned_snapshot_received_bytes") == 4096
    measured.observe_status(status())
    assert value(measured, "oned_snapshot_sending_seconds", member="zone-2") is None
    assert value(measured, "oned_snapshot_receiving") == 0
    measured.snapshot("sent", "failed")
    assert value(measured, "oned_snapshots_total", direction="sent", outcome="failed") == 1


def test_calls_batches_commits_elections_hooks(measured):
    measured.call("one.zone.info", "success", 0.003)
    measured.call("one.zone.info", "success", 0.003)
    measured.call("one.zone.info", "AUTHORIZATION", 0.001)
    measured.batch(7, 0.002)
    measured.commit(0.004)
    measured.sync(0.003)
    measured.election("won", 1.2)
    measured.election("lost")
    measured.hook("leader", "failed")
    assert value(measured, "oned_calls_total", method="one.zone.info", outcome="success") == 2
    assert value(measured, "oned_call_seconds_count", method="one.zone.info") == 3
    assert value(measured, "oned_write_batch_entries_sum") == 7
    assert value(measured, "oned_write_seconds_count") == 1
    assert value(measured, "oned_commit_seconds_count") == 1
    assert value(measured, "oned_fsync_seconds_sum") == 0.003
    assert value(measured, "oned_elections_total", outcome="won") == 1
    assert value(measured, "oned_election_seconds_sum") == 1.2
    assert value(measured, "oned_hook_runs_total", role="leader", outcome="failed") == 1


def test_unknown_methods_cannot_grow_the_series_without_bound(measured):
    for number in range(metrics.METHODS_MAX + 50):
        measured.call(f"evil.{number}", "NO_EXISTS", 0.001)
    series = [
        sample
        for family in measured.registry.collect()
        for sample in family.samples
        if sample.name == "oned_calls_total"
    ]
    assert len(series) == metrics.METHODS_MAX + 1
    assert value(measured, "oned_calls_total", method="other", outcome="NO_EXISTS") == 50


def test_two_servers_in_one_process_do_not_share_a_registry():
    first, second = Metrics("a"), Metrics("b")
    first.batch(1, 0.1)
    assert value(second, "oned_write_seconds_count") == 0
    assert b"process_resident_memory_bytes" in first.exposition()[0]
