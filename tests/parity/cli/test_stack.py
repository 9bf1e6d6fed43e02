"""``parity up``, ``down`` and the commands that look: which stack they take, and whose."""

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.ports import free_ports

from parity.cli import stack
from parity.cli.main import main
from parity.config.settings import PUBLISHED
from parity.stack import lifecycle
from parity.stack.containers import Containers

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``up`` reads of a checkout; a process stack only writes down that it was called."""
    shutil.copy(ROOT / "parity.toml", tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "bin").mkdir()
    for name in [name for name in os.environ if name.startswith("PARITY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PARITY_ROOT", str(tmp_path))
    for name, port in zip(PUBLISHED, free_ports(len(PUBLISHED)), strict=True):
        monkeypatch.setenv(name, str(port))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def processes(*_: object) -> bool:
        (tmp_path / "processes").touch()
        return True

    monkeypatch.setattr(lifecycle, "up", processes)
    return tmp_path


def executable(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def engine(checkout: Path, *, answers: bool) -> None:
    if answers:
        containers(checkout)
    else:
        executable(checkout / "bin/docker", "echo no engine at the socket >&2; exit 1")


def containers(checkout: Path, *folders: Path, up_code: int = 0, volumes: Sequence[str] = ()) -> None:
    """An engine with one container of each folder; each Compose command that changes something is written down."""
    listed = "".join(f"printf 'r2\\t%s\\n' '{folder}'; " for folder in folders)
    executable(
        checkout / "bin/docker",
        f"""case "$*" in
*version*) echo 28.0 ;;
*Ports*) : ;;
*working_dir*) {listed}: ;;
*"config --profiles") echo checks; echo dev ;;
*" ps "* | "ps "* | *" logs "*) : ;;
"volume ls "*) {"".join(f"echo {name}; " for name in volumes)}: ;;
*) echo "$PARITY_API_PORT $@" >> {checkout}/commands; case "$*" in *" up "*) exit {up_code} ;; esac ;;
esac""",
    )


def commands(checkout: Path) -> str:
    path = checkout / "commands"
    return path.read_text() if path.exists() else ""


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def up(*options: str) -> int:
    return ended("up", *options)


def taken(checkout: Path) -> set[str]:
    ways = {"processes"} if (checkout / "processes").exists() else set()
    return ways | ({"containers"} if " up --build --wait" in commands(checkout) else set())


def test_where_an_engine_answers_containers_are_started(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(checkout, answers=True)
    (offset,) = free_ports(1)
    monkeypatch.setenv("PARITY_PORT_OFFSET", str(offset - 8443))
    monkeypatch.delenv("PARITY_API_PORT")
    assert up() == 0
    assert taken(checkout) == {"containers"}
    # Compose gets the port that it cannot compute.
    assert commands(checkout).startswith(f"{offset} compose --project-directory")
    assert "--wait-timeout 900" in commands(checkout)
    assert (checkout / ".parity/trust").is_dir()


def test_the_time_that_was_given_is_passed_on(checkout: Path) -> None:
    engine(checkout, answers=True)
    assert up("--driver", "docker", "--timeout", "12.5") == 0
    assert "--wait-timeout 13" in commands(checkout)


def test_where_no_engine_answers_processes_are_started_and_the_reason_is_told(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine(checkout, answers=False)
    assert up() == 0
    assert taken(checkout) == {"processes"}
    assert "no engine at the socket" in capsys.readouterr().out


def test_processes_are_started_beside_an_engine_where_they_are_asked_for(checkout: Path) -> None:
    engine(checkout, answers=True)
    assert up("--driver", "process") == 0
    assert taken(checkout) == {"processes"}


def test_containers_that_were_asked_for_are_not_replaced_by_processes(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine(checkout, answers=False)
    assert up("--driver", "docker") == 1
    assert taken(checkout) == set()
    assert "no engine at the socket" in capsys.readouterr().err


def test_up_again_finds_the_processes_that_run_although_an_engine_answers(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(checkout, answers=True)
    monkeypatch.setattr(stack, "running_process_stack", lambda _: True)
    assert up() == 0
    assert taken(checkout) == {"processes"}


def test_containers_are_not_started_beside_processes_of_the_same_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine(checkout, answers=True)
    monkeypatch.setattr(stack, "running_process_stack", lambda _: True)
    assert up("--driver", "docker") == 1
    assert taken(checkout) == set()
    assert "parity down" in capsys.readouterr().err


def test_checks_are_built_and_run_with_the_same_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker compose run` builds the app's image again: without the commit it would become an unknown one."""
    containers(checkout, checkout)
    script = (checkout / "bin/docker").read_text().replace("$PARITY_API_PORT", "$GIT_COMMIT")
    (checkout / "bin/docker").write_text(script)
    monkeypatch.setenv("GIT_COMMIT", "c0ffee")
    assert ended("run-checks", "-k", "cors") == 0
    build, run = [line for line in commands(checkout).splitlines() if "--profile checks" in line]
    assert build.startswith("c0ffee ")
    assert run.startswith("c0ffee ")
    assert run.endswith("run --rm -T checks check -k cors")


def test_containers_that_do_not_get_healthy_are_taken_down_again(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    containers(checkout, up_code=1)
    assert up() == 1
    assert " down --remove-orphans --timeout=10" in commands(checkout)
    shown = capsys.readouterr()
    assert "taken down again" in shown.out
    assert "did not become healthy" in shown.err


def test_a_stack_that_ran_before_is_left_when_it_does_not_get_healthy(checkout: Path) -> None:
    containers(checkout, checkout, up_code=1)
    assert up() == 1
    assert " down " not in commands(checkout)


def test_an_interrupted_up_says_so_and_leaves_nothing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    containers(checkout)

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Containers, "start", interrupted)
    assert up() == 130
    assert " down --remove-orphans" in commands(checkout)
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["PARITY_API_PORT", "PARITY_MODAL_BLOB_PORT"])
def test_a_taken_port_starts_nothing_and_names_its_holder(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    engine(checkout, answers=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv(port, str(server.getsockname()[1]))
        assert up() == 1
    assert commands(checkout) == ""
    error = capsys.readouterr().err
    assert f"({port}) is taken by pid {os.getpid()}" in error
    assert "PARITY_PORT_OFFSET=100" in error


def test_down_stops_the_containers_that_were_started_from_this_folder(checkout: Path) -> None:
    containers(checkout, checkout)
    assert ended("down", "--volumes") == 0
    # The engine of this test still shows one afterwards, as when a Machine was started meanwhile: it is stopped too.
    assert commands(checkout).count("down --remove-orphans --volumes") == 2


@pytest.mark.parametrize("arguments", [("down",), ("down", "--volumes")])
def test_down_leaves_the_containers_of_another_checkout_and_names_it(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    containers(checkout, tmp_path / "other")
    assert ended(*arguments) == 0
    assert commands(checkout) == ""
    assert str(tmp_path / "other") in capsys.readouterr().out


def test_down_after_a_process_stack_ends_processes_only(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    containers(checkout, checkout)
    monkeypatch.setattr(lifecycle, "down", lambda _: ("r2", "fly"))
    assert ended("down") == 0
    assert commands(checkout) == ""


def test_down_without_an_engine_fails_as_containers_may_still_be_running(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine(checkout, answers=False)
    assert ended("down") == 1
    assert "may still be running" in capsys.readouterr().err


def test_down_where_processes_were_chosen_needs_no_engine(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(checkout, answers=False)
    monkeypatch.setenv("PARITY_DRIVER", "process")
    assert ended("down") == 0
    assert "nothing was running" in capsys.readouterr().out


def test_volumes_that_may_be_another_checkouts_are_not_removed(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    containers(checkout, volumes=["app_r2", "app_ca"])
    assert ended("down") == 0
    assert ended("down", "--volumes") == 1
    assert commands(checkout) == ""
    assert "docker volume rm app_r2 app_ca" in capsys.readouterr().err


@pytest.mark.parametrize("driver", ["process", "docker", ""])
def test_down_of_a_stack_that_left_nothing_is_no_error(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    containers(checkout)
    monkeypatch.setenv("PARITY_DRIVER", driver) if driver else monkeypatch.delenv("PARITY_DRIVER", raising=False)
    assert ended("down", "--volumes") == 0
    assert "nothing was running" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["up", "status", "urls", "logs", "env", "check", "run-checks"])
def test_what_another_checkout_started_is_neither_adopted_nor_shown(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    containers(checkout, tmp_path / "other")
    assert ended(verb) == 1
    assert commands(checkout) == ""
    assert taken(checkout) == set()
    error = capsys.readouterr().err
    assert str(tmp_path / "other") in error
    assert "COMPOSE_PROJECT_NAME=" in error
