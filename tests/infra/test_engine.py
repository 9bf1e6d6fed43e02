"""``.ci/engine`` where it has nothing to do or cannot do it. A bare machine is what CI itself tries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.infra.conftest import Run


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_an_engine_that_answers_is_used_as_it_is(run: Run, tmp_path: Path) -> None:
    own = {"PARITY_ENGINE_DIR": str(tmp_path / "engine"), "PARITY_ENGINE_RUN": str(tmp_path / "run")}
    result = run(".ci/engine", env={**own, "PARITY_ENGINE_DATA": str(tmp_path / "data")})
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "engine/usr").exists()
    assert not (tmp_path / "run/docker.pid").exists()


def test_where_nothing_was_set_up_later_shells_need_nothing(run: Run, tmp_path: Path) -> None:
    result = run(".ci/engine", "--env-file", env={"PARITY_ENGINE_DIR": str(tmp_path)})
    assert (result.returncode, result.stdout) == (0, "/dev/null\n")


def test_an_unknown_argument_is_refused(run: Run) -> None:
    result = run(".ci/engine", "--force")
    assert result.returncode == 1
    assert "usage: .ci/engine" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_than_root_is_told_what_to_do(run: Run, tmp_path: Path) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "PARITY_ENGINE_DIR": str(tmp_path / "engine")}
    result = run("setpriv", "--reuid", "65534", "--clear-groups", "bash", ".ci/engine", env=nowhere)
    assert result.returncode == 1
    assert "sudo .ci/engine" in result.stderr
    assert not (tmp_path / "engine").exists()
