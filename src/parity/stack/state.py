"""``.parity/process.json``: what the process stack of this checkout consists of."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from parity.stack.errors import StackError
from parity.stack.processes import ProcessId, is_alive

_VERSION = 1


@dataclass(frozen=True)
class PartState:
    """A part that was started."""

    name: str
    process: ProcessId
    health_url: str
    log: str


@dataclass(frozen=True)
class StackState:
    """``settings`` are the ``PARITY_…`` variables that the stack runs with; ``ready`` is set once all were healthy."""

    settings: Mapping[str, str]
    parts: tuple[PartState, ...]
    ready: bool

    @property
    def alive(self) -> tuple[PartState, ...]:
        return tuple(part for part in self.parts if is_alive(part.process))


def state_file(state_dir: Path) -> Path:
    return state_dir / "process.json"


def read_state(state_dir: Path) -> StackState | None:
    """What was written last; ``None`` where there is none. Raises ``StackError`` for a file that cannot be read."""
    path = state_file(state_dir)
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        data = {}
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise StackError(
            f"{path}: not a state that this version wrote",
            f"end its processes by hand if any run (their numbers stand in the file), then remove {path}",
        )
    parts = tuple(
        PartState(part["name"], ProcessId(**part["process"]), part["health_url"], part["log"]) for part in data["parts"]
    )
    return StackState(data["settings"], parts, data["ready"])


def write_state(state_dir: Path, state: StackState) -> None:
    """Replace the file in one step: a reader sees the old or the new one."""
    path = state_file(state_dir)
    state_dir.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps({"version": _VERSION, **asdict(state)}, indent=2) + "\n", "utf-8")
    part.replace(path)


def forget_state(state_dir: Path) -> None:
    state_file(state_dir).unlink(missing_ok=True)


@contextmanager
def exclusive(state_dir: Path) -> Iterator[None]:
    """One ``up`` or ``down`` of a checkout at a time. Raises ``StackError`` when another one is at work."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"another `parity up` or `parity down` is at work in {state_dir}", "wait until it has ended"
            ) from None
        yield
