"""The benchmarks measure what they say; how fast anything is, is not tested."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from benchmarks import targets
from benchmarks.__main__ import PAGE
from benchmarks.generator import HttpCalls
from benchmarks.measure import Generator
from benchmarks.plan import QUICK
from benchmarks.processes import BenchmarkError
from benchmarks.run import run
from benchmarks.systems.dqlite import Dqlite
from benchmarks.systems.etcd import Etcd
from benchmarks.systems.oned import Oned
from proof.table import BEGIN, END, write_between_marks

TINY = dataclasses.replace(QUICK, clients=(1, 64), seconds=1.0, warm_up=0.1, applied=2000)


def test_a_system_that_is_not_installed_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    results = run([Etcd(grpc=True), Dqlite()], TINY, {"writes", "reads", "failover"}, tmp_path)
    assert not results.values
    for table in results.tables:
        text = str(table)
        assert "not installed: apt-get install etcd-server" in text, table.title
        assert "not installed: apt-get install go-dqlite" in text, table.title


def test_a_target_is_met_missed_or_not_measured() -> None:
    values = {"writes oned 64": 4000.0, "writes p99 oned 64": 0.026}
    table, met, missed = targets.judge(values)
    verdicts = {row[0]: row[2:] for row in table.rows}
    assert verdicts["acknowledged writes/s, 64 clients"] == ("4,000", "met")
    assert verdicts["their p99, ms"] == ("26.0", "**missed**")
    assert verdicts["idle server, % of a core"] == ("not measured", "")
    assert (met, missed) == (1, ["their p99, ms"])


def test_a_peer_is_compared_by_its_best_row() -> None:
    values = {"writes oned 64": 4000.0, "writes dqlite 1": 8000.0, "writes dqlite 64": 100.0}
    table, _, missed = targets.judge(values)
    assert "times the best row of dqlite" in missed
    assert ("times the best row of dqlite", "≥ 1.00", "0.50", "**missed**") in table.rows


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between_marks(page, "| new |")
    write_between_marks(page, "| newer |")
    assert page.read_text() == f"before\n{BEGIN}\n| newer |\n{END}\nafter\n"
    assert PAGE.read_text().count(BEGIN) == PAGE.read_text().count(END) == 1


def test_an_http_answer_in_pieces_is_one_answer() -> None:
    calls = HttpCalls(b"", b"yes")
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<yes>"
    assert [calls.feed(answer[n : n + 1]) for n in range(len(answer) - 1)] == [None] * (
        len(answer) - 1
    )
    assert calls.feed(answer[-1:]) == (True, "")
    assert calls.feed(answer.replace(b"yes", b"not")) == (False, "<not>")
    with pytest.raises(ValueError, match="more than was asked for"):
        calls.feed(answer + answer)


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_writes_reads_and_apply_of_a_zone_are_measured(tmp_path: Path) -> None:
    results = run([Oned()], TINY, {"writes", "reads", "apply"}, tmp_path)
    for name in ("writes oned 1", "writes oned 64", "writes p99 oned 64", "reads oned", "apply 64"):
        assert results.values[name] > 0, name
    assert [len(table.rows) for table in results.tables] == [1, 1, 1, 2, 3]
    writes = dict(zip(results.tables[2].columns, results.tables[2].rows[0], strict=True))
    assert writes["refused"] == "0"
    assert float(writes["CPU s per 1,000: leader"]) > 0


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_the_generator_stops_at_a_number_and_a_refusal_is_no_write(tmp_path: Path) -> None:
    zone = Oned()
    try:
        zone.start(tmp_path)
        leader = zone.leader()
        before = zone.status(leader)
        outcome = Generator(zone.writes(leader, 4), seconds=30.0, most=100).outcome()
        after = zone.status(leader)
        assert before is not None
        assert after is not None
        assert outcome.failed == 0
        assert 100 <= outcome.total <= 103
        assert after["applied"] - before["applied"] == outcome.total
        load = zone.writes(leader, 4)
        stranger = dataclasses.replace(
            load, calls=tuple(call.replace(b"oneadmin:", b"nobody!!:") for call in load.calls)
        )
        with pytest.raises(BenchmarkError, match="be authenticated"):
            Generator(stranger, seconds=0.2).outcome()
    finally:
        zone.stop()
