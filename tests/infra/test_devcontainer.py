"""The dev container's files, as the devcontainer CLI and Compose read them. `make devcontainer-test` opens it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.infra.conftest import Run

from parity.config.settings import PUBLISHED, load_settings


@pytest.fixture
def settings(root: Path) -> dict[str, Any]:
    text = (root / ".devcontainer/devcontainer.json").read_text("utf-8")
    found = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    assert isinstance(found, dict)
    return found


def test_the_checkout_has_the_same_path_inside_as_on_the_host(settings: dict[str, Any]) -> None:
    (mount,) = settings["mounts"]
    assert {mount["source"], mount["target"], settings["workspaceFolder"], settings["containerEnv"]["DEV_FOLDER"]} == {
        "${localWorkspaceFolder}"
    }


def test_the_user_is_made_the_checkouts_owner_by_the_container_and_not_by_the_cli(settings: dict[str, Any]) -> None:
    assert (settings["remoteUser"], settings["updateRemoteUserUID"]) == ("dev", False)


def test_closing_the_window_stops_no_stack(settings: dict[str, Any]) -> None:
    assert settings["shutdownAction"] == "none"


def test_every_published_port_has_a_label_and_none_is_forwarded_a_second_time(settings: dict[str, Any]) -> None:
    stack = load_settings({})
    published = {str(port) for port in (stack.published_ports() | stack.debug_ports()).values()}
    ports = settings["portsAttributes"]
    assert published <= set(ports)
    assert all(attributes["label"] for attributes in ports.values())
    assert {ports[port]["onAutoForward"] for port in published} == {"ignore"}
    assert settings["otherPortsAttributes"] == {"onAutoForward": "ignore"}


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_compose_reads_both_files_before_anything_was_made(run: Run, settings: dict[str, Any], checkout: Path) -> None:
    files = [word for file in settings["dockerComposeFile"] for word in ("-f", f".devcontainer/{file}")]
    shown = run(
        "docker", "compose", "--project-directory", checkout, *files, "--profile", "*", "config", "--format", "json",
        cwd=checkout,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    services = json.loads(shown.stdout)["services"]
    dev, api = services[settings["service"]], services["api"]
    assert dev["build"]["target"] == "dev"
    # The app's image keeps its name and the commit that it is labelled with.
    assert api["image"].endswith("-dev-api")
    # As on the host: only what the developer set.
    given = {name: value for name, value in dev["environment"].items() if name.endswith("_PORT")}
    assert given == dict.fromkeys((*PUBLISHED, *load_settings({}).debug_ports()))
    assert [hook["user"] for hook in dev["post_start"]] == ["root"]


def initialize(run: Run, checkout: Path, **env: str) -> subprocess.CompletedProcess[str]:
    # Not this machine's own bundle.
    return run("bash", ".devcontainer/initialize", cwd=checkout, env={"PIP_CERT": "", "SSL_CERT_FILE": "", **env})


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_before_opening_the_bundle_is_found_that_make_up_would_find(run: Run, checkout: Path, tmp_path: Path) -> None:
    found = checkout / ".parity/build/ca.pem"
    assert initialize(run, checkout).returncode == 0
    assert found.read_bytes() == b""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("network")
    assert initialize(run, checkout, REQUESTS_CA_BUNDLE=str(bundle)).returncode == 0
    assert found.read_text() == "network"
    # A second time, by the copy itself; and one that is named goes before what a tool uses.
    assert initialize(run, checkout, PARITY_CA_FILE=".parity/build/ca.pem").returncode == 0
    assert found.read_text() == "network"
    empty = tmp_path / "none.pem"
    empty.touch()
    assert initialize(run, checkout, PARITY_CA_FILE=str(empty), PIP_CERT=str(bundle)).returncode == 0
    assert found.read_bytes() == b""


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_what_is_made_before_opening_belongs_to_the_checkouts_owner(run: Run, checkout: Path) -> None:
    if os.getuid() == 0:
        for path in [checkout, *checkout.rglob("*")]:
            os.chown(path, 1234, 1235, follow_symlinks=False)
    assert initialize(run, checkout).returncode == 0
    owner = checkout.stat().st_uid
    assert {path.stat().st_uid for path in [checkout / ".parity", *(checkout / ".parity").rglob("*")]} == {owner}


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("line", ["PARITY_PORT_OFFSET=100", ' export PARITY_PORT_OFFSET="100"'])
def test_an_offset_is_refused_with_the_lines_that_do_the_same(run: Run, checkout: Path, line: str) -> None:
    (checkout / ".env").write_text(f"OTHER=1\n{line}\n")
    refused = initialize(run, checkout)
    assert refused.returncode == 1
    assert "PARITY_PORT_OFFSET=100 is set" in refused.stderr
    settings = load_settings({})
    ports = settings.published_ports() | settings.debug_ports()
    wanted = {name: port + 100 for name, port in ports.items()}
    assert {f"{name}={port}" for name, port in wanted.items()} <= {part.strip() for part in refused.stderr.splitlines()}


def test_without_an_engine_opening_says_so(run: Run, root: Path, tmp_path: Path) -> None:
    refused = run(root / ".devcontainer/initialize", env={"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})
    assert refused.returncode == 1
    assert refused.stderr.startswith("ERROR: ")
