"""A group whose commands are imported when they are used: ``parity --help`` loads no stand-in."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Mount:
    """``name`` is the command, ``source`` ``module:attribute``, ``help`` its line in the list."""

    name: str
    source: str
    help: str

    @property
    def module(self) -> str:
        return self.source.partition(":")[0]

    def present(self) -> bool:
        """Whether the module exists; a package without it is no error."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:  # its package does not exist
            return False

    def load(self) -> click.Command:
        attribute = self.source.partition(":")[2]
        command = getattr(importlib.import_module(self.module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.source} is not a click command")
        return command


class LazyGroup(click.Group):
    """Beside its own commands those of ``mounts`` whose module exists."""

    def __init__(self, *args: object, mounts: tuple[Mount, ...] = (), **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own arguments, passed on
        self.mounts = {mount.name: mount for mount in mounts}

    def list_commands(self, ctx: click.Context) -> list[str]:
        mounted = [name for name, mount in self.mounts.items() if mount.present()]
        return sorted({*super().list_commands(ctx), *mounted})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        mount = self.mounts.get(cmd_name)
        if mount is not None and mount.present():
            return mount.load()
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, with the mounts' own lines instead of their modules'."""
        rows = []
        for name in self.list_commands(ctx):
            mount = self.mounts.get(name)
            own = super().get_command(ctx, name)
            rows.append((name, mount.help if mount else own.get_short_help_str(80) if own else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
