"""A click group that imports a command only when it is used, so that ``parity --help`` loads no stand-in."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import click


class CommandUnusable(click.ClickException):
    """A listed command cannot be imported, because a package is missing."""


@dataclass(frozen=True)
class Mount:
    """``name`` is the command, ``source`` ``module:attribute``, ``help`` its line in the list."""

    name: str
    source: str
    help: str

    def load(self) -> click.Command:
        """Raises ``CommandUnusable`` when a package that the command needs is missing."""
        module, _, attribute = self.source.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise CommandUnusable(f"parity {self.name} cannot be used: {error}; `make venv` installs all") from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.source} is not a click command")
        return command


class LazyGroup(click.Group):
    """Beside its own commands those of ``mounts``, each imported when it is used."""

    def __init__(self, *args: object, mounts: tuple[Mount, ...] = (), **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own arguments, passed on
        self.mounts = {mount.name: mount for mount in mounts}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.mounts})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        mount = self.mounts.get(cmd_name)
        if mount is not None:
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
