"""``up`` and ``down`` of the process stack.

``up`` first reads the state file. It removes what an incomplete stack left. Of a stack that runs it starts the Machines
again, or all parts where the configuration changed: otherwise the next checks would judge files of an earlier time.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from parity.config.project import Project
from parity.stack.admin_client import ask
from parity.stack.dev import leave_dev
from parity.stack.errors import StackError
from parity.stack.media_tools import packaged_folder, search_path
from parity.stack.plan import Part, plan
from parity.stack.ports import require_free
from parity.stack.processes import stop_all
from parity.stack.state import StackState, exclusive, forget_state, read_state
from parity.stack.supervisor import Say, is_healthy, start, stop
from parity.stack.unwell import unwell_machines, watched

# What the state file calls the digest of fly.toml, parity.toml, the secrets and the CORS policy, as compose.yaml does.
CONFIGURATION = "PARITY_CONFIGURATION"
NOT_PROVED = (
    "Machines are processes: this cannot prove the image, the memory limit, a network without internet access or a "
    "frozen Machine; `parity up --driver docker` can"
)


def required_ports(parts: tuple[Part, ...]) -> dict[str, int]:
    """Variable → port of every part."""
    return {variable: port for part in parts for variable, port in part.ports.items()}


def differing_settings(state: StackState, project: Project) -> list[str]:
    """The settings whose value differs from that of the running stack, as ``NAME (running: X, wanted: Y)``."""
    wanted = project.settings.environment()
    return [
        f"{name} (running: {state.settings.get(name, '')}, wanted: {value})"
        for name, value in wanted.items()
        if state.settings.get(name, "") != value and name not in ("PARITY_DRIVER", CONFIGURATION)
    ]


def up(project: Project, environ: Mapping[str, str], timeout_s: float, say: Say) -> None:
    """Start the process stack. If it runs already, make it run the files as they are now.

    Raises ``StackError``; then no process that it started is left running.
    """
    state_dir = project.settings.state_dir
    with exclusive(state_dir):
        state = read_state(state_dir)
        if state is not None and _is_whole(state):
            differing = differing_settings(state, project)
            if differing:
                raise StackError(
                    "a stack of this checkout runs with other settings: " + ", ".join(differing), "`parity down` first"
                )
            if state.settings.get(CONFIGURATION) == project.configuration_digest():
                release(project, say)
                return
            say("the configuration changed since the stack started: starting all parts again; stored data stays")
            stop(state_dir)
        elif state is not None:
            left = [part.name for part in state.alive]
            say(f"removing the remains of an earlier stack: {', '.join(left) or 'its state file'}")
            stop_all([part.process for part in state.alive], 10.0)
            forget_state(state_dir)
        path = search_path(environ, state_dir / "bin", packaged_folder())
        parts = plan(project, environ, sys.executable, path)
        require_free(project.settings.bind, required_ports(parts))
        settings = {**project.settings.environment(), CONFIGURATION: project.configuration_digest()}
        start(parts, state_dir, settings, timeout_s, say)


def release(project: Project, say: Say) -> None:
    """Make the Machines and the GPU functions of the running stack run the sources as they are now.

    Raises ``StackError`` if they do not become healthy.
    """
    admin_url = project.settings.admin_url
    say("the stack is already running; Machines start again, with the files as they are now")
    if not leave_dev(admin_url, say):
        try:
            with watched(admin_url, say):
                ask(admin_url, "POST", "/fly/releases", {})
        except StackError:
            for line in unwell_machines(admin_url):
                say(line)
            raise
    if project.parity.gpu:
        ask(admin_url, "POST", "/modal/deploy")


def down(project: Project) -> tuple[str, ...]:
    """Stop the process stack. Returns the names of the parts that ran."""
    state_dir = project.settings.state_dir
    if read_state(state_dir) is None:
        return ()
    with exclusive(state_dir):
        return stop(state_dir)


def forget(state_dir: Path) -> bool:
    """Delete the data of R2, Modal and the services of a stopped process stack. Returns whether there was any."""
    held = [state_dir / name for name in ("r2", "modal", "services") if (state_dir / name).exists()]
    if not held:  # return before locking: in the harness image the folder may be mounted read-only
        return False
    with exclusive(state_dir):
        for place in state_dir.glob("services/*/place"):
            shutil.rmtree(place.read_text("utf-8"), ignore_errors=True)  # data of a service that ran as another user
        for folder in held:
            shutil.rmtree(folder)
    return True


def _is_whole(state: StackState) -> bool:
    return state.ready and len(state.alive) == len(state.parts) and all(is_healthy(p.health_url) for p in state.parts)
