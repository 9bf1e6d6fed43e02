"""The list of processes of the process stack. Pure functions: nothing here starts or inspects a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parity.config.project import Project
from parity.config.settings import HarnessSettings

# The variables that a child process inherits. A real R2 key, Modal token, proxy or endpoint in the developer's shell
# must not reach a stand-in or a Machine. The harness's settings are added separately.
KEPT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "DOCKER_HOST")

# The folder of the harness's package; the app may lie in another repository.
PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Part:
    """One process. ``ports`` maps a setting to the port that it chooses; ``health_url`` answers 200 when it is ready.

    ``first_aid`` tells the developer where to look if the process does not start.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    ports: Mapping[str, int]
    health_url: str
    first_aid: str


@dataclass(frozen=True)
class _Kind:
    """The facts about a part that do not depend on a checkout's settings."""

    name: str
    module: str
    verb: str
    ports: tuple[str, ...]
    admin_port: str
    health_path: str
    first_aid: str


KINDS: tuple[_Kind, ...] = (
    _Kind(
        "r2", "parity.r2", "serve", ("PARITY_R2_PORT", "PARITY_R2_ADMIN_PORT"),
        "PARITY_R2_ADMIN_PORT", "/r2/healthz",
        "run `parity config check`, which reads the bucket's CORS file; the data lies in r2/ of the state folder",
    ),
    _Kind(
        "modal", "parity.modal", "serve", ("PARITY_MODAL_PORT", "PARITY_MODAL_BLOB_PORT", "PARITY_MODAL_ADMIN_PORT"),
        "PARITY_MODAL_ADMIN_PORT", "/modal/healthz",
        "it is healthy once the GPU app is deployed, so read worker.log too",
    ),
    _Kind(
        "worker", "parity.modal", "worker", (), "PARITY_MODAL_ADMIN_PORT", "/modal/healthz",
        "it deploys the GPU app: the entry file of [gpu] in parity.toml must import",
    ),
    _Kind(
        "fly", "parity.fly", "serve",
        ("PARITY_API_PORT", "PARITY_API_HTTP_PORT", "PARITY_ADMIN_PORT", "PARITY_STUB_PORT"),
        "PARITY_ADMIN_PORT", "/fly/healthz",
        "run `parity config check`, which reads fly.toml; fly.log has the output of a Machine that does not start",
    ),
    _Kind(
        "frontend", "parity.frontend", "serve", ("PARITY_FRONTEND_PORT", "PARITY_FRONTEND_TLS_PORT"),
        "PARITY_FRONTEND_PORT", "/healthz",
        "app.frontend_dir of parity.toml must hold an index.html",
    ),
)  # fmt: skip


def kinds(project: Project) -> tuple[_Kind, ...]:
    """The parts that this app needs: no Modal without ``[gpu]``, no frontend without ``app.frontend_origin``."""
    absent = set() if project.parity.gpu else {"modal", "worker"}
    if not project.parity.app.frontend_origin:
        absent.add("frontend")
    return tuple(kind for kind in KINDS if kind.name not in absent)


def port_of(settings: HarnessSettings, variable: str) -> int:
    """The port that a ``PARITY_…_PORT`` variable has in ``settings``."""
    return int(settings.environment()[variable])


def child_environment(project: Project, environ: Mapping[str, str], path: str) -> dict[str, str]:
    """The environment of each part: a few of the caller's variables, every ``PARITY_…`` variable, and the import path.

    All ``PARITY_…`` variables are passed on, because stand-ins have settings that the common table does not list.
    """
    kept = {name: value for name, value in environ.items() if name in KEPT or name.startswith("PARITY_")}
    return {
        **kept,
        **project.settings.environment(),
        "PARITY_DRIVER": "process",
        "PATH": path,
        "PYTHONPATH": str(PACKAGE),
        # The parts run in the app's folder; modules there must not hide modules that the harness imports.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }


def plan(project: Project, environ: Mapping[str, str], python: str, path: str) -> tuple[Part, ...]:
    """The parts in the order in which they start; ``python`` is the interpreter, ``path`` the children's ``PATH``."""
    settings = project.settings
    env = child_environment(project, environ, path)
    unused = () if project.parity.stubs else ("PARITY_STUB_PORT",)
    here = "127.0.0.1" if settings.bind == "0.0.0.0" else settings.bind
    return tuple(
        Part(
            name=kind.name,
            argv=(python, "-m", kind.module, kind.verb),
            env=env,
            cwd=settings.root,
            ports={variable: port_of(settings, variable) for variable in kind.ports if variable not in unused},
            health_url=f"http://{here}:{port_of(settings, kind.admin_port)}{kind.health_path}",
            first_aid=kind.first_aid,
        )
        for kind in kinds(project)
    )
