"""The addresses of the stack or of the deployed app that checks and commands use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.config.settings import HarnessSettings
from parity.config.variables import PATH, URL, read, rows, setting
from parity.stack.containers import Containers
from parity.stack.errors import NotRunning, StackError
from parity.stack.hands import hands
from parity.stack.state import read_state

Driver = Literal["docker", "process", "live"]

# R2's name in compose. Developers, Machines and browsers all use it, because presigned URLs contain it
# (docs/architecture.md).
COMPOSE_R2_HOST = "r2.localhost"
# Names and ports inside the compose networks, as the compose file sets them. A Machine's variables use them, whether
# the harness runs in a container or on the host (`parity check`). The port of the stubs is not published.
INSIDE = {
    "PARITY_R2_HOST": COMPOSE_R2_HOST,
    "PARITY_SERVICE_HOST": "fly",
    "PARITY_MODAL_HOST": "modal",
    "PARITY_CA_PATH": "/trust/ca.pem",
    "PARITY_STUB_PORT": next(row.default for row in rows(HarnessSettings) if row.name == "PARITY_STUB_PORT"),
}


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """Addresses of a stack that was started elsewhere. Each empty one is derived from the harness settings."""

    api_url: str = setting("PARITY_API_URL", URL, "", "URL of the API")
    frontend_url: str = setting("PARITY_FRONTEND_URL", URL, "", "URL of the page")
    r2_url: str = setting("PARITY_R2_URL", URL, "", "URL of R2")
    modal_url: str = setting("PARITY_MODAL_URL", URL, "", "URL of Modal's control plane")
    admin_url: str = setting("PARITY_ADMIN_URL", URL, "", "URL of the admin gateway")
    ca: str = setting("PARITY_CA", PATH, "", "path of the stack's ca.pem; empty: in PARITY_TRUST_DIR")


@dataclass(frozen=True)
class Target:
    """One stack or one deployed app. The latter has the ``driver`` live, and no admin API, CA, R2 or Modal address."""

    name: str
    api_url: str
    frontend_url: str
    frontend_origin: str
    r2_url: str
    modal_url: str
    admin_url: str | None
    ca: Path | None
    driver: Driver

    @classmethod
    def local(cls, project: Project, driver: Driver) -> Target:
        """The stack of this checkout, with the settings of ``project``."""
        settings = project.settings
        return cls(
            name="local",
            api_url=settings.api_url,
            frontend_url=settings.frontend_url,
            frontend_origin=project.parity.app.frontend_origin,
            r2_url=settings.r2_url,
            modal_url=settings.modal_url if driver == "process" else f"http://localhost:{settings.modal_port}",
            admin_url=settings.admin_url,
            ca=settings.people_ca,
            driver=driver,
        )

    @classmethod
    def live(cls, project: Project, name: str) -> Target:
        """A deployed app. Raises ``ConfigError`` if ``parity.toml`` has no target ``name``."""
        found = project.parity.targets.get(name)
        if found is None:
            known = ", ".join(sorted(project.parity.targets)) or "there is none"
            raise ConfigError("parity.toml: targets", f"no target is named {name!r}", f"one of: {known}")
        return cls(name, found.url, found.frontend_origin, found.frontend_origin, "", "", None, None, "live")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Target:
        """The local stack. A ``PARITY_…_URL`` or ``PARITY_CA`` that is set overrides the derived address."""
        project, driver = local_project(environ)
        target = cls.local(project, driver)
        given = {field: value for field, value in read(TargetSettings, environ).items() if value}
        if "ca" in given:
            given["ca"] = Path(given["ca"])
        return replace(target, **given)


def with_driver(environ: Mapping[str, str], driver: Driver) -> dict[str, str]:
    """``environ``, with the values of the driver for variables that ``environ`` does not set."""
    inside = INSIDE if driver == "docker" else {}
    return {**inside, **{name: value for name, value in environ.items() if value}, "PARITY_DRIVER": driver}


def local_project(environ: Mapping[str, str]) -> tuple[Project, Driver]:
    """The project and driver of this checkout's running process stack, or else those of the settings.

    The settings that a process stack was started with are read from its state file, so a stack on other ports is found
    without setting them again. A variable that is set now overrides the state file. ``PARITY_DRIVER`` overrides the
    choice of the stack.
    """
    project = Project.load(environ)
    state = read_state(project.settings.state_dir)
    wanted = environ.get("PARITY_DRIVER")
    if state is not None and state.alive and wanted != "docker":
        set_now = {name: value for name, value in environ.items() if value}
        return Project.load({**state.settings, **set_now}), "process"
    if wanted == "process":
        return project, "process"
    return Project.load(with_driver(environ, "docker")), "docker"


def containers_of(project: Project, environ: Mapping[str, str]) -> Containers:
    """The container stack of this checkout. ``project`` must have been loaded for the driver docker."""
    return Containers(project.settings, project.settings.checkout, environ, hands(), project.configuration_digest())


def require_own_stack(environ: Mapping[str, str]) -> Project:
    """The project of this checkout's running stack. Raises ``StackError`` if none runs.

    Another checkout's stack may answer on the port, so Docker is asked first to which checkout the containers belong.
    An address in ``PARITY_ADMIN_URL``, as in the checks container, is used without that question.
    """
    project, driver = local_project(environ)
    if driver == "docker" and not environ.get("PARITY_ADMIN_URL"):
        stack = containers_of(project, environ)
        if stack.engine_problem() or not stack.exist():
            raise NotRunning("no stack of this checkout is running", "start the stack: `parity up`")
    return project


def refuse_other_stack(environ: Mapping[str, str]) -> None:
    """Raises ``OtherCheckout`` if the containers of this project belong to another checkout."""
    project, driver = local_project(environ)
    if driver == "docker" and not environ.get("PARITY_ADMIN_URL"):
        stack = containers_of(project, environ)
        if not stack.engine_problem():
            stack.exist()


def running_process_stack(project: Project) -> bool:
    """Whether any part of this checkout's process stack runs."""
    try:
        state = read_state(project.settings.state_dir)
    except StackError:
        return False
    return state is not None and bool(state.alive)
