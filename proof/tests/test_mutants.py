"""The mutants apply to the source as it is, run in place of it, and a few of them are found."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from proof.mutants import runner
from proof.mutants.catalogue import MUTANTS, named
from proof.mutants.mutant import Edit, Mutant, StaleMutant, mutated, mutated_sources, source_path
from proof.mutants.runner import Report, Trial
from proof.mutants.trial import CONTROL

ROOT = Path(__file__).parents[2]
MUTANTS_MIN = 50
DEFECTS = {f"N{number}" for number in range(1, 18)}

QUICK = (
    "several-votes-a-term",
    "acknowledged-before-it-is-durable",
    "success-on-append",
    "batch-applied-backwards",
)
QUICK_SEEDS = 30
"""Within so many these are found; the table tells after how many exactly."""


def code_of(text: str) -> str:
    """A source without its comments and layout."""
    return ast.dump(ast.parse(text))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_edit_applies_once_and_changes_the_code(mutant: Mutant) -> None:
    assert mutant.edits
    for module, text in mutated_sources(mutant).items():
        compile(text, module, "exec")
        assert code_of(text) != code_of(source_path(module).read_text(encoding="utf-8"))


def test_there_are_enough_mutants_and_all_have_a_name_of_their_own() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) >= MUTANTS_MIN
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)
    assert CONTROL not in names


def test_no_two_mutants_are_the_same_fault() -> None:
    sources = [tuple(sorted(mutated_sources(mutant).items())) for mutant in MUTANTS]
    assert len(set(sources)) == len(sources)


def test_every_defect_of_opennebulas_raft_is_among_them() -> None:
    assert {mutant.defect for mutant in MUTANTS} - {""} == DEFECTS


def test_every_mutant_says_which_promise_it_breaks() -> None:
    for mutant in MUTANTS:
        assert re.fullmatch(r"[A-Z].{20,}\.", mutant.breaks), mutant.name
        assert "|" not in mutant.breaks


@pytest.mark.parametrize("text", ["nothing", "one two one"])
def test_an_edit_that_does_not_apply_once_is_stale(text: str) -> None:
    with pytest.raises(StaleMutant, match="not once"):
        mutated(text, [Edit("a.module", "one", "three")])


def in_a_new_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_process_with_the_hook_runs_the_mutated_source() -> None:
    code = "from oned.raft import quorum; print(quorum.majority(4), quorum.majority(5))"
    hook = (
        "from proof.mutants import catalogue, hook;"
        " hook.install(catalogue.named('half-is-a-majority'));"
    )
    assert in_a_new_process(code) == "3 3"
    assert in_a_new_process(hook + code) == "2 3"
    assert in_a_new_process(code) == "3 3", "the mutant was left behind in a cache"


def test_the_hook_refuses_a_module_that_is_loaded_already() -> None:
    code = (
        "from oned.raft import quorum\n"
        "from proof.mutants import catalogue, hook\n"
        "try: hook.install(catalogue.named('half-is-a-majority'))\n"
        "except RuntimeError as error: print(error)"
    )
    assert in_a_new_process(code) == "loaded before the mutant: oned.raft.quorum"


def test_the_trial_loads_nothing_of_the_servers_before_the_mutant() -> None:
    code = (
        "import sys; from proof.mutants import trial;"
        " print([m for m in sys.modules if m.split('.')[0] == 'oned'])"
    )
    assert in_a_new_process(code) == "[]"


def report(*trials: Trial, control: Trial | None = None) -> Report:
    return Report(trials, (control or Trial(CONTROL, 10, "", "", 1.0),), 3.0)


def test_a_run_passes_when_all_are_found_and_the_shipped_source_breaks_no_rule() -> None:
    found = Trial("one", 3, "log matching", "…", 1.0)
    passed = report(found, Trial("two", 12, "hang", "…", 1.0))
    assert passed.passed
    assert passed.line() == (
        "mutants: 2 of 2 killed, hardest two after 12 seeds, 15 seeds in all;"
        " control: 10 seeds, 0 violations; 3 s: pass"
    )


def test_a_run_fails_when_one_survives() -> None:
    failed = report(Trial("one", 3, "x", "…", 1.0), Trial("two", 300, "", "", 1.0))
    assert not failed.passed
    assert "1 of 2 killed" in failed.line()
    assert failed.line().endswith("FAIL")


def test_a_run_fails_when_the_shipped_source_breaks_a_rule() -> None:
    control = Trial(CONTROL, 4, "log matching", "…", 1.0)
    failed = report(Trial("one", 3, "x", "…", 1.0), control=control)
    assert not failed.passed
    assert "control: 4 seeds, 1 violations" in failed.line()


async def test_a_process_that_dies_is_told_with_its_last_words() -> None:
    trial = await runner.attempt("no-such-mutant", 0, 3)
    assert (trial.rule, trial.seeds) == ("crash", 1)
    assert "KeyError" in trial.text


async def test_a_seed_that_does_not_end_is_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SEED_SECONDS", 0.01)
    trial = await runner.attempt(CONTROL, 0, 3)
    assert (trial.rule, trial.seeds) == ("hang", 1)


@pytest.mark.integration
@pytest.mark.timeout(600)
async def test_quick_mutants_are_found_and_the_shipped_source_breaks_no_rule() -> None:
    told: list[str] = []
    mutants = [named(name) for name in QUICK]
    done = await runner.run(mutants, seeds=QUICK_SEEDS, jobs=2, say=told.append)
    assert done.passed, "\n".join(told)
    assert done.control_seeds >= runner.FIRST_CONTROL_SEEDS
