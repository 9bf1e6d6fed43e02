"""A second ``make up`` says that all is well when it is: not while new Machines take the place of those that ran."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.infra.conftest import Run

AWAIT = "set -euo pipefail; . scripts/lib.sh; await_machines {seconds}"


def machine(state: str, *, healthy: bool) -> dict[str, object]:
    """As the admin API has it, as far as it is read."""
    checks = [{"name": "check-1", "status": "passing" if healthy else "waiting", "output": '"state":"odd"'}]
    events = [{"time": 1.0, "type": "starting"}]
    return {"id": "1", "state": state, "port": "open", "healthy": healthy, "checks": checks, "events": events}


GOOD, YOUNG = machine("started", healthy=True), machine("started", healthy=False)
ASLEEP, STARTING = machine("stopped", healthy=False), machine("starting", healthy=False)


class Admin(http.server.ThreadingHTTPServer):
    """Tells one list after the other, the last one for ever."""

    def __init__(self, lists: list[list[dict[str, object]]]) -> None:
        self.lists = lists
        self.asked = 0
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(http.server.BaseHTTPRequestHandler):
    server: Admin

    def do_GET(self) -> None:
        machines = self.server.lists[min(self.server.asked, len(self.server.lists) - 1)]
        self.server.asked += 1
        body = json.dumps(machines, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def admins() -> Iterator[list[Admin]]:
    made: list[Admin] = []
    yield made
    for admin in made:
        admin.shutdown()
        admin.server_close()


def serve(admins: list[Admin], *lists: list[dict[str, object]]) -> Admin:
    admin = Admin(list(lists))
    admins.append(admin)
    threading.Thread(target=admin.serve_forever, daemon=True).start()
    return admin


def engine_with(folder: Path, containers: int) -> dict[str, str]:
    """A docker command that shows so many Machines running."""
    docker = folder / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$*" = "compose ps -q --status running api" ] && seq {containers}\n')
    docker.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_up_waits_until_each_machine_passes_its_checks(run: Run, tmp_path: Path, admins: list[Admin]) -> None:
    admin = serve(admins, [STARTING], [YOUNG], [GOOD])
    env = {**engine_with(tmp_path, 1), "PARITY_ADMIN_PORT": str(admin.server_port)}
    assert run("bash", "-c", AWAIT.format(seconds=30), env=env).returncode == 0
    assert admin.asked == 3


def test_a_machine_that_sleeps_is_not_waited_for(run: Run, tmp_path: Path, admins: list[Admin]) -> None:
    admin = serve(admins, [ASLEEP, GOOD])
    env = {**engine_with(tmp_path, 1), "PARITY_ADMIN_PORT": str(admin.server_port)}
    assert run("bash", "-c", AWAIT.format(seconds=30), env=env).returncode == 0


@pytest.mark.parametrize(
    ("machines", "containers"),
    [
        ([GOOD, YOUNG], 2),  # one of two is not there yet
        ([GOOD], 0),  # its container is gone and the stand-in has not noticed
        ([ASLEEP], 0),  # it ended and is about to be started again
        ([], 0),
    ],
)
def test_what_is_on_its_way_is_not_taken_for_there(
    run: Run, tmp_path: Path, admins: list[Admin], machines: list[dict[str, object]], containers: int
) -> None:
    admin = serve(admins, machines)
    env = {**engine_with(tmp_path, containers), "PARITY_ADMIN_PORT": str(admin.server_port)}
    assert run("bash", "-c", AWAIT.format(seconds=1), env=env).returncode == 1


def test_an_admin_api_that_does_not_answer_is_not_taken_for_well(run: Run, tmp_path: Path) -> None:
    env = {**engine_with(tmp_path, 1), "PARITY_ADMIN_PORT": "1"}
    assert run("bash", "-c", AWAIT.format(seconds=1), env=env).returncode == 1


def test_a_second_up_says_that_all_is_well_when_the_new_machine_passes(
    run: Run, tmp_path: Path, admins: list[Admin]
) -> None:
    admin = serve(admins, [STARTING], [GOOD])
    for name, script in {
        "docker": 'case "$*" in "compose ps -q"*) echo x ;; esac',
        "getent": "",  # the machine's own resolver is left as it is
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "PARITY_STATE_DIR": str(tmp_path / "state"),
        "PARITY_ADMIN_PORT": str(admin.server_port),
    }
    result = run("scripts/up", env=env)
    assert result.returncode == 0, result.stderr
    assert "Everything is healthy." in result.stdout
    assert admin.asked == 2


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_the_table_of_what_runs_has_a_name_over_each_column(run: Run, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    real = shutil.which("docker")
    # A stack seems to be there; the table itself is the engine's, of a project without containers.
    docker.write_text(f'#!/bin/sh\n[ "$*" = "compose ps --all -q" ] && exec echo x\nexec {real} "$@"\n')
    docker.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{Path(str(real)).parent}:/usr/bin:/bin", "COMPOSE_PROJECT_NAME": "parity-infra-tests"}
    result = run("scripts/stack", "status", env=env)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["SERVICE", "NAME", "STATE", "STATUS"]
