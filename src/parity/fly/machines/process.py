"""Runs Machines as subprocesses, each in its own process group with a temporary root folder. Linux and macOS.

It does not reproduce the image: its packages, its user, the memory limit, the network.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from parity.debug import kit
from parity.fly.machines.driver import Address, DriverError, Exit, Image, MachineSpec, ignore_notice
from parity.fly.machines.log_file import LogFile

# Not copied into a Machine, because an image does not contain these either.
NOT_COPIED = ("user_data", "__pycache__", ".venv", "venv", "node_modules", ".git", ".pytest_cache", ".mypy_cache")
# The only variables of the stand-in's environment that a Machine gets: search paths and locale.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
_PDEATHSIG = 1


@dataclass
class _Running:
    process: asyncio.subprocess.Process
    root: Path
    debugged: Address | None = None


class ProcessDriver:
    """Runs ``command``, with ``{python}``, ``{host}``, ``{port}`` and ``{root}`` replaced, in a new copy of the source.

    ``directory`` is the source, relative to ``checkout``. The copy has the same relative path in the Machine's root
    folder, so that paths that the app computes from ``__file__`` stay inside it. If the source is the whole checkout or
    outside of it, the copy is in the folder ``source``. ``host`` is the address of Machines, ``python`` the
    interpreter, ``env`` the ENV of the Dockerfile.
    """

    name = "process"
    runs_images = False

    def __init__(
        self,
        checkout: Path,
        directory: str,
        command: list[str],
        state_dir: Path,
        host: str = "127.0.0.1",
        python: Path | str = sys.executable,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._checkout, self._directory, self._command, self._host = checkout, directory, command, host
        self._python = str(python)
        self._env = dict(env or {})
        source, whole = (checkout / directory).resolve(), checkout.resolve()
        below = source != whole and source.is_relative_to(whole)
        self._place = str(source.relative_to(whole)) if below else "source"
        self._state_dir = state_dir.resolve()
        self._machines = state_dir / "machines"
        self._logs = state_dir / "logs"
        self._running: dict[str, _Running] = {}
        self._ran: dict[str, MachineSpec] = {}  # the specification of the last start of each Machine
        self.notice: Callable[[str, str], None] = ignore_notice

    async def open(self) -> None:
        for pid_file in self._machines.glob("*/pid"):
            _end_leftover(pid_file)
        shutil.rmtree(self._machines, ignore_errors=True)
        self._machines.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)

    async def close(self) -> None:
        for machine_id in list(self._running):
            await self.remove(machine_id)

    @property
    def owner(self) -> str:
        return ""

    @property
    def checkout(self) -> str:
        return str(self._checkout)

    async def exists(self, image: Image) -> bool:  # noqa: ARG002 - required by the interface
        return True

    async def resolve(self, image: str | None, source: Path | None) -> Image:
        if image is not None:
            raise DriverError("the process driver cannot run an image: give a source folder, or use the docker driver")
        folder = self._source(source)
        if not folder.is_dir():
            raise DriverError(f"{folder} is not a folder: expected the backend's source")
        return Image(f"process:{folder}")

    def _source(self, source: Path | None) -> Path:
        return source if source is not None else self._checkout / self._directory

    async def start(self, spec: MachineSpec) -> Address:
        root = self._machines / spec.id
        # Its own folder for temporary files, so that it does not find files of an earlier Machine.
        workdir, home, temporary = root / self._place, root / "home", root / "tmp"
        if spec.goes_on_from(self._ran.get(spec.id)) and home.is_dir():
            await self._end(spec.id)
        else:
            await self.remove(spec.id)
            if spec.debug:  # run the files of the working tree, because breakpoints are set there
                root.mkdir(parents=True)
            else:
                await self._copy(spec, workdir)
            home.mkdir()
            temporary.mkdir(exist_ok=True)
        self._ran[spec.id] = spec
        workdir = self._source(spec.source).resolve() if spec.debug else workdir
        port = _free_port(self._host)
        values = self._values(port)
        words = command_words(list(spec.command) or self._command, values)
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        # As in an image, `python` and the programs of its packages are those of the app.
        environment["PATH"] = os.pathsep.join([str(Path(self._python).parent), environment.get("PATH", os.defpath)])
        environment |= {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
        own = dict(zip(self._env, command_words(list(self._env.values()), values), strict=True))
        # A variable with {port}, {host} or another placeholder keeps the harness's value, even if fly.toml sets it.
        places = {name: value for name, value in own.items() if value != self._env[name]}
        for path in _folders(own):
            (workdir / path).mkdir(parents=True, exist_ok=True)
        environment |= {**own, **spec.environment, **places}
        debugged = (self._host, _free_port(self._host)) if spec.debug else None
        if debugged:
            folder = kit.lay_out(self._state_dir / "debug")
            environment = kit.environment(environment, str(folder), f"{debugged[0]}:{debugged[1]}")
        with LogFile(self._logs, spec.id).appending() as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *words,
                    cwd=workdir,
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_die_with_parent(),
                )
            except OSError as error:
                key = "a command" if spec.command else "app.process.command"
                raise DriverError(f"{key} of parity.toml cannot be run: {words[0]}: {error}") from error
        (root / "pid").write_text(f"{process.pid} {_start_time(process.pid)}")
        self._running[spec.id] = _Running(process, root, debugged)
        return self._host, port

    async def _copy(self, spec: MachineSpec, workdir: Path) -> None:
        source = self._source(spec.source)
        try:
            await asyncio.to_thread(shutil.copytree, source, workdir, ignore=self._not_copied, symlinks=True)
        except OSError as error:
            raise DriverError(f"{source} cannot be copied for Machine {spec.id}: {error}") from error

    def _values(self, port: int) -> dict[str, str]:
        return {"python": self._python, "host": self._host, "port": str(port), "root": str(self._checkout)}

    def _not_copied(self, folder: str, names: list[str]) -> set[str]:
        """Names to skip: also the stack's state folder, because a copy of it would contain itself."""
        state = {name for name in names if (Path(folder) / name).resolve() == self._state_dir}
        return {name for name in names if name in NOT_COPIED} | state

    async def wait(self, machine_id: str) -> Exit:
        running = self._running[machine_id]
        code = await running.process.wait()
        # Its child processes end with it, as in a VM.
        _kill_group(running.process.pid, signal.SIGKILL)
        return Exit(128 - code if code < 0 else code)

    async def signal(self, machine_id: str, name: str) -> None:
        running = self._running.get(machine_id)
        if running is None or running.process.returncode is not None:
            return
        number = signal.Signals[name]
        if number is signal.SIGKILL:
            _kill_group(running.process.pid, number)
        else:
            running.process.send_signal(number)

    async def suspend(self, machine_id: str) -> Address | None:
        _kill_group(self._running[machine_id].process.pid, signal.SIGSTOP)
        return None

    async def resume(self, machine_id: str) -> None:
        _kill_group(self._running[machine_id].process.pid, signal.SIGCONT)

    def debug_address(self, machine_id: str) -> Address | None:
        running = self._running.get(machine_id)
        return running.debugged if running and running.process.returncode is None else None

    async def limit_cpu(self, machine_id: str, share: float) -> None:  # noqa: ARG002 - the interface's
        raise DriverError("processes have no CPU quota: PARITY_FLY_CPU needs the docker driver")

    async def cpu_seconds(self, machine_id: str) -> float | None:  # noqa: ARG002 - the interface's
        return None

    async def _end(self, machine_id: str) -> None:
        """Kill the Machine's processes and keep its files."""
        running = self._running.pop(machine_id, None)
        if running:
            _kill_group(running.process.pid, signal.SIGKILL)
            await running.process.wait()

    async def remove(self, machine_id: str) -> None:
        await self._end(machine_id)
        self._ran.pop(machine_id, None)
        await asyncio.to_thread(shutil.rmtree, self._machines / machine_id, ignore_errors=True)

    async def logs(self, machine_id: str, tail: int) -> list[str]:
        return LogFile(self._logs, machine_id).tail(tail)


def command_words(command: list[str], values: dict[str, str]) -> list[str]:
    """``command`` with each ``{name}`` of ``values`` replaced. Other braces stay."""
    words = []
    for word in command:
        for name, value in values.items():
            word = word.replace(f"{{{name}}}", value)
        words.append(word)
    return words


def _folders(variables: Mapping[str, str]) -> list[str]:
    """The folders of relative paths among these values, such as ``data`` for ``data/`` and ``data/app.db``.

    On Fly the image or a volume has these folders, so an app may not create them itself.
    """
    paths = [value for value in variables.values() if "/" in value and "://" not in value and not value.startswith("/")]
    return [path.rpartition("/")[0] for path in paths if ".." not in path.split("/")]


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _kill_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # the group is gone


def _die_with_parent() -> Callable[[], None] | None:
    """A ``preexec_fn`` that makes the kernel kill the child when the stand-in dies. None except on Linux."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PDEATHSIG, int(signal.SIGKILL))

    return prepare


def _start_time(pid: int) -> str:
    """Start time of a process in clock ticks; it distinguishes a leftover from a new process with the same id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _end_leftover(pid_file: Path) -> None:
    words = pid_file.read_text().split()
    if len(words) == 2 and words[1] == _start_time(int(words[0])):
        _kill_group(int(words[0]), signal.SIGKILL)
