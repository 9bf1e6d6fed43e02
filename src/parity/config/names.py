"""Computes the name of a checkout's compose project by the rule of Compose.

Source: compose-go, ``loader.NormalizeProjectName`` and docs.docker.com/compose/how-tos/project-name (read 2026-11):
``COMPOSE_PROJECT_NAME`` goes before the folder's name. Of a folder's name only lower-case letters, digits, ``-`` and
``_`` are kept, and it begins with a letter or digit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from parity.config.errors import ConfigError

VARIABLE = "COMPOSE_PROJECT_NAME"
_DROPPED = re.compile(r"[^a-z0-9_-]")


def normalised(text: str) -> str:
    """``text`` as Compose makes a project name of it; may be empty."""
    return _DROPPED.sub("", text.lower()).lstrip("_-")


def project_name(root: Path, environ: Mapping[str, str]) -> str:
    """The compose project of the checkout ``root``. Raises ``ConfigError`` where Compose would refuse as well."""
    given = environ.get(VARIABLE, "")
    if given:
        if given != normalised(given):
            raise ConfigError(
                VARIABLE,
                f"{given!r} is not a project name",
                "lower-case letters, digits, - and _, with a letter or digit first",
                f"{VARIABLE}={normalised(given) or 'parity'}",
            )
        return given
    name = normalised(root.name)
    if not name:
        raise ConfigError(
            VARIABLE,
            f"the folder's name {root.name!r} has no letter or digit that Compose takes",
            "a name for the compose project",
            f"{VARIABLE}=parity",
        )
    return name
