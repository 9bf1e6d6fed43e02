"""A state file that a stand-in reads again after a restart.

``owner`` is the id of the stand-in's container. A stand-in in a new container (``docker compose up`` creates one after
a change of its configuration) ignores a file that the old container wrote. With an empty ``owner`` nothing is saved.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def save(path: Path, owner: str, data: Any) -> None:
    """Write ``data`` as JSON, atomically."""
    if not owner:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)  # the API's state holds secrets
    draft.write_text(json.dumps({"owner": owner, "data": data}), "utf-8")
    draft.replace(path)


def load(path: Path, owner: str) -> Any:
    """The data that this owner saved last. None if there is no file, or another owner's, or an unreadable one."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return found["data"] if owner and found["owner"] == owner else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
