"""Fly's API as flyctl v0.4.87 was recorded with it: each command's calls in order, and what it needs in answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from tests.parity.fly.support import CHECKS, SOURCE, UVICORN, Edge, StartEdge, until

from parity.fly.api.state import Reference, parse_reference
from parity.fly.api.web import api_routes
from parity.fly.machines.log_file import LogFile
from parity.fly.machines.process import ProcessDriver
from parity.fly.server import loopback_peers

DIGEST = "sha256:" + "a" * 64
APP_QUERY = "query($appName: String!) { appcompact: app(name: $appName) { id name status organization { slug } } }"
IMAGE_QUERY = (
    "query($appName: String!, $imageRef: String!) "
    "{ app(name: $appName) { id image(ref: $imageRef) { id digest ref compressedSize } } }"
)


class Fly:
    """A client of the API, and the edge behind it."""

    def __init__(self, edge: Edge, http: httpx.AsyncClient) -> None:
        self.edge, self.http = edge, http

    async def call(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.request(method, path, json=body, headers=sent)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def query(self, text: str, **variables: str) -> Any:
        return (await self.call("POST", "/graphql", {"query": text, "variables": variables}))["data"]

    async def push(self, tag: str) -> str:
        """Put a manifest into the registry; returns its digest."""
        manifest = {"config": {"digest": DIGEST, "size": 1}, "layers": [{"size": 41}], "tag": tag}
        kind = {"content-type": "application/vnd.oci.image.manifest.v1+json"}
        answer = await self.http.put(
            f"/v2/tiny/manifests/{tag}", content=json.dumps(manifest), headers=kind, auth=("x", "token")
        )
        return str(answer.headers["docker-content-digest"])


@asynccontextmanager
async def api(edge: Edge, secrets: dict[str, str]) -> AsyncIterator[Fly]:
    routes = api_routes(edge.standin.context.config, edge.standin.fleet, edge.state_dir, secrets)
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://fly", timeout=60) as http:
        yield Fly(edge, http)


@pytest.fixture
async def fly(start_edge: StartEdge) -> AsyncIterator[Fly]:
    async with api(await start_edge(checks=CHECKS), {"OLD": "deployed"}) as fly:
        yield fly


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("registry.fly.io/demo:v1", Reference("registry.fly.io", "demo", "v1", "")),
        (f"localhost:9090/a/b@{DIGEST}", Reference("localhost:9090", "a/b", "", DIGEST)),
        (f"localhost:9090/a:t@{DIGEST}", Reference("localhost:9090", "a", "t", DIGEST)),
        ("demo", Reference("docker.io", "demo", "", "")),
    ],
)
def test_an_image_reference_is_read_in_its_parts(text: str, found: Reference) -> None:
    assert parse_reference(text) == found


async def test_a_later_deploy_replaces_the_machine_and_its_release_completes(fly: Fly) -> None:
    digest = await fly.push("v2")
    await fly.call("GET", "/v1/apps/tiny")
    await fly.call("GET", "/api/v1/organizations/parity")
    build = await fly.call("POST", "/api/v1/builds", {"app_name": "tiny"})
    image = (await fly.query(IMAGE_QUERY, appName="tiny", imageRef=f"r:1/tiny@{digest}"))["app"]["image"]
    assert (image["digest"], image["compressedSize"]) == (digest, "41")
    await fly.call("POST", "/api/v1/builds/finish", {"build_id": build["id"], "status": "completed"})
    (machine,) = await fly.call("GET", "/v1/apps/tiny/machines")
    assert (machine["host_status"], machine["config"]["metadata"]["fly_platform_version"]) == ("ok", "v2")
    created = {"app_name": "tiny", "image": image["ref"], "strategy": "rolling", "definition": {"app": "tiny"}}
    release = (await fly.call("POST", "/api/v1/releases", created, 201))["release"]
    await fly.call("PATCH", f"/api/v1/releases/{release['id']}", {"status": "running"})

    path = f"/v1/apps/tiny/machines/{machine['id']}"
    nonce = (await fly.call("POST", f"{path}/lease?ttl=600"))["data"]["nonce"]
    config = {**machine["config"], "env": {"COLOUR": "blue"}, "image": image["ref"]}
    updated = await fly.call("POST", path, {"config": config}, fly_machine_lease_nonce=nonce)
    assert (updated["id"], updated["config"]["image"]) == (machine["id"], image["ref"])
    await fly.call("GET", f"{path}/wait?state=started&timeout=60")

    async def healthy() -> bool:
        found = await fly.call("GET", path)
        return bool(found["checks"]) and all(check["status"] == "passing" for check in found["checks"])

    await until(healthy, "healthy")
    shown = await fly.call("GET", path)
    assert shown["image_ref"]["digest"] == digest
    assert (await fly.call("GET", f"{path}/ps"))[0]["listen_sockets"]
    await fly.call("DELETE", f"{path}/lease", fly_machine_lease_nonce=nonce)
    await fly.call("PATCH", f"/api/v1/releases/{release['id']}", {"status": "complete"})

    environment = (await fly.edge.get("/show"))["env"]
    assert environment["COLOUR"] == "blue"
    text = "query($appName: String!) { app(name: $appName) { releases { nodes { version status imageRef } } } }"
    node, first = (await fly.query(text, appName="tiny"))["app"]["releases"]["nodes"]
    assert node == {"version": 2, "status": "complete", "imageRef": image["ref"]}
    assert (first["version"], first["status"]) == (1, "complete")


async def test_a_lease_of_another_is_a_conflict_until_it_ends(fly: Fly) -> None:
    path = f"/v1/apps/tiny/machines/{fly.edge.machine.id}"
    nonce = (await fly.call("POST", f"{path}/lease?ttl=600"))["data"]["nonce"]
    refused = await fly.call("POST", f"{path}/lease?ttl=13", status=409)
    assert (refused["status"], "lease currently held" in refused["message"]) == ("error", True)
    assert "lease currently held" in (await fly.call("POST", f"{path}/stop", status=409))["error"]

    await fly.call("POST", f"{path}/lease?ttl=0.1", fly_machine_lease_nonce=nonce)

    async def free() -> bool:
        return (await fly.http.post(f"{path}/lease?ttl=13")).status_code == 200

    await until(free, "the lease ended")


async def test_a_stopped_machine_is_updated_without_being_started(fly: Fly) -> None:
    await fly.push("v2")
    path = f"/v1/apps/tiny/machines/{fly.edge.machine.id}"
    await fly.call("POST", f"{path}/stop")
    machine = await fly.call("GET", path)
    assert (machine["state"], [check["status"] for check in machine["checks"]]) == ("stopped", ["warning"])
    config = {**machine["config"], "image": "r:1/tiny:v2", "env": {"COLOUR": "blue"}}
    assert (await fly.call("POST", path, {"config": config, "skip_launch": True}))["state"] == "stopped"
    assert (await fly.call("POST", f"{path}/start"))["previous_state"] == "stopped"
    assert (await fly.edge.get("/show"))["env"]["COLOUR"] == "blue"


async def test_a_wait_that_is_not_fulfilled_is_a_deadline(fly: Fly) -> None:
    path = f"/v1/apps/tiny/machines/{fly.edge.machine.id}/wait?state=stopped&timeout=0.2"
    assert "deadline_exceeded" in (await fly.call("GET", path, status=408))["error"]


async def test_machines_are_created_and_destroyed(fly: Fly) -> None:
    await fly.push("v1")
    body = {"config": {"image": "r:1/tiny:v1", "env": {}, "metadata": {"fly_platform_version": "v2"}}, "lease_ttl": 600}
    made = await fly.call("POST", "/v1/apps/tiny/machines", body)
    assert made["nonce"]
    assert len(await fly.call("GET", "/v1/apps/tiny/machines")) == 2
    await fly.call("DELETE", f"/v1/apps/tiny/machines/{made['id']}", fly_machine_lease_nonce=made["nonce"])
    assert len(await fly.call("GET", "/v1/apps/tiny/machines")) == 1


async def test_secrets_are_listed_by_digest_and_reach_a_machine_with_the_next_update(fly: Fly) -> None:
    values = {"values": {"A": "one # two", "OLD": None}}
    answer = await fly.call("POST", "/v1/apps/tiny/secrets", values)
    assert [secret["name"] for secret in answer["secrets"]] == ["A"]
    assert "one # two" not in json.dumps(answer)
    assert "A" not in (await fly.edge.get("/show"))["env"]
    path = f"/v1/apps/tiny/machines/{fly.edge.machine.id}"
    machine = await fly.call("GET", path)
    await fly.call("POST", path, {"config": machine["config"]})
    assert (await fly.edge.get("/show"))["env"]["A"] == "one # two"


async def test_an_unknown_app_and_query_are_said(fly: Fly) -> None:
    body = {"query": APP_QUERY, "variables": {"appName": "other"}}
    assert (await fly.call("POST", "/graphql", body))["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    body = {"query": "mutation Launch { launch { id } }", "variables": {}}
    assert "Launch is not implemented" in (await fly.call("POST", "/graphql", body))["errors"][0]["message"]
    assert (await fly.query("query($n: String!) { app(name: $n) { id moons } }", n="tiny"))["app"]["moons"] is None
    await fly.call("GET", "/v1/apps/tiny/moons", status=404)
    refused = await fly.call("POST", "/api/v1/organizations/parity/cost-estimates", {}, status=404)
    assert "cost-estimates is not implemented by the stand-in" in refused["error"]
    for path in ("releases", "releases/current", "logs"):
        await fly.call("GET", f"/api/v1/apps/other/{path}", status=404)
    gaps = await fly.call("GET", "/fly/api-gaps")
    costs = "POST /api/v1/organizations/parity/cost-estimates"
    assert gaps == {"mutation Launch": 1, "app.moons": 1, "GET /v1/apps/tiny/moons": 1, costs: 1}


async def test_a_stand_in_that_runs_has_a_release_and_its_machines_are_of_it(fly: Fly) -> None:
    (release,) = (await fly.call("GET", "/api/v1/apps/tiny/releases"))["releases"]
    assert (release["version"], release["status"], release["in_progress"]) == (1, "complete", False)
    (machine,) = await fly.call("GET", "/v1/apps/tiny/machines")
    assert machine["config"]["metadata"]["fly_release_version"] == "1"
    assert await fly.call("GET", "/api/v1/releases/all_current") == {"tiny": release["created_at"]}
    assert (await fly.call("GET", "/api/v1/apps/tiny/releases/current"))["id"] == release["id"]


async def test_single_secrets_and_addresses_are_set_and_removed(fly: Fly) -> None:
    made = await fly.call("POST", "/v1/apps/tiny/secrets/ONE", {"value": "hidden"})
    assert (made["name"], made["version"]) == ("ONE", 1)
    assert "hidden" not in json.dumps(await fly.call("GET", "/v1/apps/tiny/secrets/ONE"))
    assert (await fly.call("DELETE", "/v1/apps/tiny/secrets/ONE"))["version"] == 2
    await fly.call("GET", "/v1/apps/tiny/secrets/ONE", status=404)
    address = await fly.call("POST", "/v1/apps/tiny/ip_assignments", {"type": "v6"})
    await fly.call("DELETE", f"/v1/apps/tiny/ip_assignments/{address['ip']}")
    await fly.call("DELETE", f"/v1/apps/tiny/ip_assignments/{address['ip']}", status=404)
    assert (await fly.call("GET", "/v1/apps/tiny/ip_assignments"))["ips"] == []


async def test_regions_and_placements_are_of_the_one_region(fly: Fly) -> None:
    assert (await fly.call("GET", "/v1/platform/regions"))["Nearest"] == "lax"
    placed = await fly.call("POST", "/v1/platform/placements", {"region": "any", "count": 2, "org_slug": "parity"})
    assert placed["Regions"] == [{"Region": "lax", "Count": 2, "Concurrency": 1}]


async def test_a_machine_of_another_group_gets_no_traffic_and_one_that_ran_its_command_can_still_be_read(
    fly: Fly,
) -> None:
    await fly.push("v1")
    group = {"fly_process_group": "fly_app_release_command"}
    config = {"image": "r:1/tiny:v1", "metadata": group, "auto_destroy": True, "restart": {"policy": "no"}}
    made = await fly.call("POST", "/v1/apps/tiny/machines", {"config": config, "skip_launch": True})
    path = f"/v1/apps/tiny/machines/{made['id']}"
    assert (made["state"], made["id"] in fly.edge.standin.fleet.machines) == ("stopped", False)
    await fly.call("GET", f"{path}/wait?state=stopped&timeout=60")
    machine = fly.edge.standin.fleet.workers.machines[made["id"]]
    machine.spec = replace(machine.spec, command=("/bin/sh", "-c", "exit 4"))
    await fly.call("POST", f"{path}/start")
    await fly.call("GET", f"{path}/wait?state=destroyed&timeout=60")
    events = (await fly.call("GET", path))["events"]
    (exit_event,) = [event for event in events if event["type"] == "exit"]
    assert exit_event["request"]["exit_event"]["exit_code"] == 4
    lines = (await fly.call("GET", f"/api/v1/apps/tiny/logs?instance={made['id']}"))["data"]
    assert "Main child exited normally with code: 4" in lines[-1]["attributes"]["message"]
    assert await fly.call("GET", f"{path}/wait?state=started&timeout=1", status=404)


async def test_a_green_machine_gets_traffic_only_when_it_is_uncordoned(fly: Fly) -> None:
    await fly.push("v2")
    (blue,) = await fly.call("GET", "/v1/apps/tiny/machines")
    config = {**blue["config"], "image": "r:1/tiny:v2", "env": {"COLOUR": "green"}}
    body = {"config": config, "skip_service_registration": True}
    green = await fly.call("POST", "/v1/apps/tiny/machines", body)
    assert green["cordoned"]
    assert "COLOUR" not in (await fly.edge.get("/show"))["env"]
    lease = f"/v1/apps/tiny/machines/{blue['id']}/lease?ttl=600"
    nonce = (await fly.call("POST", lease))["data"]["nonce"]
    tag = f"/v1/apps/tiny/machines/{blue['id']}/metadata/fly_bluegreen_deployment_tag"
    await fly.call("POST", tag, {"value": "safe_to_destroy"}, status=204)  # flyctl sends no nonce here
    await fly.call("POST", f"/v1/apps/tiny/machines/{green['id']}/uncordon")
    blue_path = f"/v1/apps/tiny/machines/{blue['id']}"
    await fly.call("DELETE", f"{blue_path}?kill=true", status=409)
    before = fly.edge.standin.fleet.release
    await fly.call("DELETE", f"{blue_path}?kill=true", fly_machine_lease_nonce=nonce)
    assert (await fly.edge.get("/show"))["env"]["COLOUR"] == "green"
    assert fly.edge.standin.fleet.release is not before  # in force once nothing else runs


async def test_a_variable_that_a_deploy_no_longer_has_is_gone(fly: Fly) -> None:
    path = f"/v1/apps/tiny/machines/{fly.edge.machine.id}"
    machine = await fly.call("GET", path)
    for env, found in (({"COLOUR": "blue"}, "blue"), ({}, None)):
        await fly.call("POST", path, {"config": {**machine["config"], "env": env}})
        assert (await fly.edge.get("/show"))["env"].get("COLOUR") == found


async def test_a_configuration_that_cannot_be_read_is_refused_by_its_place(fly: Fly) -> None:
    config = {"image": "r:1/tiny:v1", "guest": {"cpus": "many"}}
    refused = await fly.call("POST", "/v1/apps/tiny/machines", {"config": config}, status=400)
    assert "config: vm.0.cpus" in refused["error"]
    await fly.call("GET", "/v1/apps/other", status=404)
    taken = await fly.call("POST", "/v1/apps", {"name": "tiny"}, status=422)
    assert "already been taken" in taken["error"]


async def test_answers_hold_only_what_the_query_names(fly: Fly) -> None:
    text = "query($appName: String!) { appcompact: app(name: $appName) { status organization { slug } } }"
    found = (await fly.query(text, appName="tiny"))["appcompact"]
    assert found.keys() == {"status", "organization"}
    assert found["organization"].keys() == {"slug"}


async def test_logs_are_given_once(fly: Fly) -> None:
    path = "/api/v1/apps/tiny/logs"
    log = LogFile(fly.edge.state_dir / "logs", fly.edge.machine.id).path
    with log.open("a") as file:
        file.write("one\n")
    first = await fly.call("GET", path)
    assert [line["attributes"]["message"] for line in first["data"]][-1] == "one"
    with log.open("a") as file:
        file.write("two\n")
    token = first["meta"]["next_token"]
    more = await fly.call("GET", f"{path}?next_token={token}&instance={fly.edge.machine.id}")
    assert [line["attributes"]["message"] for line in more["data"]] == ["two"]
    assert (await fly.call("GET", f"{path}?instance=another"))["data"] == []


async def test_a_machine_that_another_release_replaced_shows_what_it_runs(fly: Fly) -> None:
    await fly.push("v2")
    path = f"/v1/apps/tiny/machines/{fly.edge.machine.id}"
    config = (await fly.call("GET", path))["config"]
    await fly.call("POST", path, {"config": {**config, "image": "r:1/tiny:v2", "env": {"COLOUR": "red"}}})
    assert (await fly.call("GET", path))["config"]["image"] == "r:1/tiny:v2"
    await fly.edge.standin.fleet.deploy(None, None, {}, wait=False, timeout_s=0)
    shown = await fly.call("GET", path)
    assert shown["config"]["image"] == fly.edge.machine.spec.image.ref
    assert shown["image_ref"]["digest"] == fly.edge.machine.spec.image.digest
    assert "COLOUR" not in shown["config"]["env"]


class Owned(ProcessDriver):
    """As in compose: a restart of the stand-in can be told from a new one."""

    container = "c1"

    @property
    def owner(self) -> str:
        return self.container


def owned(folder: Path, container: str = "c1") -> Owned:
    made = Owned(SOURCE.parent, SOURCE.name, UVICORN, folder / "state", loopback_peers()[2])
    made.container = container
    return made


async def test_secrets_releases_and_volumes_outlive_a_restart_of_the_stand_in(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    toml = '\n[[mounts]]\nsource = "data"\ndestination = "/data"\n'
    first = {"KEPT": "1", "GONE": "2"}
    edge = await start_edge(toml=toml, driver=owned(tmp_path))
    async with api(edge, first) as fly:
        await fly.call("POST", "/v1/apps/tiny/secrets", {"values": {"NEW": "3", "GONE": None}})
        await fly.call("GET", "/v1/apps/tiny/machines")
        body = {"app_name": "tiny", "image": "r:1/tiny:v2", "strategy": "rolling", "definition": {"app": "tiny"}}
        release = (await fly.call("POST", "/api/v1/releases", body, 201))["release"]
        await fly.call("PATCH", f"/api/v1/releases/{release['id']}", {"status": "complete"})
        await fly.call("POST", "/v1/apps/tiny/ip_assignments", {"type": "v6"})
        volumes = await fly.call("GET", "/v1/apps/tiny/volumes")
    await edge.standin.fleet.close()

    edge = await start_edge(toml=toml, driver=owned(tmp_path))
    async with api(edge, {**first, "ADDED": "4"}) as fly:
        secrets = (await fly.call("GET", "/v1/apps/tiny/secrets"))["secrets"]
        assert [one["name"] for one in secrets] == ["ADDED", "KEPT", "NEW"]
        newest = (await fly.call("GET", "/api/v1/apps/tiny/releases"))["releases"][0]
        assert (newest["id"], newest["version"], newest["status"]) == (release["id"], 2, "complete")
        (machine,) = await fly.call("GET", "/v1/apps/tiny/machines")
        (volume,) = await fly.call("GET", "/v1/apps/tiny/volumes")
        assert [volume["id"]] == [one["id"] for one in volumes]
        assert volume["attached_machine_id"] == machine["id"]
        assert len((await fly.call("GET", "/v1/apps/tiny/ip_assignments"))["ips"]) == 1
    await edge.standin.fleet.close()

    edge = await start_edge(toml=toml, driver=owned(tmp_path, "c2"))
    async with api(edge, first) as fly:
        assert len((await fly.call("GET", "/api/v1/apps/tiny/releases"))["releases"]) == 1
        secrets = (await fly.call("GET", "/v1/apps/tiny/secrets"))["secrets"]
        assert [one["name"] for one in secrets] == ["GONE", "KEPT"]


async def test_two_updates_with_the_same_image_and_environment_are_one_release(fly: Fly) -> None:
    second = await fly.edge.standin.fleet.create()
    await until(lambda: second.healthy, "healthy")
    for machine in await fly.call("GET", "/v1/apps/tiny/machines"):
        config = {**machine["config"], "env": {"COLOUR": "blue"}}
        await fly.call("POST", f"/v1/apps/tiny/machines/{machine['id']}", {"config": config})
    assert fly.edge.standin.fleet.release.number == 2


async def test_a_volume_is_made_attached_and_left_when_its_machine_goes(fly: Fly) -> None:
    await fly.push("v1")
    asked = {"name": "data", "region": "lax", "size_gb": 3, "encrypted": True}
    volume = await fly.call("POST", "/v1/apps/tiny/volumes", asked)
    assert (volume["name"], volume["size_gb"], volume["attached_machine_id"]) == ("data", 3, None)
    mounts = [{"volume": volume["id"], "name": "data", "path": "/data"}]
    made = await fly.call("POST", "/v1/apps/tiny/machines", {"config": {"image": "r:1/tiny:v1", "mounts": mounts}})
    (listed,) = await fly.call("GET", "/v1/apps/tiny/volumes")
    assert listed["attached_machine_id"] == made["id"]
    await fly.call("DELETE", f"/v1/apps/tiny/machines/{made['id']}?kill=true")
    assert (await fly.call("GET", f"/v1/apps/tiny/volumes/{volume['id']}"))["attached_machine_id"] is None
    await fly.call("DELETE", f"/v1/apps/tiny/volumes/{volume['id']}")
    assert await fly.call("GET", "/v1/apps/tiny/volumes") == []


async def test_a_machine_that_the_stand_in_made_has_a_volume_for_each_mount(start_edge: StartEdge) -> None:
    edge = await start_edge(toml='\n[[mounts]]\nsource = "data"\ndestination = "/data"\n')
    async with api(edge, {}) as fly:
        (machine,) = await fly.call("GET", "/v1/apps/tiny/machines")
        (volume,) = await fly.call("GET", "/v1/apps/tiny/volumes")
        assert machine["config"]["mounts"] == [{"name": "data", "path": "/data", "volume": volume["id"]}]
        assert volume["attached_machine_id"] == machine["id"]
