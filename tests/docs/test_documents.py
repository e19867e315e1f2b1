"""Documents do not rot: links lead somewhere, and every command in them exists with its options."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
pages = importlib.import_module("pages")

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(
    r"(<!-- runs -->\n)?^```(sh|console|yaml|python)\n(.*?)^```", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
VERBS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
ELSEWHERE = {"kubectl", "helm", "export", "eval", "kill", "docker", "cmctl"}
"""Programs of others: the end-to-end tests use them, this test does not know their options."""


def ident(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(path: Path) -> list[str]:
    """Every command line of a page."""
    lines: list[str] = []
    for _, language, text in BLOCK.findall(path.read_text()):
        if language == "sh":
            lines += text.splitlines()
        elif language == "console":
            lines += [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    return [line.split(" #")[0].strip() for line in lines if line.strip()]


def words_of(line: str) -> list[str]:
    """The words of a simple command, without assignments in front and pipes behind."""
    words = shlex.split(line.split(" | ", maxsplit=1)[0].split(" > ", maxsplit=1)[0])
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words


def check_click(command: click.Command, words: list[str], line: str) -> None:
    """Walk down to the command that is meant and see that it has the options."""
    context = pages.make_context(command, "", None)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no such command: {line}"
        command, context = found, pages.make_context(found, words.pop(0), context)
    known = {name for param in command.get_params(context) for name in param.opts}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known, f"no such option {word}: {line}"


@pytest.mark.parametrize("path", PAGES, ids=ident)
def test_links_lead_somewhere(path: Path):
    for target, _ in LINK.findall(path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{ident(path)}: {target}"


def test_every_page_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target, _ in LINK.findall(index.read_text())}
    pages_of = {path for path in PAGES if ROOT / "docs" in path.parents and path != index}
    runbooks = {path for path in pages_of if path.parent.name == "runbooks"}
    assert pages_of - runbooks <= linked


@pytest.mark.parametrize("path", PAGES, ids=ident)
def test_tests_that_are_named_exist(path: Path):
    named = re.findall(r"`((?:tests|oned|operator|proof)/[\w/]+\.py)`", path.read_text())
    assert [each for each in named if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=ident)
def test_commands_exist(path: Path):
    for line in commands(path):
        words = words_of(line)
        if not words:
            continue
        program = words.pop(0).removeprefix(".venv/bin/")
        if program == "kubectl" and words[:1] == ["onezone"]:
            program = f"kubectl-{words.pop(0)}"  # as kubectl finds its plugins
        if program == "make":
            verbs = {word for word in words if "=" not in word and not word.startswith("-")}
            assert verbs <= VERBS, f"no such verb: {line}"
        elif program in pages.PROGRAMS:
            check_click(pages.program(program), words, line)
        elif program == "python":
            assert (ROOT / words[0]).exists(), line
        else:
            assert program in ELSEWHERE, f"unknown program: {line}"


@pytest.mark.parametrize("path", PAGES, ids=ident)
def test_yaml_and_python_parse(path: Path):
    for _, language, text in BLOCK.findall(path.read_text()):
        if language == "yaml":
            assert yaml.safe_load(text)
        elif language == "python":
            compile(text, str(path), "exec")


def test_reference_is_up_to_date():
    # In a process of its own: help text shows what the program says, not what a test has left.
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_label_and_annotation_is_explained():
    rows = [line for line in pages.build_labels().splitlines() if line.startswith("| `onezone.dev")]
    assert len(rows) > 1
    assert [row for row in rows if row.endswith("|  |")] == []


def test_notes_of_the_chart_declare_a_zone_that_is_valid():
    notes = (ROOT / "charts/onezone-operator/templates/NOTES.txt").read_text()
    manifest = yaml.safe_load(notes.partition("<<END\n")[2].partition("  END")[0])
    assert manifest["kind"] == "OneZone"


@pytest.mark.integration
@pytest.mark.timeout(180)
def test_quick_start_of_the_readme(tmp_path: Path):
    """The block that says that it runs is run, as it stands, in an empty directory."""
    (block,) = (text for runs, _, text in BLOCK.findall((ROOT / "README.md").read_text()) if runs)
    script = "\n".join(line for line in block.splitlines() if line != "make deps")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path, text=True, capture_output=True, timeout=150, check=False,
            env=os.environ | {"HOME": str(tmp_path)},
        )  # fmt: skip
    finally:
        oned = tmp_path / ".venv/bin/oned"
        subprocess.run([oned, "zone", "down", "--dir", tmp_path / "zone"], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "alice" in done.stdout
    assert "leader" in done.stdout
