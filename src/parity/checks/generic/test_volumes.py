"""Volumes of fly.toml's ``[mounts]``. A new volume is empty and belongs to root; it hides the image's own folder."""

from __future__ import annotations

import asyncio
import shlex

from parity.checks import check
from parity.checks.generic.support import not_declared
from parity.checks.machines import Machines
from parity.checks.stack import Stack, StackError
from parity.report.engine import Engine, EngineError

PROBE = ".parity-probe"


@check(
    "P",
    "The app's processes can write to each volume that fly.toml mounts",
    unproven="the image's user and Fly decide who may write, and no variant changes them; the harness's tests run this"
    " check against containers of another user",
    needs=("docker",),
    alone=True,
)
async def test_volumes_writable(machines: Machines, stack: Stack) -> None:
    """Start as root, chown the volume in the entrypoint and then switch to the app's user, or run as root."""
    fly = stack.site.project.fly
    groups = {"": fly, **{name: fly.of_group(name) for name in fly.other_groups}}
    places = {group: [one.destination for one in config.volumes] for group, config in groups.items()}
    if not any(places.values()):
        not_declared("fly.toml mounts no volume ([mounts])")
    running = {await machines.first(): ""}
    running |= {one["id"]: one["group"] for one in await stack.admin("GET", "/fly/groups")}
    wrong = []
    for machine, group in running.items():
        for place in places.get(group, []):
            wrong += await asyncio.to_thread(refusals, machine, place)
    assert not wrong, (
        f"{'; '.join(wrong)}. A new volume on Fly is an empty file system that belongs to root, whatever the image has"
        " in this folder, so every write there would fail. Start as root, and chown the volume in the entrypoint before"
        " it switches to the app's user"
    )


def refusals(machine: str, place: str) -> list[str]:
    """A sentence for each user of the Machine's processes who cannot create a file at ``place``.

    Raises ``StackError`` where the container engine fails.
    """
    engine = Engine()
    probe = shlex.quote(f"{place.rstrip('/')}/{PROBE}")
    wrong = []
    try:
        container = engine.container_of(machine)
        for user in engine.users_of(container):
            code, said = engine.execute(container, ["sh", "-c", f"touch {probe} && rm {probe}"], user)
            if code:
                wrong.append(f"a process of user {user} cannot write to {place}: {' '.join(said.split())}")
    except EngineError as error:
        raise StackError(str(error)) from None
    return wrong
