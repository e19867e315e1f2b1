"""Schedules across clock changes, and retention whatever there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_backups import build_taken

from onezone_operator.models.backups import BackupSchedule, Retention
from onezone_operator.reconcile.schedule import FAILED_KEPT, find_expired, kept, read_calendar


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def calendar(schedule, now, zone="UTC"):
    return read_calendar(BackupSchedule(schedule=schedule, time_zone=zone), moment(now))


def test_a_time_has_come_in_its_own_second():
    found = calendar("0 2 * * *", "2026-03-01T02:00:00")
    assert found.latest == moment("2026-03-01T02:00:00")
    assert found.before == moment("2026-02-28T02:00:00")
    assert found.following == moment("2026-03-02T02:00:00")
    assert calendar("0 2 * * *", "2026-03-01T01:59:59").latest == moment("2026-02-28T02:00:00")


def test_times_are_local():
    assert calendar("0 2 * * *", "2026-07-01T12:00:00", "Europe/Madrid").latest == moment(
        "2026-07-01T00:00:00"
    )


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_night_in_which_clocks_change_has_one_backup(day):
    """02:30 is skipped in spring and comes twice in autumn."""
    found = set()
    now = moment(f"{day}T00:00:00") - timedelta(hours=2)
    for minute in range(0, 24 * 60, 5):
        at = now + timedelta(minutes=minute)
        latest = read_calendar(
            BackupSchedule(schedule="30 2 * * *", time_zone="Europe/Madrid"), at
        ).latest
        if latest is not None and latest >= now:
            found.add(latest)
    assert len(found) == 1


@pytest.mark.parametrize("text", ["61 * * * *", "* * * * mon-xyz", "0 0 31 2 *"])
def test_what_cannot_be_understood_or_never_comes_has_no_times(text):
    found = calendar(text, "2026-03-01T12:00:00")
    assert found.latest is None


@pytest.mark.parametrize("zone", ["Nowhere/Else", "../etc/passwd", "UTC\x00"])
def test_unknown_time_zones_are_trouble(zone):
    found = calendar("0 2 * * *", "2026-03-01T12:00:00", zone)
    assert found.trouble
    assert found.latest is None


BEGIN = moment("2026-01-01T00:00:00")
BACKUPS = st.lists(
    st.tuples(st.integers(0, 24 * 90), st.booleans(), st.booleans()),
    max_size=40,
    unique_by=lambda each: each[0],
)
RETENTIONS = st.builds(
    Retention, last=st.integers(1, 8), daily=st.integers(0, 8), weekly=st.integers(0, 6)
)


def build(found):
    return [
        build_taken(
            f"b{hours}",
            (BEGIN + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            good=good,
            verified=verified,
        )
        for hours, good, verified in found
    ]


@given(found=BACKUPS, retention=RETENTIONS)
def test_the_last_good_ones_are_always_kept(*, found, retention):
    backups = build(found)
    expired = {each.name for each in find_expired(backups, retention)}
    good = sorted((each for each in backups if each.has_succeeded), key=lambda b: b.scheduled_for)
    assert not expired & {each.name for each in good[-retention.last :]}
    verified = [each for each in good if each.status.verified]
    assert not expired & {each.name for each in verified[-1:]}
    assert len(good) - len(expired & {each.name for each in good}) >= min(len(good), retention.last)


@given(found=BACKUPS, retention=RETENTIONS)
def test_what_is_left_is_bounded_and_stays(*, found, retention):
    backups = build(found)
    expired = {each.name for each in find_expired(backups, retention)}
    left = [each for each in backups if each.name not in expired]
    failed = sum(not each.has_succeeded for each in left)
    assert failed <= FAILED_KEPT
    assert len(left) - failed <= retention.last + retention.daily + retention.weekly + 1
    assert find_expired(left, retention) == ()


@given(found=BACKUPS, retention=RETENTIONS, hours=st.integers(1, 2000))
def test_a_newer_one_brings_back_nothing(*, found, retention, hours):
    """What expired stays expired when another backup is taken: deleting it was no mistake."""
    backups = build(found)
    before = {each.name for each in find_expired(backups, retention)}
    newer = build([(24 * 90 + hours, True, True)])
    after = {each.name for each in find_expired([*backups, *newer], retention)}
    assert before <= after


@given(found=BACKUPS)
def test_each_of_the_last_days_and_weeks_keeps_its_newest(*, found):
    retention = Retention(last=1, daily=3, weekly=2)
    backups = build(found)
    names = kept(backups, retention)
    newest = {}
    for each in backups:
        if each.has_succeeded:
            day = each.scheduled_for[:10]
            newest[day] = max(newest.get(day, ""), each.scheduled_for)
    for day in sorted(newest)[-3:]:
        assert any(each.scheduled_for == newest[day] for each in backups if each.name in names)
