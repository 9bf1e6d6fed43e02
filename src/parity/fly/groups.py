"""Machines of the process groups that serve no HTTP, such as a worker: one each, as a first deploy makes them.

The edge sends them nothing, so that the autostop does not see them either: Fly stops and wakes only Machines of a
service. A deploy replaces them after the group that serves (superfly/docs, launch/monolithic apps, read 2026-11).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from parity.config.fly_toml import FlyConfig
from parity.fly.machines.driver import MachineSpec
from parity.fly.machines.machine import Machine, Surroundings
from parity.fly.machines.release import Release

# Builds the specification of a Machine: its group's configuration, its id and number, the release.
SpecOf = Callable[[FlyConfig, str, int, Release], MachineSpec]


class Workers:
    """Raises ``DriverError`` and ``WrongState``. ``machines`` are by id."""

    def __init__(self, config: FlyConfig, surroundings: Surroundings, spec_of: SpecOf) -> None:
        self._configs = {name: config.of_group(name) for name in config.other_groups}
        self._surroundings, self._spec_of = surroundings, spec_of
        self.machines: dict[str, Machine] = {}

    async def open(self, release: Release) -> None:
        """Start one Machine of each group."""
        for number, config in enumerate(self._configs.values(), 1):
            # Numbers of the serving group begin at 1: those here are far from them.
            spec = self._spec(config, secrets.token_hex(7), 1000 + number, release)
            machine = Machine(spec, replace(self._surroundings, config=config))
            self.machines[spec.id] = machine
            await machine.start()

    async def replace(self, release: Release) -> None:
        """Stop each, and start it with ``release``."""
        for machine in list(self.machines.values()):
            config = self._configs[machine.spec.environment["FLY_PROCESS_GROUP"]]
            await machine.stop()
            machine.replace(self._spec(config, machine.id, machine.spec.number, release))
            await machine.start()

    async def close(self) -> None:
        """Stop and remove all."""
        for machine in list(self.machines.values()):
            await machine.destroy()
        self.machines.clear()

    def _spec(self, config: FlyConfig, machine_id: str, number: int, release: Release) -> MachineSpec:
        return replace(self._spec_of(config, machine_id, number, release), serves=False)

    def as_json(self) -> list[dict[str, object]]:
        """The admin API's form: each Machine with its group."""
        return [
            {"group": machine.spec.environment["FLY_PROCESS_GROUP"], **machine.as_json()}
            for machine in self.machines.values()
        ]
