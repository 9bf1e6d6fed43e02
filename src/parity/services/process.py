"""Runs a service as a process of this machine: prepares its data once, starts it, waits until it is ready, stops it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from parity.config.parity_toml import Service
from parity.services.errors import ServiceError

HOST = "127.0.0.1"
START_S = 60.0
STOP_S = 15.0
_POLL_S = 0.1
_TAIL = 15
_PDEATHSIG = 1
# The variables that a service inherits from the stand-in's environment.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")


class ServiceProcess:
    """``state`` is the folder of the service; ``root`` the folder of ``parity.toml``. Raises ``ServiceError``."""

    def __init__(
        self, name: str, service: Service, state: Path, root: Path, python: Path | str = sys.executable
    ) -> None:
        self.name, self.service, self._root, self._python = name, service, root, str(python)
        self._state = state
        self._log = state / "log"
        self._user = _other_user(name, service)
        self.port = 0
        self._new = False
        self._process: asyncio.subprocess.Process | None = None

    @property
    def data(self) -> Path:
        """Its folder. Another user than root may not reach into the checkout, so that one has it elsewhere."""
        if self._user is None:
            return self._state / "data"
        return Path(tempfile.gettempdir()) / f"parity-{self._user.pw_name}-{_short(self._state)}"

    async def start(self) -> None:
        """Start the service and wait until it is ready."""
        self._state.mkdir(parents=True, exist_ok=True)
        self._log.write_bytes(b"")
        (self._state / "place").write_text(str(self.data), "utf-8")
        self.port = _free_port()
        self.data.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self.data, self._user.pw_uid, self._user.pw_gid)
            self.data.chmod(0o700)
        await self._prepare()
        self._process = await self._spawn(self.service.command)
        await self._until_ready()

    async def stop(self) -> None:
        """Send SIGTERM to the service's process group, and SIGKILL after ``STOP_S`` seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                _kill_group(process.pid)
                await process.wait()
        _kill_group(process.pid)

    def forget(self) -> None:
        """Delete the data. The next start prepares new data."""
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self._state, ignore_errors=True)

    @property
    def new(self) -> bool:
        """Whether this start prepared an empty folder."""
        return self._new

    async def _prepare(self) -> None:
        self._new = not any(self.data.iterdir())
        if not self._new or not self.service.prepare:
            return
        process = await self._spawn(self.service.prepare)
        if await process.wait():
            shutil.rmtree(self.data, ignore_errors=True)  # half prepared is not prepared
            raise self._failed(f"its prepare command ended with {process.returncode}")

    async def _until_ready(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process is None or self._process.returncode is not None:
                code = self._process.returncode if self._process else "nothing"
                raise self._failed(f"its command ended with {code}")
            if await self._is_ready():
                return
            await asyncio.sleep(_POLL_S)
        await self.stop()
        raise self._failed(f"it was not ready within {START_S:g} s")

    async def _is_ready(self) -> bool:
        if self.service.ready:
            process = await self._spawn(self.service.ready)
            return await process.wait() == 0
        try:
            _, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def _spawn(self, command: Sequence[str]) -> asyncio.subprocess.Process:
        values = {"python": self._python, "host": HOST, "port": self.port, "root": self._root, "data": self.data}
        words = [_filled(word, values) for word in command]
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["PATH"] = search_path(os.environ.get("PATH", os.defpath))
        words[0] = shutil.which(words[0], path=environment["PATH"]) or words[0]
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        with self._log.open("ab") as log:
            try:
                return await asyncio.create_subprocess_exec(
                    *words,
                    cwd=self.data,
                    env={**environment, "HOME": str(self.data)},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_die_with_parent(),
                    **user,  # type: ignore[arg-type]  # numbers and a list, by name
                )
            except OSError as error:
                raise ServiceError(
                    f"service {self.name}: {words[0]} cannot be run ({error.strerror}): "
                    f"install it, or correct services.{self.name} of parity.toml"
                ) from None

    def _failed(self, what: str) -> ServiceError:
        lines = self._log.read_text("utf-8", "replace").splitlines()[-_TAIL:]
        return ServiceError("\n    ".join([f"service {self.name}: {what}; its last lines:", *(lines or ["(none)"])]))


def _other_user(name: str, service: Service) -> pwd.struct_passwd | None:
    """Whom it runs as, where this process is root and the service declares another user."""
    if not service.user or os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(service.user)
    except KeyError:
        raise ServiceError(
            f"service {name}: there is no user {service.user!r} on this machine (services.{name}.user of parity.toml)"
        ) from None


def _die_with_parent() -> Callable[[], None] | None:
    """To run in the child: the kernel ends it when the stand-in dies, so that none outlives its stack. Linux only."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PDEATHSIG, int(signal.SIGKILL))

    return prepare


def search_path(path: str, debian: Path = Path("/usr/lib/postgresql")) -> str:
    """``path`` with Debian's folders of PostgreSQL's server programs, which it keeps off PATH, newest version first."""
    folders = [folder for folder in debian.glob("*/bin") if folder.parent.name.isdigit()]
    newest_first = sorted(folders, key=lambda folder: -int(folder.parent.name))
    return os.pathsep.join([path, *map(str, newest_first)])


def _filled(word: str, values: dict[str, object]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", str(value))
    return word


def _short(path: Path) -> str:
    """The same in every run for one path."""
    return f"{zlib.crc32(str(path).encode()):08x}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nothing of it is left
