"""The docker driver: runs Machines as containers, through the engine's socket."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp

from parity.debug import kit
from parity.fly.machines.container import (
    CPU_PERIOD_US,
    INHERITED,
    MACHINE_LABEL,
    SERVICE,
    container_config,
    container_name,
    cpu_quota,
    file_archive,
)
from parity.fly.machines.driver import Address, DriverError, Exit, Image, MachineSpec, ignore_notice
from parity.fly.machines.log_file import LogFile
from parity.fly.settings import FlySettings

DEFAULT_PROJECT = "parity"
# Folder of debugpy in a container, and the port on which it listens for a debugger.
DEBUG_FOLDER, DEBUG_PORT = "/opt/parity-debug", 5678
# How long to wait for the removal of an ended container before it counts as an exit of the app, in seconds.
VANISH_S = 0.5
# Most containers that reserve addresses while a Machine gets another address. More than one is needed only if lower
# addresses are free.
MOST_HOLDERS = 8
HOLDER_LABEL = "parity.fly.holder"
COMMIT_LABEL = "org.opencontainers.image.revision"
VARIANT_LABEL = "parity.broken"  # parity.report.engine adds it to images that a check builds
# Lines of an ended container's log that are kept when it is removed.
KEPT_LINES = 5000


class DockerDriver:
    """Runs each Machine as a container. Each start creates a new container, with a fresh root filesystem.

    ``ca`` is copied to ``ca_path`` in each container, if that is given. ``root`` is the checkout, used for mounts if
    Compose did not start this stand-in.
    """

    name = "docker"
    runs_images = True

    def __init__(
        self, image: str, state_dir: Path, settings: FlySettings, ca: Path, ca_path: str | None, root: Path = Path()
    ) -> None:
        self._image, self._settings, self._ca, self._ca_path = image, settings, ca, ca_path
        self._root = str(root.resolve())
        self._logs = state_dir / "logs"
        self._docker: Any  # aiodocker is only half typed
        self._project = settings.project
        self._network = settings.network
        self._inherited: dict[str, str] = {}
        self._owner = self._own_image = ""
        self._signalled: set[str] = set()  # Machines whose end the driver itself asked for
        self._ports: dict[str, int] = {}
        self._debugged: dict[str, Address] = {}
        self._ids: dict[str, str] = {}  # Machine → container
        self._ran: dict[str, MachineSpec] = {}  # the specification of each container
        self._events: asyncio.Task[None] | None = None
        self.notice: Callable[[str, str], None] = ignore_notice

    async def open(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            self._docker = aiodocker.Docker()
            async with _errors("the Docker engine does not answer (is /var/run/docker.sock there?)"):
                await self._docker.version()
        except AssertionError:
            raise DriverError("no Docker engine: no socket was found; start Docker, or set DOCKER_HOST") from None
        try:
            await self._find_project()
            await self._remove_leftovers()
            async with _errors(f"there is no Docker network {self._network}"):
                await (await self._docker.networks.get(self._network)).show()
        except DriverError:
            await self._docker.close()
            raise
        self._events = asyncio.create_task(self._watch())

    async def _find_project(self) -> None:
        """Set the compose project: the configured one, or that of this container, or ``DEFAULT_PROJECT``."""
        try:
            own = await (self._docker.containers.container(socket.gethostname())).show()
        except aiodocker.DockerError:
            labels: dict[str, str] = {}
        else:
            labels = own["Config"]["Labels"]
            self._owner, self._own_image = str(own["Id"]), str(own["Image"])
        self._inherited = {name: labels[name] for name in INHERITED if name in labels}
        self._project = self._project or labels.get("com.docker.compose.project", DEFAULT_PROJECT)
        self._network = self._network or f"{self._project}_machines"

    async def _leftovers(self) -> list[Any]:
        project, found = f"com.docker.compose.project={self._project}", []
        for labels in ([f"com.docker.compose.service={SERVICE}", MACHINE_LABEL], [HOLDER_LABEL]):
            filters = json.dumps({"label": [project, *labels]})
            async with _errors("containers cannot be listed"):
                found += await self._docker.containers.list(all=1, filters=filters)
        return found

    async def _remove_leftovers(self) -> None:
        for container in await self._leftovers():
            await self._delete(container.id)

    async def close(self) -> None:
        if self._events:
            self._events.cancel()
        await self._remove_leftovers()
        await self._docker.close()

    async def _watch(self) -> None:
        """Report what only the engine's events show: a child process killed because of memory, and a container that
        another program removed."""
        labels = [f"com.docker.compose.project={self._project}", MACHINE_LABEL]
        filters = json.dumps({"event": ["oom", "destroy"], "label": labels})
        subscription = self._docker.events.subscribe(filters=filters)
        try:
            while (event := await subscription.get()) is not None:
                machine = event["Actor"]["Attributes"][MACHINE_LABEL]
                if self._ids.get(machine) != event["Actor"]["ID"]:
                    continue  # an earlier container, or one that the driver itself removes
                if event["Action"] == "oom":
                    self.notice(machine, "oom")
                else:
                    self._ids.pop(machine)
                    self.notice(machine, "removed")
        finally:
            await self._docker.events.stop()

    @property
    def owner(self) -> str:
        return self._owner

    @property
    def checkout(self) -> str:
        return self._inherited.get("com.docker.compose.project.working_dir", "")

    async def resolve(self, image: str | None, source: Path | None) -> Image:
        if source is not None:
            raise DriverError("the docker driver cannot run a source folder: give an image, or use the process driver")
        name = image or self._image
        async with _errors(f"there is no image {name} on this engine: build it first (docker compose build {SERVICE})"):
            found = await self._inspect(name)
        labels = (found.get("Config") or {}).get("Labels") or {}
        digest = str(found["Id"])
        return Image(
            f"{name.partition('@')[0]}@{digest}", digest, labels.get(COMMIT_LABEL, ""), VARIANT_LABEL in labels
        )

    async def _inspect(self, name: str) -> dict[str, Any]:
        """Inspect an image. ``name@digest`` may have the engine's image id as digest, as local images have no other."""
        try:
            return dict(await self._docker.images.inspect(name))
        except aiodocker.DockerError as error:
            digest = name.partition("@")[2]
            if error.status != 404 or not digest:
                raise
            return dict(await self._docker.images.inspect(digest))

    async def exists(self, image: Image) -> bool:
        try:
            await self._docker.images.inspect(image.digest)
        except aiodocker.DockerError as error:
            if error.status == 404:
                return False
            raise DriverError(f"image {image.ref} cannot be looked up: {error.message}") from error
        return True

    async def start(self, spec: MachineSpec) -> Address:
        kept = spec.goes_on_from(self._ran.get(spec.id)) and spec.id in self._ids
        if not kept:
            await self.remove(spec.id)
        self._signalled.discard(spec.id)
        async with _errors(f"Machine {spec.id} cannot be started"):
            container = self._container(spec.id) if kept else await self._create(spec)
            await container.start()
            shown = await container.show()
        if shown["Image"] != spec.image.digest:
            raise DriverError(
                f"Machine {spec.id} runs image {shown['Image']}, expected {spec.image.digest} of the release"
            )
        address = shown["NetworkSettings"]["Networks"][self._network]["IPAddress"]
        if not address and not spec.once:
            state = shown["State"]
            raise DriverError(f"Machine {spec.id} ended immediately: exit code {state['ExitCode']} {state['Error']}")
        self._ports[spec.id] = spec.internal_port
        if spec.debug:
            self._debugged[spec.id] = (address, DEBUG_PORT)
        return address, spec.internal_port

    async def _create(self, spec: MachineSpec) -> Any:
        """Create the container, and copy the CA, ``[[files]]`` and debugpy into it."""
        if spec.debug:
            spec = replace(spec, environment=await self._debug_environment(spec))
        folder = self.checkout or self._root
        config = container_config(spec, spec.image.digest, self._project, self._network, self._inherited, folder)
        container = await self._docker.containers.create(config, name=container_name(self._project, spec))
        self._ids[spec.id], self._ran[spec.id] = container.id, spec
        if self._ca_path:
            await container.put_archive("/", file_archive(self._ca_path, self._ca.read_bytes()))
        for path, data in spec.files:
            await container.put_archive("/", file_archive(path, data))
        if spec.debug:
            await container.put_archive("/", io.BytesIO(await asyncio.to_thread(kit.archive, DEBUG_FOLDER)))
        return container

    async def _debug_environment(self, spec: MachineSpec) -> dict[str, str]:
        """The environment with debugpy. It keeps the image's PYTHONPATH."""
        image = await self._docker.images.inspect(spec.image.digest)
        own = dict(line.split("=", 1) for line in (image.get("Config") or {}).get("Env") or [] if "=" in line)
        kept = {name: own[name] for name in ("PYTHONPATH",) if name in own}
        return kit.environment({**kept, **spec.environment}, DEBUG_FOLDER, f"0.0.0.0:{DEBUG_PORT}")

    def debug_address(self, machine_id: str) -> Address | None:
        return self._debugged.get(machine_id)

    def _container(self, machine_id: str) -> Any:
        if machine_id not in self._ids:
            raise DriverError(f"Machine {machine_id} has no container: another program removed it")
        return self._docker.containers.container(self._ids[machine_id])

    async def wait(self, machine_id: str) -> Exit:
        container = self._container(machine_id)
        try:
            code = int((await container.wait())["StatusCode"])
            state = (await container.show())["State"]
        except (aiodocker.DockerError, aiohttp.ClientError):
            return Exit(137, removed=True)
        removed = machine_id not in self._signalled and await self._vanishes(container)
        return Exit(code, bool(state["OOMKilled"]), removed)

    async def _vanishes(self, container: Any) -> bool:
        """Whether another program is removing the ended container, as ``docker compose up`` does."""
        try:
            async with asyncio.timeout(VANISH_S):
                await container.wait(condition="removed")
        except TimeoutError:
            return False
        except aiodocker.DockerError as error:
            return bool(error.status == 404)
        except aiohttp.ClientError:
            return False
        return True

    async def signal(self, machine_id: str, name: str) -> None:
        if machine_id not in self._ids:
            return
        self._signalled.add(machine_id)
        try:
            await self._container(machine_id).kill(signal=name)
        except aiodocker.DockerError as error:
            if error.status not in (404, 409):  # it has already ended
                raise DriverError(f"Machine {machine_id} cannot be sent {name}: {error.message}") from error

    async def suspend(self, machine_id: str) -> Address | None:
        """Freeze the container and give it another address on the network.

        The new address makes its open connections dead, because on Fly no connection survives a suspend.
        """
        container = self._container(machine_id)
        async with _errors(f"Machine {machine_id} cannot be suspended"):
            await container.pause()
            return await self._move(container), self._ports[machine_id]

    async def _move(self, container: Any) -> str:
        """Give the container another address. Helper containers reserve the old one, or Docker would reuse it."""
        network = await self._docker.networks.get(self._network)
        before = await self._address(container)
        await network.disconnect({"Container": container.id, "Force": True})
        holders: list[Any] = []
        try:
            while len(holders) < MOST_HOLDERS and before not in [await self._address(one) for one in holders]:
                holders.append(await self._holder())
            await network.connect({"Container": container.id, "EndpointConfig": {"Aliases": [SERVICE]}})
        finally:
            for one in holders:
                await one.delete(force=True)
        return await self._address(container)

    async def _holder(self) -> Any:
        """A helper container that only reserves an address on the network."""
        config = {
            "Image": self._own_image or (await self._docker.images.inspect(self._image))["Id"],
            "Entrypoint": ["sleep"],
            "Cmd": ["60"],
            "Labels": {"com.docker.compose.project": self._project, HOLDER_LABEL: "1"},
            "HostConfig": {"NetworkMode": self._network},
        }
        holder = await self._docker.containers.create(config)
        await holder.start()
        return holder

    async def _address(self, container: Any) -> str:
        networks = (await container.show())["NetworkSettings"]["Networks"]
        return str(networks.get(self._network, {}).get("IPAddress", ""))

    async def resume(self, machine_id: str) -> None:
        async with _errors(f"Machine {machine_id} cannot be resumed"):
            await self._container(machine_id).unpause()

    async def limit_cpu(self, machine_id: str, share: float) -> None:
        path = f"containers/{self._container(machine_id).id}/update"
        body = {"CpuPeriod": CPU_PERIOD_US, "CpuQuota": cpu_quota(share)}
        async with _errors(f"Machine {machine_id}: the engine does not set its CPU quota"):
            await self._docker._query_json(path, method="POST", data=body)

    async def cpu_seconds(self, machine_id: str) -> float | None:
        if machine_id not in self._ids:
            return None
        try:
            stats = await self._docker._query_json(
                f"containers/{self._ids[machine_id]}/stats", params={"stream": "false", "one-shot": "true"}
            )
        except (aiodocker.DockerError, aiohttp.ClientError):
            return None
        return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

    async def remove(self, machine_id: str) -> None:
        self._debugged.pop(machine_id, None)
        container_id = self._ids.pop(machine_id, None)
        self._ran.pop(machine_id, None)
        if container_id is None:
            return
        lines = await self._container_log(container_id, KEPT_LINES)
        with LogFile(self._logs, machine_id).appending() as file:
            file.writelines(f"{line}\n".encode() for line in lines)
        await self._delete(container_id)

    async def _delete(self, container_id: str) -> None:
        container = self._docker.containers.container(container_id)
        try:
            try:
                await container.delete(force=True, v=True)
            except aiodocker.DockerError as error:
                if error.status != 409:
                    raise
                await container.wait(condition="removed")  # another program is removing it
        except aiodocker.DockerError as error:
            if error.status != 404:
                raise DriverError(f"container {container_id[:12]} cannot be removed: {error.message}") from error

    async def _container_log(self, container_id: str, tail: int) -> list[str]:
        container = self._docker.containers.container(container_id)
        try:
            pieces = await container.log(stdout=True, stderr=True, tail=tail)
        except aiodocker.DockerError:
            return []
        return "".join(pieces).splitlines()

    async def logs(self, machine_id: str, tail: int) -> list[str]:
        lines = LogFile(self._logs, machine_id).tail(tail)
        if machine_id in self._ids:
            lines += await self._container_log(self._ids[machine_id], tail)
        return lines[-tail:] if tail else []


@asynccontextmanager
async def _errors(problem: str) -> AsyncIterator[None]:
    """Turn errors of the engine into ``DriverError`` with ``problem``."""
    try:
        yield
    except aiodocker.DockerError as error:
        raise DriverError(f"{problem}: {error.message}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise DriverError(f"{problem}: {error}") from error
