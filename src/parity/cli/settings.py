"""``parity settings``: every variable of the harness, from the tables of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from parity.config.compose_env import FILE, ComposeNames
from parity.config.development import BuildSettings, ScriptSettings, ToolSettings
from parity.config.settings import HarnessSettings
from parity.config.variables import help_text, markdown, names, refuse_unknown
from parity.fly.settings import FlySettings
from parity.r2.settings import R2Variables
from parity.stack.target import TargetSettings

PAGE = "docs/settings-parity.md"
INTRODUCTION = """\
Every variable is optional, and an empty value counts as absent. `make` and `parity` refuse a `PARITY_…` variable that
is not on this page. "Set by compose.yaml" marks the variables that describe the inside of containers; do not set them
yourself. `parity settings --markdown` writes this page from the tables in the code, and a test compares the two. The
backend has its own settings: [settings.md](settings.md)."""


@dataclass(frozen=True)
class Section:
    """One table of the page. ``services``: which services of compose.yaml read it."""

    title: str
    text: str
    table: type[Any]
    services: tuple[str, ...] = ()


SECTIONS = (
    Section(
        "The stack",
        "Names, folders and ports of every part. A port that is not set has its default plus `PARITY_PORT_OFFSET`.",
        HarnessSettings,
        ("fly", "r2", "modal", "worker", "frontend", "checks", "dev"),
    ),
    Section(
        "Fly",
        "How the Fly stand-in behaves where Fly's documentation leaves it open. Times are in seconds.",
        FlySettings,
        ("fly",),
    ),
    Section("R2", "How the R2 stand-in behaves, and where it stores objects.", R2Variables, ("r2",)),
    Section(
        "Addresses of the stack",
        "For commands that use a stack which was started elsewhere, such as the checks in their container. Each one "
        "overrides the address that follows from the settings above.",
        TargetSettings,
        ("checks",),
    ),
    Section(
        "Names for Compose",
        f"Do not set these: `parity config write` writes them, with the default ports, into `{FILE}`.",
        ComposeNames,
    ),
    Section("Builds of images", "Used by compose.yaml for the builds of images and for the engine.", BuildSettings),
    Section("Programs", "Which programs the checks and commands run.", ToolSettings),
    Section("Scripts of this repository", "Read by `scripts/` and `.ci/`.", ScriptSettings),
)


def known_names() -> tuple[str, ...]:
    """Every variable that some part reads."""
    return names(*(section.table for section in SECTIONS))


def refuse_misspelt(environ: Mapping[str, str]) -> None:
    """Raises ``ConfigError`` for a ``PARITY_…`` variable that nothing reads, with the nearest one that exists."""
    refuse_unknown(environ, known_names())


def page() -> str:
    """The text of ``docs/settings-parity.md``."""
    lines = ["# Settings of the harness", "", INTRODUCTION]
    for section in SECTIONS:
        lines += ["", f"## {section.title}", "", section.text, "", markdown(section.table).rstrip("\n")]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--markdown", "as_markdown", is_flag=True, help=f"Print the text of {PAGE}.")
def settings(as_markdown: bool) -> None:
    """Show every environment variable of the harness with its default."""
    if as_markdown:
        click.echo(page(), nl=False)
        return
    for section in SECTIONS:
        click.echo(f"{section.title}\n{help_text(section.table)}\n")
