"""The interface of what runs Machines: containers or processes."""

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

    ``digest`` is what the engine starts, ``commit`` the image's label; both are empty for a process. ``variant``: a
    check built it on top of the image under test, to break it. ``dev``: sources of the working tree lie over it.
    """

    ref: str
    digest: str = ""
    commit: str = ""
    variant: bool = False
    dev: bool = False


@dataclass(frozen=True)
class MachineSpec:
    """What to run. ``source`` is a folder laid out like the configured one; None: as configured.

    ``command`` replaces the image's or the configured one; one that runs ``once`` may end at once. One that does not
    ``serve`` has no port that the edge would try. ``mounts`` are paths of the checkout and their places in the image.
    ``debug``: it listens for a debugger.
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
    volumes: tuple[tuple[str, str], ...] = ()  # name and where it is mounted
    files: tuple[tuple[str, bytes], ...] = ()  # absolute path and content, written before it starts
    keeps_root: bool = False  # the next start of the same specification finds the root filesystem as it was left
    cpu_share: float | None = None  # CPUs that it may use at first; None: all of them
    command: tuple[str, ...] = ()
    once: bool = False
    serves: bool = True
    mounts: tuple[tuple[str, str], ...] = ()
    debug: bool = False

    def goes_on_from(self, before: MachineSpec | None) -> bool:
        """Whether it starts with the root filesystem that the Machine had when it ran as ``before``."""
        return (
            self.keeps_root and before is not None and replace(before, cpu_share=None) == replace(self, cpu_share=None)
        )


@dataclass(frozen=True)
class Exit:
    """How a Machine ended. ``code`` is 128 + signal for one that was killed.

    ``removed``: someone else took away what ran it, which is no crash.
    """

    code: int
    oom_killed: bool = False
    removed: bool = False


Address = tuple[str, int]


def ignore_notice(_machine_id: str, _kind: str) -> None:
    """What a driver's notices go to until someone listens."""


class Driver(Protocol):
    """Runs Machines, which are named by their ids. Every method may raise ``DriverError``."""

    name: str
    runs_images: bool  # whether fly.toml's commands and volumes apply
    notice: Callable[[str, str], None]  # called with a Machine's id and a kind, "oom" or "removed"

    async def open(self) -> None:
        """Prepare, and remove Machines that an earlier run of the same project left."""

    async def close(self) -> None:
        """Stop and remove every Machine."""

    @property
    def owner(self) -> str:
        """This stand-in's own container; empty where a restart cannot be told from a new one."""

    @property
    def checkout(self) -> str:
        """The folder that the stack was started from; empty when nothing says it."""

    async def resolve(self, image: str | None, source: Path | None) -> Image:
        """What a release of this image or source runs, None as configured. Raises when there is no such thing."""

    async def exists(self, image: Image) -> bool:
        """Whether the image still exists."""

    async def start(self, spec: MachineSpec) -> Address:
        """Run it; the address is where its internal port is reached.

        The root filesystem is fresh, unless the Machine ``keeps_root`` and ran with the same specification before.
        """

    async def wait(self, machine_id: str) -> Exit:
        """Wait until the Machine has ended."""

    async def signal(self, machine_id: str, name: str) -> None:
        """Send a signal, such as ``SIGINT``. Does nothing if the Machine has ended."""

    async def suspend(self, machine_id: str) -> Address | None:
        """Freeze it, and leave its connections dead. Returns its address when that changed by it."""

    async def resume(self, machine_id: str) -> None:
        """Continue a suspended Machine."""

    async def limit_cpu(self, machine_id: str, share: float) -> None:
        """Limit the Machine to ``share`` CPUs. Raises if this driver cannot."""

    async def cpu_seconds(self, machine_id: str) -> float | None:
        """CPU time since the Machine's start, in seconds; None if it is unknown."""

    async def remove(self, machine_id: str) -> None:
        """Remove the Machine, running or not."""

    def debug_address(self, machine_id: str) -> Address | None:
        """Where a Machine listens for a debugger; None for one that does not, or does not run."""

    async def logs(self, machine_id: str, tail: int) -> list[str]:
        """The last lines it printed, those of earlier starts included."""
