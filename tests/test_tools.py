"""How programs of others are provided: once, whole, and with the reason where they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import tools
from tests.tools import Failed, Tool, Unavailable, main


class Recorder:
    """Builds a program, or fails while ``problem`` says why."""

    def __init__(self, problem: str = "") -> None:
        self.problem, self.built = problem, 0

    def __call__(self, folder: Path, recipe: tuple[str, ...]) -> None:
        self.built += 1
        (folder / "program").write_text("half")
        if self.problem:
            raise Failed(self.problem)
        (folder / "program").write_text(" ".join(recipe))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_program_is_built_once_for_a_recipe() -> None:
    build = Recorder()
    first = [Tool("t", "program", ("1",), build).provide() for _ in range(3)]
    other = Tool("t", "program", ("2",), build).provide()
    assert (build.built, len(set(first)), first[0].read_text(), other.read_text()) == (2, 1, "1", "2")


def test_one_that_cannot_be_had_tells_why_until_it_can() -> None:
    build = Recorder("the registry does not answer")
    tool = Tool("t", "program", ("1",), build)
    with pytest.raises(Unavailable, match=r"nothing was tried; `python -m tests\.tools` provides it"):
        tool.find()
    with pytest.raises(Unavailable, match="the registry does not answer"):
        tool.provide()
    with pytest.raises(Unavailable, match="the registry does not answer"):
        tool.find()
    build.problem = ""
    assert tool.provide() == tool.find()


def test_one_that_needs_another_tells_why_that_cannot_be_had() -> None:
    needed = Tool("needed", "program", (), Recorder("the registry does not answer"))

    def build(_folder: Path, _recipe: tuple[str, ...]) -> None:
        needed.provide()

    tool = Tool("t", "program", (), build)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"no t: no needed: the registry does not answer"):
            tool.provide()


def test_what_an_interrupted_build_left_is_not_taken() -> None:
    tool = Tool("t", "program", ("1",), Recorder())
    tool.folder.mkdir(parents=True)
    (tool.folder / "program").write_text("half")
    with pytest.raises(Unavailable):
        tool.find()
    assert tool.provide().read_text() == "1"


def test_one_on_path_will_do_where_any_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "bin" / "t"
    there.parent.mkdir()
    there.touch(0o755)
    monkeypatch.setenv("PATH", str(there.parent))
    build = Recorder()
    assert Tool("t", "program", ("1",), build, on_path=True).provide() == there
    assert Tool("t", "program", ("1",), build).provide() != there
    assert build.built == 1


def test_what_is_missing_is_told_by_name_and_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (Tool("there", "program", (), Recorder()), Tool("gone", "program", (), Recorder("offline\nat\tall")))
    monkeypatch.setattr(tools, "TOOLS", {tool.name: tool for tool in found})
    assert main([str(tmp_path / "missing.tsv")]) == 0
    name, reason = (tmp_path / "missing.tsv").read_text().removesuffix("\n").split("\t")
    assert (name, "offline at all" in reason) == ("gone", True)


def test_a_command_that_is_not_there_or_fails_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="trying failed: no-such-program cannot be run"):
        tools._run("trying", ["no-such-program"])
    with pytest.raises(Failed, match=r"trying failed: .*No such file"):
        tools._run("trying", ["ls", tmp_path / "none"])
