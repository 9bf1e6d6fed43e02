"""The real Litestream and `ltx`: found on PATH or in the cache folder, else built once from their Go modules."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path

_MODULES = {
    "litestream": "github.com/benbjohnson/litestream/cmd/litestream@v0.5.16",
    "ltx": "github.com/superfly/ltx/cmd/ltx@v0.5.3",
}
# A cold build of Litestream took 2.3 minutes on two cores.
BUILD_SECONDS = 900


class Unavailable(Exception):
    """The tool is not there and cannot be built; the message says why."""


def cache_folder() -> Path:
    """Outside of the checkout, so that a fresh clone finds what an earlier one built."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parity" / "bin"


@functools.cache
def go_tool(name: str) -> Path:
    """The program ``name``. Raises ``Unavailable``."""
    if found := shutil.which(name):
        return Path(found)
    folder = cache_folder()
    program = folder / name
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise Unavailable(f"{name} is neither on PATH nor in {folder}, and there is no Go to build it with")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(go, name, folder)
    return program


def _build(go: str, name: str, folder: Path) -> None:
    # Built beside and moved, so that an interrupted build leaves no half program.
    scratch = folder / f".build-{name}"
    environ = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(scratch)}
    try:
        done = subprocess.run(
            [go, "install", _MODULES[name]], env=environ, capture_output=True, text=True, timeout=BUILD_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name} was not built within {BUILD_SECONDS} s") from None
    if done.returncode:
        raise Unavailable(f"{name} cannot be built: {done.stderr.strip()[-300:]}")
    (scratch / name).replace(folder / name)
    shutil.rmtree(scratch)
