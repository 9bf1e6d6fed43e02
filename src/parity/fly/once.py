"""Commands that run to their end in a temporary Machine, such as the release command or a service's migration."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from parity.config.fly_tables import Vm
from parity.config.fly_toml import FlyConfig
from parity.fly.machines.driver import Driver, Image
from parity.fly.machines.machine import Machine
from parity.fly.machines.release import Release, ReleaseFailed
from parity.fly.specs import Specs

KEPT_LINES = 40


class OneOffs:
    """Runs a command in a temporary Machine of a release, without volumes and without a port."""

    def __init__(self, config: FlyConfig, driver: Driver, specs: Specs) -> None:
        self._config, self._driver, self._specs = config, driver, specs

    async def run(
        self,
        command: Sequence[str],
        release: Release,
        environment: Mapping[str, str] | None = None,
        *,
        size: Vm | None = None,
        image: Image | None = None,
        entrypoint: Sequence[str] = (),
    ) -> tuple[int, list[str]]:
        """Run ``command`` to its end. Returns the exit code and the last lines of output. Raises ``DriverError``.

        ``size`` defaults to fly.toml's, ``image`` and ``entrypoint`` to the release's.
        """
        config = self._config if size is None else self._config.model_copy(update={"vm": [size]})
        spec = self._specs.of(config, f"once{secrets.token_hex(5)}", 0, release)
        self._specs.forget(spec.id)
        environment = {**spec.environment, **(environment or {})}
        spec = replace(
            spec,
            image=image or spec.image,
            entrypoint=tuple(entrypoint) or (() if image else spec.entrypoint),
            command=tuple(command),
            once=True,
            environment=environment,
            volumes=(),
            keeps_root=False,
        )
        try:
            await self._driver.start(spec)
            ended = await self._driver.wait(spec.id)
            return ended.code, await self._driver.logs(spec.id, KEPT_LINES)
        finally:
            await self._driver.remove(spec.id)

    async def release_command(self, release: Release) -> None:
        """Run ``[deploy] release_command`` of fly.toml, if it is set. Raises ``ReleaseFailed`` and ``DriverError``."""
        deploy = self._config.deploy
        if not deploy.release_command:
            return
        timeout = deploy.release_command_timeout_s
        try:
            async with asyncio.timeout(timeout):
                words = shlex.split(deploy.release_command)
                size = deploy.release_command_vm
                code, lines = await self.run(words, release, {"RELEASE_COMMAND": "1"}, size=size)
        except TimeoutError:
            raise ReleaseFailed(
                f"release_command {deploy.release_command!r} did not end within {timeout:g} s"
            ) from None
        if code:
            output = "\n".join(lines[-10:])
            raise ReleaseFailed(f"release_command {deploy.release_command!r} ended with code {code}:\n{output}")

    async def machine_checks(self, machine: Machine, release: Release) -> None:
        """Run ``machine_checks`` of fly.toml against a Machine that was replaced.

        Raises ``ReleaseFailed`` for the first check whose exit code is not 0, and ``DriverError``. Source:
        superfly/flyctl, internal/command/deploy/machinebasedtest.go.
        """
        for check in self._config.all_machine_checks:
            address = machine.address[0] if machine.address else ""
            environment = {"FLY_TEST_COMMAND": "1", "FLY_TEST_MACHINE_IP": address}
            image = await self._driver.resolve(check.image, None) if check.image else None
            code, lines = await self.run(check.command, release, environment, image=image, entrypoint=check.entrypoint)
            if code:
                output = "\n".join(lines[-10:])
                raise ReleaseFailed(
                    f"machine_checks {shlex.join(check.command)!r} against Machine {machine.id} ended with code {code}:"
                    f"\n{output}"
                )
