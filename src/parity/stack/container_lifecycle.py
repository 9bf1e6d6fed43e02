"""``up``, ``down`` and ``check`` of the container stack. A failed ``up`` leaves no partly started stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from parity.stack.admin_client import ask
from parity.stack.containers import Containers
from parity.stack.dev import leave_dev
from parity.stack.errors import PartFailed, StackError
from parity.stack.ownership import OtherCheckout
from parity.stack.ports import owner_of, require_distinct, require_free
from parity.stack.unwell import unwell_machines, watched

Say = Callable[[str], None]
HERE = "127.0.0.1"
TAIL_LINES = 25
MACHINES_S = 60.0
AWAKE = ("created", "starting", "started", "stopping")


def up(stack: Containers, timeout_s: float, say: Say) -> None:
    """Build and start the stack, and return when every part is healthy. Raises ``StackError``.

    After a failure or Ctrl-C, a stack that did not run before is stopped again. One that ran before is left as it is.
    """
    stack.require_engine()
    settings = stack.settings
    ran_before = stack.exist()
    ports = settings.published_ports()
    require_distinct(ports)
    held = stack.held_ports()
    wanted = {name: port for name, port in ports.items() if held.get(port) != ""}
    require_free(HERE, wanted, lambda port: held.get(port) or owner_of(port), held)
    awake = stack.machines_running()
    try:
        with watched(settings.admin_url, say):
            code = stack.start(timeout_s)
        if code == 0 and awake and not machines_return(stack, MACHINES_S):
            code = 1
        if code == 0 and leave_dev(settings.admin_url, say):
            stack.withdraw_debug_ports()
    except KeyboardInterrupt:
        say("interrupted")
        _take_back(stack, ran_before, say)
        raise
    if code != 0:
        for line in explanation(stack):
            say(line)
        _take_back(stack, ran_before, say)
        raise PartFailed(
            "the stack did not become healthy", "read the log lines above for the cause; the data of R2 is kept"
        )


def _take_back(stack: Containers, ran_before: bool, say: Say) -> None:
    if ran_before:
        say("the stack ran before and was left as it is; `make status` shows it, `make down` stops it")
        return
    stack.stop(quickly=True)
    say("what had been started was taken down again")


def machines_return(stack: Containers, timeout_s: float) -> bool:
    """Wait until all Machines pass their checks; ``False`` after ``timeout_s`` seconds.

    ``docker compose up`` on a running stack removes the Machines, because the service ``api`` has no replicas. The Fly
    stand-in starts new ones. Compose waits only for containers that it started itself, so this function waits for the
    Machines.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            machines = ask(stack.settings.admin_url, "GET", "/fly/machines")
        except StackError:
            machines = []
        if all_healthy(machines, stack.machines_running()):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)


def all_healthy(machines: Sequence[dict[str, object]], running: int) -> bool:
    """Whether every awake Machine passes its checks, and their number equals that of the ``running`` containers."""
    awake = [machine for machine in machines if machine.get("state") in AWAKE]
    return bool(awake) and len(awake) == running and all(machine.get("healthy") for machine in awake)


def explanation(stack: Containers) -> list[str]:
    """Why ``up`` failed: the state of each part, and the last log lines of those that are not healthy."""
    try:
        parts = stack.parts()
    except StackError as error:
        return [error.problem]
    lines = ["", *(f"{part.name:<10} {part.state:<10} {part.detail}" for part in parts)]
    for part in parts:
        if part.state not in ("healthy", "running"):
            lines += ["", f"last lines of {part.name}:", *stack.log_tail(part.name, TAIL_LINES)]
    return lines + unwell_machines(stack.settings.admin_url)


def down(stack: Containers, say: Say, *, volumes: bool = False) -> None:
    """Stop this checkout's containers. Containers of another checkout are not touched; its folder is printed.

    Raises ``StackError`` if no Docker engine can be reached although containers may be running.
    """
    problem = stack.engine_problem()
    if problem:
        if stack.engine_may_exist():
            raise StackError(
                f"no Docker engine can be reached ({problem}): containers of this checkout may still be running",
                "start Docker, or set DOCKER_HOST to the engine that runs them, and repeat",
            )
        say("nothing was running")
        return
    try:
        ours = stack.exist()
    except OtherCheckout as other:
        say(f"nothing of this checkout was running; the project {other.project} belongs to {other.folder} and stays")
        return
    if ours:
        code = stack.stop(volumes=volumes)
        # Compose misses a Machine that the Fly stand-in starts during the removal, so remove again.
        if code == 0 and stack.exist():
            code = stack.stop(volumes=volumes)
        if code != 0:
            raise StackError(f"docker compose down ended with {code}", "read its messages above for the cause")
    elif volumes and (left := stack.volumes()):
        raise StackError(
            f"without a container it is unknown whose volumes {', '.join(left)} are: this or another checkout's",
            f"`make up` first, then repeat; or remove them: docker volume rm {' '.join(left)}",
        )
    else:
        say("nothing was running")


def check(stack: Containers, arguments: Sequence[str]) -> int:
    """Run ``parity check ARGUMENTS`` in the checks container against the running stack. Returns its exit code."""
    env = stack.build_environment()
    build = stack.run("--profile", "checks", "build", "--quiet", "checks", env=env)
    if build != 0:
        raise StackError("the image of the checks could not be built", "read the builder's messages above")
    # `run` also builds the images that the checks image is based on. Without the same commit in its environment it
    # would replace the app's image.
    quiet = {**env, "COMPOSE_PROGRESS": "quiet"}
    return stack.run("--profile", "checks", "run", "--rm", "-T", "checks", "check", *arguments, env=quiet)
