"""The compose file as Docker reads it, without starting anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.infra.conftest import Run

from parity.cli.settings import SECTIONS, Section
from parity.config.development import BuildSettings
from parity.config.names import project_name
from parity.config.variables import names, rows
from parity.stack.target import TargetSettings

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("engine")]

STANDINS_WITH_KEYS = {"fly", "r2", "frontend"}


def configuration(run: Run, **environ: str) -> dict[str, Any]:
    shown = run("docker", "compose", "--profile", "*", "config", "--format", "json", env=environ)
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert isinstance(found, dict)
    return found


def volumes(service: dict[str, Any]) -> set[str]:
    return {volume["source"] for volume in service.get("volumes", [])}


def test_the_file_needs_no_variable_and_no_file_of_the_user(run: Run) -> None:
    shown = run("docker", "compose", "config", "--quiet")
    assert (shown.returncode, shown.stderr) == (0, "")


def test_every_published_port_is_bound_to_this_host_alone(run: Run) -> None:
    ports = [p for service in configuration(run)["services"].values() for p in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert sorted(int(port["published"]) for port in ports) == sorted(
        [5173, 5443, 5678, 5679, 8080, 8443, 9000, 9090, 9900, 9901]
    )


def test_every_published_port_can_be_moved(run: Run) -> None:
    moved = {
        "PARITY_API_PORT": "18443", "PARITY_API_HTTP_PORT": "18080", "PARITY_FRONTEND_PORT": "15173",
        "PARITY_R2_PORT": "19000", "PARITY_MODAL_PORT": "19900", "PARITY_MODAL_BLOB_PORT": "19901",
        "PARITY_ADMIN_PORT": "19090", "PARITY_FRONTEND_TLS_PORT": "15443",
        "PARITY_DEBUG_PORT": "15678", "PARITY_GPU_DEBUG_PORT": "15679",
    }  # fmt: skip
    services = configuration(run, **moved)["services"]
    published = {port["published"] for service in services.values() for port in service.get("ports", [])}
    assert published == set(moved.values())


def test_an_offset_that_compose_cannot_add_is_refused_and_not_ignored(run: Run) -> None:
    shown = run("docker", "compose", "config", "--quiet", env={"PARITY_PORT_OFFSET": "100"})
    assert shown.returncode != 0
    assert "PARITY_PORT_OFFSET_needs_make_up" in shown.stderr
    assert run("docker", "compose", "config", "--quiet", env={"PARITY_PORT_OFFSET": ""}).returncode == 0


@pytest.mark.parametrize("folder", ["reel", "My Reels (1)_Ä", "_-reels.v2"])
def test_the_project_is_named_by_the_folder_as_the_harness_names_it(
    run: Run, root: Path, tmp_path: Path, folder: str
) -> None:
    checkout = tmp_path / folder
    checkout.mkdir()
    for file in ("compose.yaml", "src/parity/compose.yaml", "deploy/parity.env"):
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / file, checkout / file)
    shown = run("docker", "compose", "--profile", "*", "config", "--format", "json", cwd=checkout)
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    name = project_name(checkout, {})
    assert found["name"] == name
    assert {service["image"].removeprefix(f"{name}-") for service in found["services"].values()} == {
        "api", "standins", "worker", "checks", "dev", "versitygw",
    }  # fmt: skip


def test_r2_has_one_port_inside_and_outside_and_one_name(run: Run) -> None:
    services = configuration(run, PARITY_R2_PORT="19000")["services"]
    (port,) = services["r2"]["ports"]
    assert (port["target"], port["published"]) == (19000, "19000")
    assert services["r2"]["networks"]["machines"]["aliases"] == ["r2.localhost"]
    assert {services[name]["environment"]["PARITY_R2_PORT"] for name in ("fly", "r2", "worker", "checks")} == {"19000"}


# What compose.yaml does not hand on as the developer set it, and why.
SET_BY_COMPOSE = {
    "PARITY_STATE_DIR": "a volume",
    "PARITY_DRIVER": "containers",
    "PARITY_PORT_OFFSET": "added to the ports before compose reads them",
    "PARITY_R2_ADMIN_PORT": "each container has an address of its own",
    "PARITY_MODAL_ADMIN_PORT": "each container has an address of its own",
    "PARITY_ADMIN_PORT": "each container has an address of its own",
    "PARITY_STUB_PORT": "each container has an address of its own",
    "PARITY_FRONTEND_TLS_PORT": "443 inside",
    "PARITY_DEBUG_PORT": "5678 inside",
    "PARITY_GPU_DEBUG_PORT": "5679 inside",
    **dict.fromkeys(names(TargetSettings), "the names of the networks"),
}


def given_for(section: Section) -> dict[str, str]:
    """A value of its own for each variable of a table; ports stay ports."""
    ports = iter(range(20001, 21000))
    chosen = [row for row in rows(section.table) if not row.inside and row.name not in SET_BY_COMPOSE]
    return {
        row.name: str(next(ports)) if row.name.endswith("_PORT") else f"given-{row.field}".replace("_", "-")
        for row in chosen
    }


@pytest.mark.parametrize(
    ("section", "service"),
    [(section, service) for section in SECTIONS for service in section.services],
    ids=lambda found: found if isinstance(found, str) else found.title,
)
def test_each_setting_reaches_the_service_that_reads_it(run: Run, section: Section, service: str) -> None:
    given = given_for(section)
    environment = configuration(run, **given)["services"][service]["environment"]
    # The edge listens on Fly's own ports inside; what is published is its public port.
    inside = {"PARITY_API_PORT", "PARITY_API_HTTP_PORT"} if service == "fly" else set()
    expected = {name: value for name, value in given.items() if name not in inside}
    assert {name: environment.get(name) for name in expected} == expected
    if inside & set(given):
        assert environment["PARITY_FLY_PUBLIC_PORT"] == given["PARITY_API_PORT"]


def test_builds_get_their_settings(run: Run) -> None:
    found = configuration(run, PARITY_BASE_IMAGE="base:1", GIT_COMMIT="abc", PARITY_CA_FILE="./deploy/no-ca.pem")
    built = {name: service["build"] for name, service in found["services"].items() if "build" in service}
    assert {build["args"]["BASE"] for build in built.values()} == {"base:1"}
    assert {build["args"].get("GIT_COMMIT", "abc") for build in built.values()} == {"abc"}
    assert set(names(BuildSettings)) == {"PARITY_BASE_IMAGE", "GIT_COMMIT", "PARITY_CA_FILE", "PARITY_DOCKER_SOCKET"}


def test_a_durable_store_is_built_and_started_on_request_and_machines_cannot_reach_it(run: Run) -> None:
    plain = run("docker", "compose", "config", "--services")
    assert "versitygw" not in plain.stdout.split()
    services = configuration(run, PARITY_R2_STORE="s3")["services"]
    store, r2 = services["versitygw"], services["r2"]
    assert store["profiles"] == ["durable"]
    assert not set(store["networks"]) & set(services["api"]["networks"])
    assert set(store["networks"]) <= set(r2["networks"])
    assert r2["environment"]["PARITY_R2_UPSTREAM_URL"] == "http://versitygw:7070"
    credentials = ("PARITY_R2_UPSTREAM_ACCESS_KEY_ID", "PARITY_R2_UPSTREAM_SECRET_ACCESS_KEY")
    assert [store["environment"][name] for name in ("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY")] == [
        r2["environment"][name] for name in credentials
    ]
    # A store that nobody uses says so instead of starting.
    assert {found["environment"]["PARITY_R2_STORE"] for found in (store, r2)} == {"s3"}


def test_modal_has_its_two_ports_inside_and_outside(run: Run) -> None:
    services = configuration(run, PARITY_MODAL_PORT="19900", PARITY_MODAL_BLOB_PORT="19901")["services"]
    ports = {(port["target"], port["published"]) for port in services["modal"]["ports"]}
    assert ports == {(19900, "19900"), (19901, "19901")}
    for name in ("fly", "modal", "worker", "checks"):
        environment = services[name]["environment"]
        assert (environment["PARITY_MODAL_PORT"], environment["PARITY_MODAL_BLOB_PORT"]) == ("19900", "19901")
    assert services["checks"]["environment"]["PARITY_MODAL_URL"] == "http://modal:19900"


def test_machines_and_worker_have_no_way_out(run: Run) -> None:
    found = configuration(run)
    assert found["networks"]["machines"]["internal"] is True
    assert {tuple(found["services"][name]["networks"]) for name in ("api", "worker", "checks")} == {("machines",)}


def test_compose_builds_the_fly_image_and_starts_none_of_it(run: Run) -> None:
    api = configuration(run)["services"]["api"]
    assert api["deploy"]["replicas"] == 0
    assert (api["build"]["dockerfile"], api["build"]["platforms"]) == ("Dockerfile", ["linux/amd64"])


def test_each_image_is_built_by_one_service_so_that_a_second_up_recreates_nothing(run: Run) -> None:
    services = configuration(run)["services"]
    builders = {name: service["image"] for name, service in services.items() if "build" in service}
    assert len(set(builders.values())) == len(builders)
    assert {service["image"] for service in services.values()} == set(builders.values())


def test_private_keys_are_mounted_into_the_stand_ins_that_speak_tls_and_nowhere_else(run: Run) -> None:
    services = configuration(run)["services"]
    assert {name for name, service in services.items() if "ca" in volumes(service)} == STANDINS_WITH_KEYS


def test_the_docker_socket_is_given_to_fly_checks_and_dev_alone(run: Run) -> None:
    services = configuration(run)["services"]
    given = {name for name, service in services.items() if "/var/run/docker.sock" in volumes(service)}
    assert given == {"fly", "checks", "dev"}
    moved = configuration(run, PARITY_DOCKER_SOCKET="/run/user/1000/docker.sock")["services"]
    assert {name for name, service in moved.items() if "/run/user/1000/docker.sock" in volumes(service)} == given


def test_a_second_project_shares_no_name_with_the_first(run: Run) -> None:
    first, second = configuration(run), configuration(run, COMPOSE_PROJECT_NAME="other")
    for kind in ("networks", "volumes"):
        assert not {v["name"] for v in first[kind].values()} & {v["name"] for v in second[kind].values()}
    assert second["services"]["fly"]["environment"]["PARITY_FLY_PROJECT"] == "other"
    assert second["services"]["fly"]["environment"]["PARITY_FLY_NETWORK"] == second["networks"]["machines"]["name"]
