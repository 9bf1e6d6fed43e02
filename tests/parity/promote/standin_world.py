"""A Fly stand-in whose images are folders, and promotions to it: with flyctl where PATH has one, else with its double.

The stand-in runs in a loop of its own, in a thread: promotions belong to the main thread, which gets the signals.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from starlette.applications import Starlette
from tests.parity.fly.support import PATIENT

from parity.admin.app import serving
from parity.certs import Certificates, ensure_certificates
from parity.config.fly_toml import load_fly_config
from parity.config.flyctl import flyctl_environment
from parity.fly.api.registry import Registry
from parity.fly.api.web import api_routes
from parity.fly.machines.driver import Address, DriverError, Image, MachineSpec
from parity.fly.machines.log_file import LogFile
from parity.fly.machines.process import ProcessDriver
from parity.fly.machines.state import State
from parity.fly.server import Standin, loopback_peers, standin
from parity.fly.settings import load_fly_settings
from parity.promote.commands import Promotion
from parity.promote.interrupt import interruptible
from parity.promote.journal import Journal, only_one
from parity.promote.run import Ended, Patience, Run
from parity.promote.runner import promote
from parity.promote.shell import Shell, private_fly_environment

HERE = Path(__file__).parent / "standin"
SOURCE_ROOT = Path(__file__).parents[3] / "src"
FLYCTL = shutil.which("fly")
APP = "tiny"
SECRETS = {"R2_BUCKET": "b", "MODAL_TOKEN_ID": "m"}
FLY_TOML = """
app = "tiny"
primary_region = "lax"
kill_timeout = 2
{top}
[env]
COLOUR = "red"
[http_service]
internal_port = 8080
force_https = true
auto_start_machines = true
min_machines_running = 0
[[http_service.checks]]
path = "/health"
interval = "1s"
timeout = "60s"
grace_period = "2s"
[[vm]]
memory_mb = 256
"""
# A promotion starts some ten processes before it replaces a Machine.
DEADLINE_S = 300.0

T = TypeVar("T")


class FolderImages(ProcessDriver):
    """Images are folders: what the registry holds under a reference names one by its config digest."""

    runs_images = True
    owner = "world"  # a restart of the stand-in goes on with what it knew

    def __init__(self, folder: Path, registry: Registry, host: str) -> None:
        (folder / "configured").mkdir(parents=True, exist_ok=True)
        command = ["{python}", "server.py", "{host}", "{port}"]
        super().__init__(folder, "configured", command, folder / "state", host)
        self.folders: dict[str, Path] = {}
        self._registry = registry

    async def resolve(self, image: str | None, source: Path | None) -> Image:
        if image is None:
            return await super().resolve(None, source)
        digest = image.rpartition("@")[2]
        found = self._registry.manifest(APP, digest)
        if found is None:
            raise DriverError(f"there is no image {image}")
        return Image(image, digest, str(json.loads(found[0])["config"]["digest"]))

    def logs_of(self, machine_id: str) -> Path:
        """Where a Machine's output goes."""
        return LogFile(self._logs, machine_id).path

    async def start(self, spec: MachineSpec) -> Address:
        return await super().start(replace(spec, source=self.folders[spec.image.commit]))


@dataclass
class World:
    """One app on the stand-in. ``said`` is what promotions told."""

    folder: Path
    loop: asyncio.AbstractEventLoop
    fly: Standin
    driver: FolderImages
    admin_url: str
    edge_url: str
    ca: Path
    restarts: Callable[[], tuple[Standin, FolderImages]]
    said: list[str] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)
    extra_environ: dict[str, str] = field(default_factory=dict)
    live: int = 0
    top: str = ""
    secrets: tuple[str, ...] = tuple(SECRETS)

    def image(self, commit: str, **more: Any) -> str:
        """Make an image; returns its config digest."""
        digest = f"sha256:{hashlib.sha256(json.dumps([commit, more]).encode()).hexdigest()}"
        source = self.folder / "images" / digest[7:19]
        source.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "server.py", source)
        (source / "image.json").write_text(json.dumps({"commit": commit, **more}))
        self.driver.folders[digest] = source
        return digest

    def promotion(self, image: str) -> Promotion:
        """Of an image that is on this machine, with the commit that it was made of."""
        commit = json.loads((self.driver.folders[image] / "image.json").read_text())["commit"]
        made = Promotion(
            target="staging",
            app=APP,
            config=self.folder / "fly.toml",
            image=image,
            config_digest=image,
            tag=image[7:19],
            wait_timeout_s=60,
            python=str(HERE / "bin" / "checks"),
            registry=self.environ()["FLY_REGISTRY_HOST"],
            commit=commit,
            version_url=f"{self.edge_url}/version",
            version_key="commit",
            ca=self.ca,
        )
        return replace(made, **self.changes)

    def environ(self) -> dict[str, str]:
        path = os.pathsep.join([str(HERE / "bin"), str(self.folder / "bin"), os.environ["PATH"]])
        own = {
            "PATH": path,
            "HOME": str(self.folder),
            "DOUBLES": str(self.folder),
            "PYTHONPATH": str(SOURCE_ROOT),
            "FLY_DOUBLE_LEASE_DEADLINE_S": "3",
        }
        merged = {**own, **flyctl_environment(self.admin_url), **self.extra_environ}
        return {name: value for name, value in merged.items() if value}

    @property
    def state(self) -> Path:
        return self.folder / "state-of-promotions"

    def promote(self, image: str, said: Callable[[str], None] | None = None) -> Ended:
        """Promote it; what it says goes to ``said``, or is handed on."""
        (self.folder / "live").write_text(str(self.live))
        (self.folder / "fly.toml").write_text(FLY_TOML.format(top=self.top))
        self.said.clear()
        with only_one(self.state), interruptible(), private_fly_environment(self.environ(), self.state) as environ:
            shell = Shell(environ, said or self.said.append)
            patience = Patience(20.0, 0.2)
            run = Run(self.promotion(image), shell, Journal.read(self.state), patience, self.secrets, "secrets.env")
            return promote(run)

    @property
    def text(self) -> str:
        return "\n".join(self.said)

    def serving(self) -> str:
        """The commit that the public URL reports; empty when it does not answer."""
        context = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(f"{self.edge_url}/version", timeout=60, context=context) as answer:
                return str(json.load(answer)["commit"])
        except urllib.error.URLError:
            return ""

    def promote_and_be_killed(self, image: str, at: str) -> None:
        """Promote in a process that is killed as the step ``at`` begins."""
        with self.promoting(image, at) as process:
            said = process.communicate()[0]
            assert process.returncode == -signal.SIGKILL, said

    @contextmanager
    def promoting(self, image: str, at: str = "", state: Path | None = None) -> Iterator[subprocess.Popen[str]]:
        """A promotion in a process of its own: of another checkout, when ``state`` is given."""
        (self.folder / "live").write_text(str(self.live))
        fields = vars(self.promotion(image))
        promotion = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
        folder = str(state or self.state)
        told = {"promotion": promotion, "state": folder, "secrets": list(self.secrets), "at": at}
        command = [sys.executable, str(HERE / "killed.py"), json.dumps(told)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, env=self.environ(), **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def flyctl(self, *arguments: str, stdin: str = "") -> str:
        """What a command of flyctl prints. Raises ``CalledProcessError``."""
        done = subprocess.run(
            ["fly", *arguments], env=self.environ(), input=stdin, capture_output=True, text=True, check=True
        )
        return done.stdout

    def call(self, method: str, path: str) -> None:
        """A call of the API that is not a promotion's."""
        request = urllib.request.Request(self.admin_url + path, method=method)
        urllib.request.urlopen(request, timeout=60).close()

    def machines(self) -> list[Any]:
        return list(self.fly.fleet.machines.values())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the stand-in's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def restart(self) -> None:
        """End the stand-in and start another one on the same state, at the same addresses."""
        self.fly, self.driver = self.restarts()

    def empty(self) -> None:
        """No Machine, as before a first deploy."""
        for machine in self.machines():
            self.do(self.fly.fleet.destroy(machine.id))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
            time.sleep(0.02)

    @property
    def started(self) -> bool:
        return [machine.state for machine in self.machines()] == [State.STARTED]


def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world for a whole file: the body of a fixture."""
    folder = tmp_path_factory.mktemp("world")
    certificates = ensure_certificates(folder / "ca", folder / "trust", ["localhost", "127.0.0.1"])
    with standin_world(folder, certificates) as world:
        yield world


@contextmanager
def standin_world(folder: Path, certificates: Certificates) -> Iterator[World]:
    """An app without a Machine on a stand-in, which ends with the block."""
    (folder / "fly.toml").write_text(FLY_TOML.format(top=""))
    (folder / "bin").mkdir()
    if not FLYCTL:
        double = folder / "bin" / "fly"
        double.write_text(f'#!/bin/sh\nexec {sys.executable} -m parity.flyctl "$@"\n')
        double.chmod(0o755)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    found: dict[str, Any] = {"again": False}

    async def run() -> None:
        edge_peer, check_peer, host = loopback_peers()
        config, folders = load_fly_config(folder / "fly.toml"), {"": folder / "driver/configured"}
        settings = replace(load_fly_settings({}), **PATIENT)
        ports = (0, 0, 0)
        while True:
            driver = FolderImages(folder / "driver", Registry(folder / "driver/state/registry"), host)
            driver.folders = folders
            running = standin(
                config, settings, driver, {**config.env, **SECRETS}, certificates, "127.0.0.1",
                *ports[:2], (edge_peer, check_peer), folder / "driver/state",
            )  # fmt: skip
            shutil.copy(HERE / "server.py", folder / "driver/configured")
            (folder / "driver/configured/image.json").write_text('{"commit": "configured"}')
            async with running as fly:
                for machine in [] if found["again"] else list(fly.fleet.machines):
                    await fly.fleet.destroy(machine)
                routes = api_routes(config, fly.fleet, folder / "driver/state", SECRETS)
                async with serving(Starlette(routes=routes), "127.0.0.1", ports[2]) as port:
                    ports = (fly.ports.https, fly.ports.http, port)
                    over = asyncio.Event()
                    found.update(fly=fly, driver=driver, port=port, again=False, over=over)
                    ready.set()
                    await over.wait()
            if not found["again"]:
                return

    def restarts() -> tuple[Standin, FolderImages]:
        ready.clear()
        found["again"] = True
        loop.call_soon_threadsafe(found["over"].set)
        assert ready.wait(60)
        return found["fly"], found["driver"]

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(run())
        except BaseException as error:  # the test that waits must be told
            found["error"] = error
            raise
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait(60)
    if "error" in found:
        raise found["error"]
    fly = found["fly"]
    try:
        yield World(
            folder, loop, fly, found["driver"], f"http://127.0.0.1:{found['port']}",
            f"https://localhost:{fly.ports.https}", certificates.ca, restarts,
        )  # fmt: skip
    finally:
        loop.call_soon_threadsafe(found["over"].set)
        thread.join(60)
