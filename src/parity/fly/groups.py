"""Machines that serve no HTTP: those of other process groups, such as a worker, and those that run one command.

The edge sends them no requests and the autostop ignores them, because Fly stops and wakes only Machines of a service.
A deploy replaces them after the group that serves HTTP (superfly/docs, launch/monolithic apps, read 2026-11). A
Machine that runs one command is destroyed when the command ends, as flyctl requests with ``auto_destroy``. Its events
can still be read afterwards.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import replace

from parity.config.fly_toml import FlyConfig
from parity.fly.machines.driver import DriverError
from parity.fly.machines.machine import Machine, Surroundings
from parity.fly.machines.release import Release
from parity.fly.machines.state import State
from parity.fly.specs import Specs

# The group that serves HTTP numbers its Machines from 1, so these start far above.
FIRST_NUMBER = 1000
# How many destroyed Machines are remembered, so that their events can be read.
KEPT_GONE = 20


class Workers:
    """The Machines, by id; ``gone`` has those that were destroyed. Raises ``DriverError`` and ``WrongState``."""

    def __init__(self, config: FlyConfig, surroundings: Surroundings, specs: Specs) -> None:
        self._configs = {name: config.of_group(name) for name in config.other_groups}
        self._surroundings, self._specs = surroundings, specs
        self._numbers = FIRST_NUMBER
        self._ending: set[asyncio.Task[None]] = set()
        self.machines: dict[str, Machine] = {}
        self.gone: OrderedDict[str, Machine] = OrderedDict()

    async def open(self, release: Release) -> None:
        """Start one Machine of each group of fly.toml, as a first deploy does."""
        for config in self._configs.values():
            await self.create(config, release)

    async def create(
        self, config: FlyConfig, release: Release, *, launch: bool = True, auto_destroy: bool = False
    ) -> Machine:
        """Create a Machine, and start it unless ``launch`` is false. ``auto_destroy`` destroys it when it ends."""
        self._numbers += 1
        spec = self._specs.of(config, secrets.token_hex(7), self._numbers, release)
        spec = replace(spec, serves=False, once=auto_destroy)
        surroundings = replace(self._surroundings, config=config)
        if auto_destroy:
            surroundings = replace(surroundings, changed=lambda: self._ended(spec.id))
        machine = self.machines[spec.id] = Machine(spec, surroundings)
        try:
            if launch:
                await machine.start()
        except DriverError:
            await self.destroy(machine.id)
            raise
        return machine

    async def replace(self, release: Release) -> None:
        """Stop each Machine of a group, and start it with ``release``."""
        for machine in list(self.machines.values()):
            config = self._configs.get(machine.config.group)
            if config is not None:
                await self.update(machine, config, release)

    async def update(self, machine: Machine, config: FlyConfig, release: Release, *, launch: bool = True) -> None:
        """Restart the Machine with another release and configuration. Without ``launch`` it stays stopped."""
        await machine.stop()
        spec = self._specs.of(config, machine.id, machine.spec.number, release)
        machine.replace(replace(spec, serves=False, once=machine.spec.once), config)
        if launch:
            await machine.start()

    async def destroy(self, machine_id: str) -> None:
        """Stop and remove the Machine. Its events stay readable in ``gone``."""
        machine = self.machines.pop(machine_id)
        self.remember(machine)
        await machine.destroy()
        self._specs.forget(machine_id)

    def remember(self, machine: Machine) -> None:
        """Keep a destroyed Machine in ``gone``; the oldest one beyond ``KEPT_GONE`` is dropped."""
        self.gone[machine.id] = machine
        while len(self.gone) > KEPT_GONE:
            self.gone.popitem(last=False)

    def _ended(self, machine_id: str) -> None:
        """Called when a Machine with ``auto_destroy`` changes: destroy it if its command has ended."""
        machine = self.machines.get(machine_id)
        if machine and machine.state is State.STOPPED and machine.given_up:
            task = asyncio.get_running_loop().create_task(self.destroy(machine_id))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Stop and remove all."""
        await asyncio.gather(*self._ending)
        for machine_id in list(self.machines):
            await self.destroy(machine_id)

    def as_json(self) -> list[dict[str, object]]:
        """Each Machine with the name of its group, as the admin API returns them."""
        return [
            {"group": machine.spec.environment["FLY_PROCESS_GROUP"], **machine.as_json()}
            for machine in self.machines.values()
        ]
