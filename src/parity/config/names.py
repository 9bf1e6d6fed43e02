"""Computes the name of a checkout's compose project by the rule of Compose.

Source: compose-go, ``loader.NormalizeProjectName`` and docs.docker.com/compose/how-tos/project-name (read 2026-11):
``COMPOSE_PROJECT_NAME`` overrides the folder's name. A folder's name is reduced to lower-case letters, digits, ``-``
and ``_``, and must begin with a letter or digit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from parity.config.errors import ConfigError

VARIABLE = "COMPOSE_PROJECT_NAME"
_DROPPED = re.compile(r"[^a-z0-9_-]")


def normalised(text: str) -> str:
    """The project name that Compose derives from ``text``; may be empty."""
    return _DROPPED.sub("", text.lower()).lstrip("_-")


def project_name(root: Path, environ: Mapping[str, str]) -> str:
    """The compose project of the checkout ``root``. Raises ``ConfigError`` if Compose would refuse it."""
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
            f"the folder's name {root.name!r} has no letter a-z or digit, so Compose cannot derive a project name",
            "a name for the compose project",
            f"{VARIABLE}=parity",
        )
    return name
