"""The interface of drivers, which run Machines as containers or as processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol


class DriverError(Exception):
    """The Machine cannot be run; the message says why and what to do."""


@dataclass(frozen=True)
class Image:
    """The image of a release, resolved to a digest once. ``ref`` is the value of ``FLY_IMAGE_REF``.

    ``digest`` is the image that the engine starts, ``commit`` its label; both are empty for a process. ``variant``: a
    check built it as a broken version of the image under test. ``dev``: the working tree is mounted over it.
    """

    ref: str
    digest: str = ""
    commit: str = ""
    variant: bool = False
    dev: bool = False


@dataclass(frozen=True)
class MachineSpec:
    """The specification of a Machine. ``source`` is a folder with the structure of the configured one; None: that one.

    ``command`` replaces the command of the image or of parity.toml. ``once``: it runs one command, which may end
    immediately. ``serves``: the edge tries its port. ``mounts`` are pairs of a path in the checkout and its path in the
    image. ``debug``: it listens for a debugger.
    """

    id: str
    number: int
    image: Image
    source: Path | None
    environment: dict[str, str]
    internal_port: int
    cpus: int
    memory_mb: int
    entrypoint: tuple[str, ...] = ()
    volumes: tuple[tuple[str, str], ...] = ()  # name and mount path
    files: tuple[tuple[str, bytes], ...] = ()  # absolute path and content, written before it starts
    keeps_root: bool = False  # the next start with the same specification keeps the root filesystem
    cpu_share: float | None = None  # CPUs that it may use at first; None: all of them
    command: tuple[str, ...] = ()
    once: bool = False
    serves: bool = True
    mounts: tuple[tuple[str, str], ...] = ()
    debug: bool = False

    def goes_on_from(self, before: MachineSpec | None) -> bool:
        """Whether a start keeps the root filesystem of the Machine's last run with the specification ``before``."""
        return (
            self.keeps_root and before is not None and replace(before, cpu_share=None) == replace(self, cpu_share=None)
        )


@dataclass(frozen=True)
class Exit:
    """How a Machine ended. ``code`` is 128 + signal if it was killed.

    ``removed``: another program removed its container, which does not count as a crash.
    """

    code: int
    oom_killed: bool = False
    removed: bool = False


Address = tuple[str, int]


def ignore_notice(_machine_id: str, _kind: str) -> None:
    """The default of ``Driver.notice``: ignore it."""


class Driver(Protocol):
    """Runs Machines, identified by their ids. Every method may raise ``DriverError``."""

    name: str
    runs_images: bool  # whether fly.toml's commands and volumes apply
    notice: Callable[[str, str], None]  # called with a Machine's id and a kind, "oom" or "removed"

    async def open(self) -> None:
        """Connect, and remove leftover Machines of an earlier run of the project."""

    async def close(self) -> None:
        """Stop and remove every Machine."""

    @property
    def owner(self) -> str:
        """Id of this stand-in's container. Empty without one; then a restart looks the same as a new stand-in."""

    @property
    def checkout(self) -> str:
        """The folder from which the stack was started; empty if it is unknown."""

    async def resolve(self, image: str | None, source: Path | None) -> Image:
        """The image of a release with this image or source; None: the configured one. Raises if it does not exist."""

    async def exists(self, image: Image) -> bool:
        """Whether the image still exists."""

    async def start(self, spec: MachineSpec) -> Address:
        """Start a Machine, and return the address of its internal port.

        The root filesystem is fresh, unless the Machine ``keeps_root`` and ran with the same specification before.
        """

    async def wait(self, machine_id: str) -> Exit:
        """Wait until the Machine has ended."""

    async def signal(self, machine_id: str, name: str) -> None:
        """Send a signal, such as ``SIGINT``. Does nothing if the Machine has ended."""

    async def suspend(self, machine_id: str) -> Address | None:
        """Freeze the Machine and make its connections dead. Returns its address if it changed."""

    async def resume(self, machine_id: str) -> None:
        """Continue a suspended Machine."""

    async def limit_cpu(self, machine_id: str, share: float) -> None:
        """Limit the Machine to ``share`` CPUs. Raises if this driver cannot."""

    async def cpu_seconds(self, machine_id: str) -> float | None:
        """CPU time since the Machine's start, in seconds; None if it is unknown."""

    async def remove(self, machine_id: str) -> None:
        """Remove the Machine, running or not."""

    def debug_address(self, machine_id: str) -> Address | None:
        """The address at which a Machine listens for a debugger; None if it does not listen or run."""

    async def logs(self, machine_id: str, tail: int) -> list[str]:
        """The last ``tail`` lines of its output, including earlier starts."""
