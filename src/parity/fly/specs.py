"""Builds the specification of a Machine from its configuration, its release and the free volumes."""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Mapping
from pathlib import Path

from parity.config.fly_tables import File
from parity.config.fly_toml import FlyConfig
from parity.fly.machines.driver import Driver, DriverError, MachineSpec
from parity.fly.machines.environment import fly_environment
from parity.fly.machines.release import Release


class Specs:
    """Builds specifications. Raises ``DriverError``.

    - ``environment``: the app's variables; Fly's own variables are added to them.
    - ``commands``: the command of each process group, for the process driver.
    - ``root``: the folder in which a ``local_path`` of ``[[files]]`` is looked for.
    - ``mounts``: pairs of a path in the checkout and its path in the image; a release of the working tree mounts them.
    """

    def __init__(
        self,
        driver: Driver,
        environment: dict[str, str],
        commands: Mapping[str, tuple[str, ...]],
        root: Path = Path(),
        mounts: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._driver, self._environment, self._commands, self._root = driver, environment, commands, root
        self._mounts = mounts
        self.debug = False  # whether Machines of the working tree listen for a debugger
        self._slots: dict[str, int] = {}  # Machine → number of its volumes

    def of(self, config: FlyConfig, machine_id: str, number: int, release: Release) -> MachineSpec:
        """The specification of one Machine of ``release``. ``number`` is unique among the Machines of a group."""
        own = fly_environment(config, machine_id, release.version, release.resolved.ref)
        environment = {**release.environment(self._environment), **own}
        return MachineSpec(
            id=machine_id,
            number=number,
            image=release.resolved,
            source=release.source,
            environment=environment,
            internal_port=config.service.internal_port,
            cpus=config.machine.cpus,
            memory_mb=config.machine.memory_mb,
            command=self._command(config),
            entrypoint=self._entrypoint(config),
            volumes=self._volumes(config, machine_id),
            mounts=self._mounts if release.resolved.dev and self._driver.runs_images else (),
            files=self._files(config, environment),
            # A Machine of the working tree must not keep files of an earlier version.
            keeps_root=config.machine.persist_rootfs != "never" and not release.resolved.dev,
            debug=self.debug and release.resolved.dev,
        )

    def forget(self, machine_id: str) -> None:
        """Free the volumes of a Machine that was destroyed."""
        self._slots.pop(machine_id, None)

    def _command(self, config: FlyConfig) -> tuple[str, ...]:
        """The command that replaces the image's CMD. For the process driver: the command of parity.toml."""
        if not self._driver.runs_images:
            return self._commands.get(config.group, ())
        if config.experimental.exec:
            return ()
        if config.group in config.processes:
            return tuple(shlex.split(config.processes[config.group]))
        return tuple(config.experimental.cmd)

    def _entrypoint(self, config: FlyConfig) -> tuple[str, ...]:
        """What replaces the image's ENTRYPOINT. fly.toml's ``exec`` replaces both ENTRYPOINT and CMD."""
        if not self._driver.runs_images:
            return ()
        return tuple(config.experimental.exec or config.experimental.entrypoint)

    def _files(self, config: FlyConfig, environment: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
        """``[[files]]`` with their contents. None for the process driver: a process has no file system of its own."""
        if not self._driver.runs_images:
            return ()
        return tuple((file.guest_path, self._content(file, environment)) for file in config.group_files)

    def _content(self, file: File, environment: Mapping[str, str]) -> bytes:
        """The bytes of one file. Secrets and raw values are base64 (superfly/docs, reference/configuration, files)."""
        where = f"[[files]] {file.guest_path}"
        if file.local_path:
            path = self._root / file.local_path
            try:
                return path.read_bytes()
            except OSError as error:
                raise DriverError(f"{where}: local_path {path} cannot be read: {error.strerror}") from error
        text = environment.get(file.secret_name) if file.secret_name else file.raw_value
        source = f"secret {file.secret_name}" if file.secret_name else "raw_value"
        if text is None:
            raise DriverError(f"{where}: there is no {source}; set it, or remove the file from fly.toml")
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise DriverError(f"{where}: {source} is not base64: {error}") from error

    def _volumes(self, config: FlyConfig, machine_id: str) -> tuple[tuple[str, str], ...]:
        """The names and paths of the Machine's volumes.

        As on Fly, a volume belongs to one Machine at a time and outlives it. A Machine takes the lowest free number, so
        that after a restart of the stand-in its Machines get the existing volumes.
        """
        if not config.volumes or not self._driver.runs_images:
            return ()
        taken = set(self._slots.values())
        slot = self._slots.setdefault(machine_id, next(n for n in range(len(taken) + 1) if n not in taken))
        return tuple((f"{mount.source}_{slot}", mount.destination) for mount in config.volumes)
