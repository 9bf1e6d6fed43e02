"""Containers: processes of Modal's own runtime, each with its files, its secrets and its identity."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import shutil
import signal
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from parity.debug import kit
from parity.debug.relay import Address, Relay
from parity.modal.config import WorkerConfig
from parity.modal.messages import FILES, Exited, Start
from parity.modal.transport_names import TASK_HEADER

# The variables of the worker that a container inherits. The others would not exist on Modal.
_INHERITED = ("PATH", "HOME", "LANG", "TZ")
_LOG_LINES = 30
_NOT_STARTED = 126
# How long a container waits for a debugger that waits for a process: attaching takes seconds on a busy machine. Another
# container may get that debugger, so the wait has an end.
ATTACH_S = 30.0

OnExit = Callable[[Exited], Awaitable[None]]


def container_environment(
    config: WorkerConfig, order: Start, folder: Path, root: Path, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """A container's variables. By a setting, the SDK sends its identity as a header of every RPC."""
    trust = {"AWS_CA_BUNDLE": str(config.trust)} if config.trust.exists() else {}
    return {
        **{name: environ[name] for name in _INHERITED if name in environ},
        **trust,
        **order.environment,
        "PYTHONPATH": str(root),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder),
        "MODAL_IS_REMOTE": "1",
        "MODAL_SERVER_URL": config.url,
        "MODAL_OVERRIDE_HEADERS": f"{TASK_HEADER}:{order.header}",
        "MODAL_CONTAINER_ARGUMENTS_PATH": str(folder / "arguments.pb"),
        "MODAL_CONFIG_PATH": os.devnull,
        "MODAL_TASK_ID": order.task_id,
        "MODAL_FUNCTION_ID": order.function_id,
        "MODAL_IMAGE_ID": order.image_id,
        "MODAL_ENVIRONMENT": "main",
    }


def debug_environment(
    config: WorkerConfig, given: Mapping[str, str], listen: Address, *, wait_s: float
) -> dict[str, str]:
    """A container's variables, so that it listens for a debugger, which has ``wait_s`` seconds to attach before a call
    runs.

    The functions are imported from the checkout: breakpoints are set in its files, not in the copies of a deploy.
    """
    folder = kit.lay_out(config.work_dir / "debug")
    path = os.pathsep.join([str(config.entry.parent), *map(str, config.pythonpath), given["PYTHONPATH"]])
    return kit.environment({**given, "PYTHONPATH": path}, str(folder), f"{listen[0]}:{listen[1]}", wait_s)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def container_command(python: str, setpriv: str | None) -> list[str]:
    """Modal's runtime. With setpriv (util-linux) the kernel ends it when the worker is killed."""
    tie = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    return [*tie, python, "-m", "modal._container_entrypoint"]


@dataclass(eq=False)
class Container:
    """One container process, from the order to start it until it has ended."""

    order: Start
    folder: Path
    process: asyncio.subprocess.Process | None = None
    stopped_by: signal.Signals | None = None
    debugged: Address | None = None
    expects: bool = False  # its call does not run before a debugger has attached
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children. A container that was not started yet is then never started."""
        self.stopped_by = number
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


class Containers:
    """Every container of this worker."""

    def __init__(self, config: WorkerConfig, on_exit: OnExit) -> None:
        self._config, self._on_exit = config, on_exit
        self._running: dict[str, Container] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._setpriv = shutil.which("setpriv")
        self._debug = False
        self._relay = Relay(self._debugged)
        shutil.rmtree(config.work_dir / "tasks", ignore_errors=True)
        headers = {"Authorization": f"Bearer {config.token_id}:{config.token_secret}"}
        self._http = httpx.AsyncClient(base_url=config.blob_url, headers=headers, trust_env=False, timeout=30.0)

    @property
    def running(self) -> dict[str, str]:
        """Container → function."""
        return {task_id: container.order.function_id for task_id, container in self._running.items()}

    async def debug(self, *, on: bool) -> None:
        """Let containers that start from now on listen for a debugger, or no more.

        Raises ``OSError`` for a port that is taken.
        """
        if on:
            await self._relay.open(*self._config.debug_listen)
        else:
            await self._relay.close()
        self._debug = on

    def _debugged(self) -> list[Address]:
        """Those that wait for a debugger, then the newest, because a person most likely debugs the newest call."""
        newest = [one for one in reversed(self._running.values()) if one.debugged]
        return [one.debugged for one in sorted(newest, key=lambda one: not one.expects) if one.debugged]

    def start(self, order: Start) -> None:
        """Start a container in the background; ``on_exit`` is called when it ends, also if it could not be started."""
        container = Container(order, self._config.work_dir / "tasks" / order.task_id)
        self._running[order.task_id] = container
        task = asyncio.create_task(self._run(container))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self, task_id: str, number: int) -> None:
        """Signal a container; does nothing when it has already ended."""
        container = self._running.get(task_id)
        if container is not None:
            container.signal(signal.Signals(number))

    async def close(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End every container and wait until all are gone."""
        await self._relay.close()
        for container in self._running.values():
            container.signal(number)
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _run(self, container: Container) -> None:
        order, code = container.order, _NOT_STARTED
        try:
            root = await self._files(order)
            container.folder.mkdir(parents=True)
            (container.folder / "arguments.pb").write_bytes(base64.b64decode(order.arguments))
            code = await self._process(container, root)
        except (OSError, httpx.HTTPError) as error:
            container.log.append(f"{type(error).__name__}: {error}")
        finally:
            del self._running[order.task_id]
            shutil.rmtree(container.folder, ignore_errors=True)
        await self._on_exit(Exited(order.task_id, code, "\n".join(container.log)))

    async def _process(self, container: Container, root: Path) -> int:
        if container.stopped_by is not None:
            return -container.stopped_by
        environment = container_environment(self._config, container.order, container.folder, root)
        if self._debug:
            container.debugged = ("127.0.0.1", _free_port())
            # Without a debugger that waits, the call runs at once.
            expecting = [one.debugged for one in self._running.values() if one.expects and one.debugged]
            unserved = [address for address in expecting if not self._relay.serves(address)]
            container.expects = self._relay.waiting > len(unserved)
            wait_s = ATTACH_S if container.expects else 0.0
            environment = debug_environment(self._config, environment, container.debugged, wait_s=wait_s)
        process = await asyncio.create_subprocess_exec(
            *container_command(self._config.python, self._setpriv),
            cwd=container.folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        container.process = process
        if container.stopped_by is not None:
            container.signal(container.stopped_by)
        output = process.stdout
        assert output is not None
        while line := await _line(output):
            container.log.append(line.rstrip())
            print(f"{container.order.task_id} | {line.rstrip()}", flush=True)  # noqa: T201
        return await process.wait()

    async def _files(self, order: Start) -> Path:
        """A folder with the files of the function's mounts, shared by all containers that have the same ones."""
        digest = hashlib.sha256(repr(sorted(order.files.items())).encode()).hexdigest()[:32]
        folder = self._config.work_dir / "roots" / digest
        if not folder.exists():
            building = folder.with_name(f".{order.task_id}")
            for name, sha256 in order.files.items():
                target = building / name.lstrip("/")
                if ".." in target.parts:
                    raise OSError(f"a mount names a path outside its container: {name}")
                target.parent.mkdir(parents=True, exist_ok=True)
                answer = (await self._http.get(f"{FILES}/{sha256}")).raise_for_status()
                target.write_bytes(answer.content)
            (building / "root").mkdir(parents=True, exist_ok=True)
            # Two containers may have built it at once: the second finds the first's.
            with contextlib.suppress(OSError):
                building.rename(folder)
            shutil.rmtree(building, ignore_errors=True)
        return folder / "root"


async def _line(output: asyncio.StreamReader) -> str:
    try:
        return (await output.readline()).decode(errors="replace")
    except ValueError:
        return "(a line that is too long to show)\n"
