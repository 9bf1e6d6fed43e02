"""``parity shell`` and ``parity db`` in a Machine that is a process."""

import sqlite3
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from parity.cli import inside
from parity.cli.inside import InProcess, db, shell
from parity.config.errors import ConfigError
from parity.config.parity_toml import ParityConfig
from parity.config.project import Project
from parity.stack.errors import StackError

ROOT = Path(__file__).parents[3]
DUMP = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[2]); "
    "db.execute('CREATE TABLE t (name TEXT)'); db.execute('INSERT INTO t VALUES (?)', (sys.argv[1],)); db.commit()"
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """A Machine with a folder and an environment; `sqlite3` only writes down what it was asked."""
    folder = tmp_path / "machine"
    folder.mkdir()
    made = InProcess(folder, {"PATH": "/usr/bin:/bin", "APP_ENV": "staging"}, sys.executable)
    monkeypatch.setattr(inside, "_inside", lambda _: made)
    program = tmp_path / "bin/sqlite3"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$1 $3" > {tmp_path}/asked; cp "$2" {tmp_path}/opened; test ! -w "$2" || id -u\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return made


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.load({"PARITY_ROOT": str(ROOT), "PARITY_STATE_DIR": str(tmp_path / "state")})
    table = {"database": ["{python}", "-c", DUMP, "{tenant}", "{file}"]}
    changed = Project(project.settings, ParityConfig.model_validate({"dev": table}), project.fly, {}, {})
    monkeypatch.setattr(inside, "local_project", lambda _: (changed, "process"))


@pytest.mark.usefixtures("machine", "declared")
def test_a_copy_of_the_database_that_the_arguments_name_is_opened_read_only_and_then_forgotten(tmp_path: Path) -> None:
    ended = CliRunner().invoke(db, ["ada", "SELECT 1"], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "asked").read_text() == "-readonly SELECT 1\n"
    assert sqlite3.connect(tmp_path / "opened").execute("SELECT name FROM t").fetchall() == [("ada",)]
    assert list((tmp_path / "state/db").iterdir()) == []


@pytest.mark.usefixtures("machine", "declared")
def test_a_copy_can_be_kept_and_replaces_nothing(tmp_path: Path) -> None:
    target = tmp_path / "mine.sqlite"
    assert CliRunner().invoke(db, ["-o", str(target), "ada"]).exit_code == 0
    assert sqlite3.connect(target).execute("SELECT name FROM t").fetchall() == [("ada",)]
    assert CliRunner().invoke(db, ["-o", str(target), "bob"]).exit_code == 2


@pytest.mark.usefixtures("machine", "declared")
def test_what_names_a_database_is_said_when_it_is_missing() -> None:
    ended = CliRunner().invoke(db, [])
    assert ended.exit_code == 2
    assert "named by: TENANT" in ended.output


def test_without_a_declared_command_it_is_said_what_to_declare(monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.load({"PARITY_ROOT": str(ROOT)})
    bare = Project(project.settings, ParityConfig(), project.fly, {}, {})
    monkeypatch.setattr(inside, "local_project", lambda _: (bare, "process"))
    with pytest.raises(ConfigError, match=r"dev\.database"):
        CliRunner().invoke(db, ["ada"], catch_exceptions=False)


def test_a_command_that_fails_shows_its_own_words(machine: InProcess, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="there is no such tenant"):
        machine.fetched(["sh", "-c", "echo there is no such tenant >&2; exit 3"], tmp_path / "copy")


def test_a_shell_has_the_machines_environment_and_folder(machine: InProcess, tmp_path: Path) -> None:
    ended = CliRunner().invoke(shell, ["--", "sh", "-c", f"pwd > {tmp_path}/where; echo $APP_ENV >> {tmp_path}/where"])
    assert ended.exit_code == 0
    assert (tmp_path / "where").read_text().split() == [str(machine.folder), "staging"]
