"""Reads and writes ``.parity/process.json``, which lists the processes of this checkout's process stack."""

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
    """``settings`` are the ``PARITY_…`` variables of the stack; ``ready`` is true once all parts were healthy."""

    settings: Mapping[str, str]
    parts: tuple[PartState, ...]
    ready: bool

    @property
    def alive(self) -> tuple[PartState, ...]:
        return tuple(part for part in self.parts if is_alive(part.process))


def state_file(state_dir: Path) -> Path:
    return state_dir / "process.json"


def read_state(state_dir: Path) -> StackState | None:
    """The stored state; ``None`` if there is no file. Raises ``StackError`` for a file of another form."""
    path = state_file(state_dir)
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        data = {}
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise StackError(
            f"{path}: this version of parity cannot read the file",
            f"stop the processes whose pids it contains, if any run, then remove {path}",
        )
    parts = tuple(
        PartState(part["name"], ProcessId(**part["process"]), part["health_url"], part["log"]) for part in data["parts"]
    )
    return StackState(data["settings"], parts, data["ready"])


def write_state(state_dir: Path, state: StackState) -> None:
    """Replace the file atomically."""
    path = state_file(state_dir)
    state_dir.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps({"version": _VERSION, **asdict(state)}, indent=2) + "\n", "utf-8")
    part.replace(path)


def forget_state(state_dir: Path) -> None:
    state_file(state_dir).unlink(missing_ok=True)


@contextmanager
def exclusive(state_dir: Path) -> Iterator[None]:
    """Lock the checkout for one ``up`` or ``down``. Raises ``StackError`` if another one is running."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"another `parity up` or `parity down` is running in {state_dir}", "wait until it has ended"
            ) from None
        yield
