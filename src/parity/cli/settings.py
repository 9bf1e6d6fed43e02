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
Environment variables; every one is optional, and an empty value counts as absent. `make` and `parity` refuse a
`PARITY_…` name that is not on this page. "Set by compose.yaml" marks what describes the inside of containers. The page
is made from the tables in the code by `parity settings --markdown`, and a test compares them. The backend's own
settings: [settings.md](settings.md)."""


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
        "Names, folders and ports of every part. A port that is not set is its default plus `PARITY_PORT_OFFSET`.",
        HarnessSettings,
        ("fly", "r2", "modal", "worker", "frontend", "checks", "dev"),
    ),
    Section("Fly", "How the Fly stand-in behaves where Fly documents nothing.", FlySettings, ("fly",)),
    Section("R2", "How the R2 stand-in behaves, and what keeps its objects.", R2Variables, ("r2",)),
    Section(
        "Addresses of the stack",
        "For commands that run beside a stack that others started, as in the container of the checks: each one goes "
        "before what the settings above say.",
        TargetSettings,
        ("checks",),
    ),
    Section(
        "Names for Compose",
        f"Derived, not set: `parity config write` writes them and the default ports into `{FILE}`.",
        ComposeNames,
    ),
    Section("Builds of images", "What compose.yaml hands to the builds and takes from the engine.", BuildSettings),
    Section("Programs", "What checks and commands run.", ToolSettings),
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
@click.option("--markdown", "as_markdown", is_flag=True, help=f"The text of {PAGE}.")
def settings(as_markdown: bool) -> None:
    """Show every environment variable of the harness with its default."""
    if as_markdown:
        click.echo(page(), nl=False)
        return
    for section in SECTIONS:
        click.echo(f"{section.title}\n{help_text(section.table)}\n")
