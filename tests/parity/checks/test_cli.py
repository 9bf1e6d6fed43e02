"""The front door: what pytest is given, what a whole run leaves, how two targets are compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from tests.parity.checks.repository import Repository

from parity.checks import cli
from parity.checks.catalogue import Catalogue
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.report.findings import Finding, Findings, Verdict
from parity.report.ran import Ran, RanImage
from parity.stack.target import Target

GIVEN: list[list[str]] = []


def found(verdict: Verdict, target: str = "local") -> Findings:
    one = Finding("test_x", "B", "x", False, verdict, "why" if verdict is not Verdict.PASSED else "")
    proof = Finding("test_x", "B", "x", True, Verdict.CAUGHT)
    return Findings(target, "process", "https://x", 1.0, 2.0, 0, ["test_x"], [one, proof])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository whose pytest is played: it writes findings in which all passed, on each target."""
    made = Repository.at(tmp_path, "")
    monkeypatch.setenv("PARITY_ROOT", str(tmp_path))
    monkeypatch.setenv("PARITY_DRIVER", "process")
    monkeypatch.delenv("PARITY_STATE_DIR", raising=False)
    GIVEN.clear()

    def play(_project: Project, arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
        assert not plugins
        GIVEN.append(list(arguments))
        options = dict(word.split("=", 1) for word in arguments if "=" in word)
        target = options["--parity-target"]
        verdict = Verdict.FAILED if target == "staging" else Verdict.PASSED
        found(verdict, target).write(Path(options["--parity-results"]))
        return 0

    monkeypatch.setattr(cli, "run_pytest", play)
    monkeypatch.setattr(cli, "catalogue", lambda *_: Catalogue([SimpleNamespace(name="test_x")]))  # type: ignore[list-item]
    ran = Ran((RanImage("sha256:1", "c0ffee", False),), str(tmp_path))
    monkeypatch.setattr(cli, "images_that_ran", lambda *_: ran)
    return made


def run(command: Any, *arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_a_whole_local_run_leaves_page_and_receipt(repository: Repository) -> None:
    ended = run(cli.check)
    assert ended.exit_code == 0, ended.output
    receipt = json.loads((repository.folder / ".parity/receipts/latest.json").read_text())
    assert [(one["id"], one["outcome"], one["caught"]) for one in receipt["results"]] == [("test_x", "passed", True)]
    assert receipt["known"] == ["test_x"]
    assert "test_x" in (repository.folder / ".parity/checks.html").read_text()


def test_machines_that_ran_the_working_tree_leave_no_receipt(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Ran((RanImage("sha256:1", "c0ffee", False), RanImage("sha256:1", "c0ffee", False, dev=True)), "/src/mine")
    monkeypatch.setattr(cli, "images_that_ran", lambda *_: ran)
    ended = run(cli.check)
    assert ended.exit_code == 0
    assert "no receipt: Machines ran the working tree" in ended.output
    assert not (repository.folder / ".parity/receipts").exists()
    with pytest.raises(ConfigError, match="working tree"):
        run(cli.check, "--receipt", str(repository.folder / "mine.json"))


@pytest.mark.parametrize("arguments", [["--fast"], ["-k", "x"], ["checks/test_own.py"], ["--mutants", "m.py"]])
def test_a_part_of_the_checks_leaves_no_receipt(repository: Repository, arguments: list[str]) -> None:
    run(cli.check, *arguments)
    assert not (repository.folder / ".parity/receipts").exists()


def test_a_run_that_ends_before_any_check_leaves_the_page_of_no_other_run(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(cli.check)
    (repository.folder / ".parity/checks.html").unlink()
    monkeypatch.setattr(cli, "run_pytest", lambda *_: 4)
    assert run(cli.check).exit_code == 4
    assert not (repository.folder / ".parity/checks.html").exists()
    assert not (repository.folder / ".parity/checks/last.json").exists()


def test_what_is_pytests_goes_to_pytest(repository: Repository) -> None:
    run(cli.check, "--prove", "--junit", "j.xml", "-k", "cold and not slow", "--lf")
    assert GIVEN[0][-3:] == ["-k", "cold and not slow", "--lf"]
    assert {"--prove", "--junitxml=j.xml", "--parity-target=local"} <= set(GIVEN[0])


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        ([], cli.WORKERS),
        (["--fast"], cli.WORKERS),
        (["-n", "2"], 2),
        (["-n", "1"], 1),
        (["-k", "cold"], 1),  # workers would take longer to start
        (["-k", "cold", "-n", "3"], 3),
    ],
)
def test_a_whole_local_run_has_several_workers(repository: Repository, arguments: list[str], workers: int) -> None:
    run(cli.check, *arguments)
    given = next((int(word.removeprefix("-n")) for word in GIVEN[0] if word.startswith("-n")), 1)
    assert given == workers


def test_the_number_of_workers_makes_no_run_a_partial_one(repository: Repository) -> None:
    assert run(cli.check, "-n", "2").exit_code == 0
    assert (repository.folder / ".parity/receipts/latest.json").exists()


def test_a_target_that_is_not_named_is_refused(repository: Repository) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        run(cli.check, "--target", "nowhere")
    assert GIVEN == []


def test_compare_runs_what_is_safe_on_both_and_ends_with_1_where_they_differ(repository: Repository) -> None:
    differing = run(cli.compare, "local", "staging")
    assert differing.exit_code == 1
    assert "they differ" in differing.output
    assert all("--live-only" in arguments for arguments in GIVEN)
    assert run(cli.compare, "local", "local").exit_code == 0


def test_a_deployed_app_leaves_no_receipt(repository: Repository) -> None:
    live = Target("staging", "https://x", "", "", "", "", None, None, "live")
    with pytest.raises(ConfigError, match="leaves no receipt"):
        cli.leave_receipt(repository.folder / "r.json", Project.load(), live, found(Verdict.PASSED))


@pytest.mark.parametrize(
    ("word", "is_path"),
    [("checks/test_own.py", True), ("test_own.py::test_x", True), ("-k", False), ("cold", False), ("--x=a/b", False)],
)
def test_paths_are_told_from_other_words(word: str, *, is_path: bool) -> None:
    assert cli._is_path(word) is is_path
