"""``fly deploy --image``, and the deploy that follows a change of secrets.

Sources: the recorded exchanges of every strategy; superfly/flyctl, internal/command/deploy (machines_releasecommand.go
for the release command, strategy_bluegreen.go).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parity.config.fly_toml import FlyConfig
from parity.config.machine_config import machine_config, release_command_config
from parity.flyctl.client import LEASE_S, Answered, Client, FlyError, group_of

POLL_S = 0.2
IMAGE_QUERY = (
    "query ($appName: String!, $imageRef: String!) { app(name: $appName) "
    "{ id image(ref: $imageRef) { id digest ref compressedSize: compressedSizeFull } } }"
)
VERSION_QUERY = (
    "query ($appName: String!) { app(name: $appName) { id name version egressIpAddresses { nodes { id } } } }"
)
BLUEGREEN_QUERY = "query CanPerformBluegreenDeployment($name: String!) { canPerformBluegreenDeployment(name: $name) }"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """One deploy. ``definition`` is the content of fly.toml that the release stores.

    With ``high_availability``, a first deploy creates two Machines.
    """

    config: FlyConfig
    definition: dict[str, Any]
    image: str
    strategy: str
    wait_timeout_s: float
    high_availability: bool = False
    root: Path = Path()


def find_image(client: Client, image: str) -> str:
    """Look up the image and return the reference for the Machines. flyctl does not compare the digest."""
    organization = client.flaps("GET", "")["organization"]["slug"]
    client.call("uiex", "GET", f"/api/v1/organizations/{organization}")
    build = client.call("uiex", "POST", "/api/v1/builds", {"app_name": client.app, "builder_type": "depot.dev"})
    found = client.query(IMAGE_QUERY, appName=client.app, imageRef=image)["app"]["image"]
    status = "completed" if found else "failed"
    client.call("uiex", "POST", "/api/v1/builds/finish", {"build_id": build["id"], "status": status})
    if not found:
        raise FlyError(f'failed to fetch an image or build from source: could not find image "{image}"')
    int(found["compressedSize"])  # flyctl fails if this is not a number
    return str(found["ref"])


def deploy(client: Client, plan: Plan, say: Say) -> dict[str, Any]:
    """Deploy and return the release. Like flyctl, leave the Machines as they are when a step fails."""
    machines = client.machines()
    if not machines and not client.flaps("GET", "/ip_assignments")["ips"]:
        say(f"Provisioning ips for {client.app}")
        for kind in ("v6", "shared_v4"):
            client.flaps("POST", "/ip_assignments", {"type": kind, "region": "", "org_slug": "", "network": ""})
    body = {
        "app_name": client.app,
        "build_id": 0,
        "definition": plan.definition,
        "image": plan.image,
        "strategy": plan.strategy.upper(),
    }
    release: dict[str, Any] = client.call("uiex", "POST", "/api/v1/releases", body)["release"]
    client.query(VERSION_QUERY, appName=client.app)
    try:
        if plan.config.deploy.release_command:
            _release_command(client, plan, release, say)
        _mark(client, release, "running")
        _groups(client, plan, release, machines, say)
    except BaseException as error:
        _mark(client, release, "failed", str(error))
        raise
    _mark(client, release, "complete")
    return release


def _mark(client: Client, release: dict[str, Any], status: str, error: str = "") -> None:
    body = {"status": status, "metadata": {"post_deployment_info": {"error": error}} if status != "running" else None}
    client.call("uiex", "PATCH", f"/api/v1/releases/{release['id']}", body)


def _release_command(client: Client, plan: Plan, release: dict[str, Any], say: Say) -> None:
    """Run the release command: create a stopped Machine, start it, and wait until it has destroyed itself."""
    say(f"Running {client.app} release_command: {plan.config.deploy.release_command}")
    config = _released(release_command_config(plan.config, plan.image), release)
    made = client.flaps(
        "POST", "/machines", {"config": config, "region": plan.config.primary_region, "skip_launch": True}
    )
    machine = str(made["id"])
    client.wait(machine, "stopped", plan.wait_timeout_s)
    client.machine(machine, "POST", "/start")
    try:
        client.wait(machine, "started", plan.wait_timeout_s)
        client.wait(machine, "destroyed", plan.config.deploy.release_command_timeout_s)
    except Answered as error:
        if error.status != 404:  # 404: the command has ended already and the Machine was destroyed
            raise
    events = client.machine(machine)["events"]
    exits = [one for one in events if one["type"] == "exit"]
    if not exits:
        raise FlyError(f"error finding the release_command machine {machine} exit event")
    code = exits[0]["request"]["exit_event"]["exit_code"]
    if code:
        lines = client.call("graphql", "GET", f"/api/v1/apps/{client.app}/logs?instance={machine}&next_token=")
        for line in lines["data"]:
            say(line["attributes"]["message"])
        raise FlyError(f"machine {machine} exited with non-zero status of {code}")
    say(f"release_command {machine} completed successfully")


def _released(config: dict[str, Any], release: dict[str, Any], **metadata: str) -> dict[str, Any]:
    own = {"fly_release_id": release["id"], "fly_release_version": str(release["version"])}
    return {**config, "metadata": {**config["metadata"], **own, **metadata}}


def _groups(client: Client, plan: Plan, release: dict[str, Any], machines: list[dict[str, Any]], say: Say) -> None:
    """Update the group that serves HTTP, then the others. A group without a Machine gets its first one."""
    serving = plan.config.group
    for group in (serving, *plan.config.other_groups):
        config = plan.config if group == serving else plan.config.of_group(group)
        made = machine_config(config, plan.image, plan.root, serves=group == serving)
        rolling = _Rolling(client, plan, _released(made, release), say)
        own = [one for one in machines if group_of(one) == group]
        if not own:
            for _ in range(2 if plan.high_availability and group == serving else 1):
                rolling.create(group)
        elif plan.strategy == "bluegreen" and group == serving:
            rolling.blue_green(own)
        elif plan.strategy == "immediate":
            for one in own:
                rolling.update(one, wait=False)
        else:
            if plan.strategy == "canary" and group == serving:
                rolling.canary()
            for one in own:
                rolling.update(one)


@dataclass(frozen=True)
class _Rolling:
    """The deploy strategies for the Machines of one group."""

    client: Client
    plan: Plan
    config: dict[str, Any]
    say: Say

    def _body(self, config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        region = self.plan.config.primary_region
        return {"config": config or self.config, "region": region, "skip_secrets": False, **more}

    def create(self, group: str) -> dict[str, Any]:
        """Create a Machine and wait until it is healthy."""
        self.say(f"No machines in group {group}, launching a new machine")
        made: dict[str, Any] = self.client.flaps("POST", "/machines", self._body(lease_ttl=300))
        try:
            self.client.wait(made["id"], "started", self.plan.wait_timeout_s)
            self._healthy(made["id"], bool(made.get("checks") or made["config"].get("services")))
        finally:
            self.client.machine(made["id"], "DELETE", "/lease", nonce=made["nonce"])
        self.say(f"Machine {made['id']} [{group}] update finished: success")
        return made

    def update(self, machine: dict[str, Any], *, wait: bool = True) -> None:
        """Give one Machine the new configuration. A stopped Machine is neither started nor checked."""
        name, asleep = machine["id"], machine["state"] in ("stopped", "suspended")
        with self.client.lease(name, LEASE_S) as nonce:
            self.say(f"> Updating {name} [{group_of(machine)}]")
            body = self._body({**self.config, "metadata": {**machine["config"]["metadata"], **self.config["metadata"]}})
            if asleep:
                body["skip_launch"] = True
            shown = self.client.machine(name, "POST", body=body, nonce=nonce)
            if not asleep and wait:
                self.client.wait(name, "started", self.plan.wait_timeout_s)
                self._healthy(name, bool(shown.get("checks")))
        self.say(f"✔ Machine {name} [{group_of(machine)}] update succeeded")

    def _healthy(self, name: str, checked: bool) -> None:
        """Wait until all checks of a Machine pass. Raises ``FlyError`` if it crashes, or at the timeout."""
        deadline = time.monotonic() + self.plan.wait_timeout_s
        while True:
            shown = self.client.machine(name)
            if _crashing(shown):
                raise FlyError(f"smoke checks for {name} failed: the app appears to be crashing")
            checks = shown.get("checks") or []
            if not checked or (checks and all(one["status"] == "passing" for one in checks)):
                break
            if time.monotonic() > deadline:
                raise FlyError(f"timeout reached waiting for health checks to pass for machine {name}")
            time.sleep(POLL_S)
        self.client.machine(name, path="/ps")

    def canary(self) -> None:
        """Create a Machine, wait until it is healthy, and destroy it. The deploy fails if it is not healthy."""
        made = self.client.flaps("POST", "/machines", self._body(lease_ttl=300))
        try:
            self.client.wait(made["id"], "started", self.plan.wait_timeout_s)
            self._healthy(made["id"], True)
        finally:
            self.client.machine(made["id"], "DELETE", "/lease", nonce=made["nonce"])
            self.client.machine(made["id"], "DELETE", "?kill=true")

    def blue_green(self, blue: list[dict[str, Any]]) -> None:
        """Create as many new (green) Machines as there are old (blue) ones, without traffic.

        When all green ones are healthy, they get the traffic and the blue ones are destroyed.
        """
        client, timeout = self.client, self.plan.wait_timeout_s
        tag = str(int(time.time()))
        green: list[str] = []
        if not client.query(BLUEGREEN_QUERY, name=client.app)["canPerformBluegreenDeployment"]:
            raise FlyError("this app cannot be deployed with bluegreen")
        try:
            for _ in blue:
                metadata = {**self.config["metadata"], "fly_bluegreen_deployment_tag": tag}
                config = {**self.config, "metadata": metadata}
                made = client.flaps("POST", "/machines", self._body(config, skip_service_registration=True))
                green.append(str(made["id"]))
            for name in green:
                client.wait(name, "started", timeout)
            for name in green:
                self._healthy(name, True)
        except BaseException:
            for name in green:
                client.machine(name, "DELETE", "?kill=true")
            raise
        for name in green:
            client.machine(name, "POST", "/uncordon")
        for one in blue:
            value = {"value": "safe_to_destroy"}
            client.machine(one["id"], "POST", "/metadata/fly_bluegreen_deployment_tag", value)
            with client.lease(one["id"], LEASE_S) as nonce:
                client.machine(one["id"], "POST", "/cordon", nonce=nonce)
                client.machine(one["id"], "POST", "/stop", {"id": one["id"], "timeout": "0s"}, nonce)
                client.wait(one["id"], "stopped", timeout)
            client.machine(one["id"], "DELETE", "?kill=true")


def _crashing(machine: dict[str, Any]) -> bool:
    """Whether the newest exit was a crash after more than one restart (internal/machine/leasable_machine.go)."""
    for event in machine["events"]:
        if event["type"] == "exit":
            request = event["request"]
            ended = request["exit_event"]
            return bool(
                not ended["requested_stop"]
                and ended["restarting"]
                and request["restart_count"] > 1
                and ended["exit_code"] != 0
            )
    return False
