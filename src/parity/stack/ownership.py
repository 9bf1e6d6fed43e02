"""Which checkout a compose project's containers belong to: Compose labels each with the folder that started it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from parity.stack.errors import StackError

PROJECT_LABEL = "com.docker.compose.project"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
SERVICE_LABEL = "com.docker.compose.service"

# The editor's container is of the same compose project, and no part of the stack.
EDITOR = "dev"


class OtherCheckout(StackError):
    """The compose project of this name was started from another folder."""

    def __init__(self, project: str, folder: str, root: Path) -> None:
        self.project, self.folder = project, folder
        super().__init__(
            f"the compose project {project!r} belongs to another checkout: {folder} (this one is {root})",
            "give this checkout a name and ports of its own: "
            f"COMPOSE_PROJECT_NAME={project}-2 PARITY_PORT_OFFSET=100 make up",
        )


def list_containers(project: str) -> list[str]:
    """The command that prints each container of ``project``, stopped ones too: service, tab, folder."""
    filters = ["--filter", f"label={PROJECT_LABEL}={project}"]
    form = f'{{{{.Label "{SERVICE_LABEL}"}}}}\t{{{{.Label "{FOLDER_LABEL}"}}}}'
    return ["docker", "ps", "--all", *filters, "--format", form]


def other_folder(folders: Iterable[str], root: str, resolved: Callable[[str], str]) -> str:
    """The first folder that is not ``root``; empty when every container was started from ``root``, or there is none.

    ``resolved`` gives a folder without symbolic links, on the developer's machine. Containers without the label were
    not started by Compose: they count as another's.
    """
    for folder in sorted(set(folders)):
        if not folder:
            return "(unknown: a container without the label of a folder)"
        if folder != root and resolved(folder) != resolved(root):
            return folder
    return ""


def own_names(project: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Variables that make ``docker compose`` use this project and these ports, which have the offset in them."""
    return {
        "COMPOSE_PROJECT_NAME": project,
        "PARITY_PORT_OFFSET": "",
        **{name: str(port) for name, port in ports.items()},
    }
