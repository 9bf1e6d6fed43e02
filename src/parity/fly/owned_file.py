"""A file of the state that belongs to one stand-in, so that it goes on after a restart with what it knew.

``owner`` names the stand-in itself (its container): one that was made anew, as ``docker compose up`` does after a
change, does not read what another one wrote. A stand-in without an owner keeps nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def save(path: Path, owner: str, data: Any) -> None:
    """Write ``data`` as JSON, whole or not at all."""
    if not owner:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)  # the API's state holds secrets
    draft.write_text(json.dumps({"owner": owner, "data": data}), "utf-8")
    draft.replace(path)


def load(path: Path, owner: str) -> Any:
    """What the same stand-in wrote last; None when there is nothing that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return found["data"] if owner and found["owner"] == owner else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
