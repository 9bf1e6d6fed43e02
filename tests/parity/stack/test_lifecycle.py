"""`parity up` of processes, where a stack of the checkout runs already: nothing of an earlier time goes on serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parity.checks.repository import CONTRACT, FLY, PARITY
from tests.parity.stack.test_supervisor import SERVER, part, quiet

from parity.config.project import Project
from parity.stack import lifecycle
from parity.stack.errors import AdminRefused, StackError
from parity.stack.processes import ProcessId
from parity.stack.state import read_state
from parity.stack.supervisor import Say, stop

GPU = '[gpu]\napp = "jobs"\nentry = "gpu.py"\n'


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the admin API of the running stack was asked to do."""
    found: list[str] = []

    def ask(_url: str, method: str, path: str, _body: object = None) -> Any:
        found.append(f"{method} {path}")
        return {"on": False}

    monkeypatch.setattr(lifecycle, "ask", ask)
    monkeypatch.setattr("parity.stack.dev.ask", ask)
    return found


@pytest.fixture
def folder(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository whose stack is one small server, stopped at the end."""
    (tmp_path / "fly.toml").write_text(FLY)
    (tmp_path / "parity.toml").write_text(PARITY + GPU)
    (tmp_path / "gpu.py").touch()
    (tmp_path / "contract.py").write_text(CONTRACT)
    monkeypatch.setattr(lifecycle, "plan", lambda *_: (part("a", tmp_path, SERVER, free_port),))
    yield tmp_path
    stop(tmp_path / ".parity")


def up(folder: Path, say: Say = quiet) -> ProcessId:
    """The process of the stack's one part, once it runs."""
    environ = {"PARITY_ROOT": str(folder), "PARITY_STATE_DIR": str(folder / ".parity"), "PARITY_DRIVER": "process"}
    project = Project.load(environ)
    lifecycle.up(project, environ, 120, say)
    state = read_state(folder / ".parity")
    assert state is not None
    (only,) = state.alive
    return only.process


def test_up_again_starts_machines_and_functions_with_the_new_sources(folder: Path, asked: list[str]) -> None:
    first = up(folder)
    assert not asked
    assert up(folder) == first
    assert [one for one in asked if not one.startswith("GET")] == ["POST /fly/releases", "POST /modal/deploy"]


@pytest.mark.parametrize("file", ["fly.toml", "parity.toml"])
def test_up_again_with_another_configuration_starts_all_parts_again(folder: Path, asked: list[str], file: str) -> None:
    first = up(folder)
    with (folder / file).open("a") as text:
        text.write("# changed\n")
    assert up(folder) != first
    assert not asked


def test_sources_that_do_not_start_are_told_with_the_end_of_their_log(
    folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    up(folder)
    assert not asked

    def refuses(_url: str, _method: str, path: str, _body: object = None) -> Any:
        if path == "/fly/releases":
            raise AdminRefused("the release is not healthy")
        return {"on": False}

    said: list[str] = []
    monkeypatch.setattr(lifecycle, "ask", refuses)
    monkeypatch.setattr(lifecycle, "unwell_machines", lambda _: ["NameError: x"])
    with pytest.raises(StackError, match="not healthy"):
        up(folder, said.append)
    assert said[-1] == "NameError: x"
