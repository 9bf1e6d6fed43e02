"""The files that a debugged process needs: ``sitecustomize.py`` and debugpy, from the harness's own environment.

They are copied into a container when it is made, or lie beside a process: no image holds them.
"""

from __future__ import annotations

import importlib.util
import io
import os
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

BOOT = Path(__file__).parent / "boot/sitecustomize.py"
# 6 MB of libraries with which debugpy attaches to a running process by its id. The harness never does that.
_LEFT_OUT = "pydevd_attach_to_process"


def _debugpy() -> Path:
    spec = importlib.util.find_spec("debugpy")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("debugpy is not installed; `make venv` installs it")
    return Path(spec.origin).parent


@cache
def archive(folder: str) -> bytes:
    """A tar for the root of a container, with the files below ``folder``. Times are kept: bytecode depends on them."""
    buffer, place = io.BytesIO(), PurePosixPath(folder).relative_to("/")
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.add(BOOT, str(place / BOOT.name), filter=_for_all)
        made.add(_debugpy(), str(place / "debugpy"), filter=_for_all)
    return buffer.getvalue()


def _for_all(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Readable by any user; without libraries that are not needed."""
    if _LEFT_OUT in entry.name and not entry.isdir() and not entry.name.endswith(".py"):
        return None
    entry.mode = 0o755 if entry.isdir() else 0o644
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def lay_out(folder: Path) -> Path:
    """The same files as links in ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in ((BOOT.name, BOOT), ("debugpy", _debugpy())):
        link = folder / name
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return folder


def environment(given: Mapping[str, str], folder: str, listen: str, wait_s: float = 0.0) -> dict[str, str]:
    """The environment ``given``, with what makes a process listen for a debugger at ``listen`` (host:port)."""
    path = os.pathsep.join(filter(None, [folder, given.get("PYTHONPATH", "")]))
    waiting = {"PARITY_DEBUG_WAIT": f"{wait_s:g}"} if wait_s else {}
    # Frozen modules of the standard library have no breakpoints; debugpy would warn of that at each start.
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return {**given, **quiet, **waiting, "PYTHONPATH": path, "PARITY_DEBUG_LISTEN": listen}
