"""Writes ``deploy/parity.env``: the values of fly.toml, parity.toml and the settings that Compose needs.

The file is needed because Compose cannot read TOML. The app's compose.yaml includes the harness's compose file with it
as ``env_file``. Its values are defaults; variables of the shell override them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from parity.config.project import Project
from parity.config.settings import PUBLISHED, HarnessSettings
from parity.config.variables import HOST, PATH, TEXT, rows, setting

FILE = "deploy/parity.env"
HOME = Path(__file__).parents[3]
# An empty file: functions that need no more than the harness has.
NO_PACKAGES = HOME / "src/parity/container/no-packages/requirements.txt"


@dataclass(frozen=True, kw_only=True)
class ComposeNames:
    """Names in the harness's compose file beside the ports; derived, so that no developer sets them."""

    home: str = setting("PARITY_HOME", PATH, "", "folder of the harness, relative to the app's folder", inside=True)
    api_host: str = setting("PARITY_API_HOST", HOST, "api.invalid", "public host name of the app on Fly", inside=True)
    frontend_host: str = setting(
        "PARITY_FRONTEND_HOST",
        HOST,
        "page.invalid",
        "public host name of the page",
        inside=True,
    )
    gpu_folder: str = setting("PARITY_GPU_FOLDER", PATH, "", "folder of `[gpu] requirements`", inside=True)
    gpu_requirements: str = setting(
        "PARITY_GPU_REQUIREMENTS",
        TEXT,
        "requirements.txt",
        "file name of `[gpu] requirements` in that folder",
        inside=True,
    )


def compose_environment(project: Project) -> dict[str, str]:
    """The variables of the file: names, and the defaults of the ports."""
    defaults = {row.name: row.default for row in rows(HarnessSettings)}
    gpu = project.parity.gpu
    packages = project.path(gpu.requirements) if gpu and gpu.requirements else NO_PACKAGES
    names = ComposeNames(
        gpu_folder=os.path.relpath(packages.parent, project.settings.root),
        gpu_requirements=packages.name,
        home=os.path.relpath(HOME, project.settings.root),
        api_host=project.api_hostname,
        **({"frontend_host": project.frontend_hostname} if project.frontend_hostname else {}),
    )
    found = {row.name: str(getattr(names, row.field)) for row in rows(ComposeNames)}
    return {**found, **{name: defaults[name] for name in PUBLISHED}}


def compose_env_text(project: Project) -> str:
    """The text of the file."""
    lines = [
        "# Made by `parity config write` from fly.toml, parity.toml and the harness's settings; a test compares them.",
        *(f"{name}={value}" for name, value in compose_environment(project).items()),
    ]
    return "\n".join(lines) + "\n"
