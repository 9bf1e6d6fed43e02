from pathlib import Path

from parity.stack import compose
from parity.stack.status import compose_status

ROOT = Path("/c")
BASE = ["docker", "compose", "--project-directory", "/c", "-f", "/c/compose.yaml"]


def test_up_is_the_script_that_needs_nothing_but_docker() -> None:
    assert compose.up(ROOT, 900) == ["/c/scripts/up", "--timeout", "900"]


def test_down_reaches_services_of_every_profile() -> None:
    assert compose.down(ROOT) == [*BASE, "--profile", "*", "down", "--remove-orphans"]


def test_a_dead_engine_is_named_with_its_host() -> None:
    problem = compose.engine_problem({"DOCKER_HOST": "tcp://127.0.0.1:1", "PATH": "/usr/bin:/bin:/opt/engine/usr/bin"})
    assert problem


def test_no_docker_command_is_said_so() -> None:
    assert compose.engine_problem({"PATH": "/nowhere"}) == "there is no docker command"


def test_containers_are_read_line_by_line_and_as_one_array() -> None:
    lines = '{"Service":"r2","State":"running","Health":"healthy","Status":"Up"}\n{"Service":"fly","State":"exited"}\n'
    found = [(part.name, part.state) for part in compose_status(lines)]
    assert found == [("fly", "ended"), ("r2", "healthy")]
    assert [part.name for part in compose_status('[{"Service":"r2","State":"running"}]')] == ["r2"]
