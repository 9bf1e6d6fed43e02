"""Reads ``.env`` beside compose.yaml, because Compose reads it too and both must use the same settings."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from dotenv import dotenv_values

_OURS = ("PARITY_", "COMPOSE_")


def take_dotenv(root: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Add the settings of ``root``'s ``.env`` that ``environ`` does not have, as Compose does: the shell goes first."""
    for name, value in dotenv_values(root / ".env").items():
        if name.startswith(_OURS) or name == "GIT_COMMIT":
            environ.setdefault(name, value or "")
