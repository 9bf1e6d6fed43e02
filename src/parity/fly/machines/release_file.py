"""The release in force, so that a stand-in that is restarted goes on with it and not with what a tag means by then.

``owner`` names the stand-in itself (its container): one that was made anew, as ``docker compose up`` does after a
change, begins with a release of the image that is configured.
"""

from __future__ import annotations

import json
from pathlib import Path

from parity.fly.machines.release import Release


def save(path: Path, owner: str, release: Release) -> None:
    """Write it, whole or not at all."""
    if not owner:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"owner": owner, "release": release.stored()}), "utf-8")
    draft.replace(path)


def load(path: Path, owner: str) -> Release | None:
    """The release that the same stand-in ran last; None when there is none that can be read."""
    try:
        data = json.loads(path.read_text("utf-8"))
        return Release.restored(data["release"]) if owner and data["owner"] == owner else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
