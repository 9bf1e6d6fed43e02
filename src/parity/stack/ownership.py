"""Finds out which checkout a compose project's containers belong to.

Compose labels each container with the folder that it was started from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from parity.stack.errors import StackError

PROJECT_LABEL = "com.docker.compose.project"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
SERVICE_LABEL = "com.docker.compose.service"

# The service of the editor's container. It has the same compose project but is no part of the stack.
EDITOR = "dev"


class OtherCheckout(StackError):
    """The compose project of this name was started from another folder."""

    def __init__(self, project: str, folder: str, root: Path) -> None:
        self.project, self.folder = project, folder
        super().__init__(
            f"the compose project {project!r} belongs to another checkout: {folder} (this one is {root})",
            "give this checkout its own name and ports: "
            f"COMPOSE_PROJECT_NAME={project}-2 PARITY_PORT_OFFSET=100 make up",
        )


def list_containers(project: str) -> list[str]:
    """The command that prints service, tab and folder of each container of ``project``, also of stopped ones."""
    filters = ["--filter", f"label={PROJECT_LABEL}={project}"]
    form = f'{{{{.Label "{SERVICE_LABEL}"}}}}\t{{{{.Label "{FOLDER_LABEL}"}}}}'
    return ["docker", "ps", "--all", *filters, "--format", form]


def other_folder(folders: Iterable[str], root: str, resolved: Callable[[str], str]) -> str:
    """The first folder that is not ``root``; empty if every container was started from ``root`` or there is none.

    ``resolved`` returns a folder of the developer's machine with symbolic links resolved. A container without the label
    was not started by Compose and counts as another checkout's.
    """
    for folder in sorted(set(folders)):
        if not folder:
            return "(unknown: a container without the label of a folder)"
        if folder != root and resolved(folder) != resolved(root):
            return folder
    return ""


def own_names(project: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Variables that make ``docker compose`` use this project and these ports, which include the offset."""
    return {
        "COMPOSE_PROJECT_NAME": project,
        "PARITY_PORT_OFFSET": "",
        **{name: str(port) for name, port in ports.items()},
    }
