"""`.vscode/` serves a checkout on the host: its ports, paths and commands are those of the harness."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parity.config.project import Project

ROOT = Path(__file__).parents[2]
FOLDER = "${workspaceFolder}"


def read(name: str) -> dict[str, Any]:
    """JSON with lines of comment, as the editor reads it."""
    text = (ROOT / ".vscode" / name).read_text("utf-8")
    found: dict[str, Any] = json.loads(
        "\n".join(line for line in text.splitlines() if not line.strip().startswith("//"))
    )
    return found


@pytest.fixture
def project() -> Project:
    return Project.load({"PARITY_ROOT": str(ROOT)})


@pytest.fixture
def attaching() -> dict[str, dict[str, Any]]:
    configurations = read("launch.json")["configurations"]
    return {one["name"]: one for one in configurations if one["request"] == "attach"}


def test_each_debugger_connects_to_the_port_of_its_setting(
    project: Project, attaching: dict[str, dict[str, Any]]
) -> None:
    settings = project.settings
    wanted = {"Machine": settings.debug_port, "GPU function": settings.gpu_debug_port}
    assert {name: one["connect"]["port"] for name, one in attaching.items()} == {
        f"{what} ({driver})": port for what, port in wanted.items() for driver in ("containers", "processes")
    }


def test_sources_are_mapped_to_where_a_container_has_them(
    project: Project, attaching: dict[str, dict[str, Any]]
) -> None:
    machine = {one["localRoot"]: one["remoteRoot"] for one in attaching["Machine (containers)"]["pathMappings"]}
    assert machine == {f"{FOLDER}/{source}": place for source, place in project.parity.dev.mounts.items()}
    compose = (ROOT / "src/parity/compose.yaml").read_text("utf-8")
    (function,) = attaching["GPU function (containers)"]["pathMappings"]
    assert function["localRoot"] == FOLDER
    assert f"target: {function['remoteRoot']}, read_only: true" in compose


def test_what_is_named_in_the_checkout_is_there() -> None:
    settings, launch = read("settings.json"), read("launch.json")
    named = [f"{FOLDER}/{path}" for path in settings["python.analysis.extraPaths"]]
    named += [mapping["localRoot"] for one in launch["configurations"] for mapping in one.get("pathMappings", ())]
    assert [path for path in named if not Path(path.replace(FOLDER, str(ROOT))).is_dir()] == []


def test_the_dev_container_has_the_same_settings_and_extensions_as_a_checkout_on_the_host() -> None:
    inside = read("../.devcontainer/devcontainer.json")["customizations"]["vscode"]
    outside = read("settings.json")
    own = {"python.defaultInterpreterPath"}  # it has one environment, the host another
    assert {name: value for name, value in inside["settings"].items() if name not in own}.items() <= outside.items()
    assert {*inside["extensions"]} < {*read("extensions.json")["recommendations"]}


def test_the_test_file_that_is_open_is_run_with_options_that_pytest_knows() -> None:
    (one,) = [one for one in read("launch.json")["configurations"] if one["request"] == "launch"]
    assert (one["type"], one["module"], one["args"][-1]) == ("debugpy", "pytest", "${file}")
    words = [*one["args"][:-1], __file__, "--collect-only", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "test_each_task_is_a_target_of_make" in done.stdout) == (0, True), done.stderr


def test_the_dev_container_names_the_debuggers_ports(project: Project) -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text("utf-8")
    for port in (project.settings.debug_port, project.settings.gpu_debug_port):
        assert f'"{port}": {{ "label": "debugger: ' in text


def test_each_task_is_a_target_of_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    commands = [task["command"].split()[:2] for task in read("tasks.json")["tasks"]]
    assert [(make, target in targets) for make, target in commands] == [("make", True)] * len(commands)


def test_the_testing_view_finds_tests_and_checks_with_the_interpreter_of_the_place() -> None:
    settings = read("settings.json")
    # On the host the Python extension takes .venv by itself; a name here would overrule the dev container's.
    assert "python.defaultInterpreterPath" not in settings
    folders = [word for word in settings["python.testing.pytestArgs"] if (ROOT / word).is_dir()]
    assert folders == ["tests", "src/checks", "src/parity/checks/generic"]
    assert "parity.checks.plugin" in settings["python.testing.pytestArgs"]
    assert set(read("extensions.json")["recommendations"]) > {"ms-python.python", "ms-python.debugpy"}
