"""A minute of real processes under every fault, and the judgement's own teeth."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proof.chaos import judgement
from proof.chaos.__main__ import run
from proof.chaos.clients import ALLOCATIONS, Records
from proof.chaos.nemesis import DEFAULT_FAULTS
from proof.linearizability import Operation, Outcome

SECONDS = 60.0


@pytest.mark.integration
@pytest.mark.timeout(300)
async def test_three_servers_under_every_fault_tell_their_clients_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    report = await run(tmp_path, servers=3, seconds=SECONDS, seed=seed, faults=DEFAULT_FAULTS)
    with capsys.disabled():
        print(f"\n{report.line()}")
    assert not report.wrong, "\n".join(report.wrong)


def allocation(outcome: Outcome, result: int | None = None) -> Operation:
    return Operation(0, ALLOCATIONS, "allocate", "name", result, 0, 1, outcome)


def test_an_acknowledged_allocation_that_is_not_in_the_table_is_told() -> None:
    assert judgement.allocated([allocation(Outcome.OK, 3)], {})
    assert judgement.allocated([allocation(Outcome.OK, 3)], {"name": 4})
    assert not judgement.allocated([allocation(Outcome.OK, 3)], {"name": 3})


def test_an_allocation_told_failed_must_not_have_been_done_and_an_unknown_one_may() -> None:
    assert judgement.allocated([allocation(Outcome.FAILED)], {"name": 3})
    assert not judgement.allocated([allocation(Outcome.UNKNOWN)], {"name": 3})
    assert not judgement.allocated([allocation(Outcome.UNKNOWN)], {})


def test_one_row_that_differs_between_two_servers_is_told() -> None:
    one: judgement.Tables = {"acl": [(1, "a")], "document_pool": [(1,)]}
    assert not judgement.compare({"server-0": one, "server-1": dict(one)})
    assert judgement.compare({"server-0": one, "server-1": one | {"acl": [(1, "b")]}})


def test_a_stale_read_among_the_records_is_told_with_its_calls() -> None:
    records = Records()
    ok = Outcome.OK
    records.registers += [
        Operation(0, 5, "write", "old", None, 0, 1, ok),
        Operation(0, 5, "write", "new", None, 2, 3, ok),
        Operation(1, 5, "read", None, "old", 4, 5, ok),
    ]
    (wrong,) = judgement.judge(records)
    assert "register 5 is not linearizable" in wrong
    assert "'old'" in wrong
