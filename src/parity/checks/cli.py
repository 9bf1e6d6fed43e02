"""``parity check``: run the checks against the local stack, or the live-safe ones against a deployed app."""

from __future__ import annotations

import asyncio
import os
import platform
from importlib import metadata
from pathlib import Path

import click

from parity.checks.registry import CHECKS
from parity.checks.runner import Suite, find_facilities, select
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.report.html import html_page
from parity.report.identity import current_identity
from parity.report.junit import junit_xml
from parity.report.ran import images_that_ran, release_newer_build
from parity.report.receipt import ReceiptResult, write_receipt
from parity.report.results import Run
from parity.report.terminal import result_lines, skipped_lines, summary_line
from parity.stack.target import Target, local_project

FILE = click.Path(dir_okay=False, path_type=Path)
TOOLS_NAMED = ("httpx", "playwright", "websockets", "modal", "boto3", "moto")


@click.command("check")
@click.option("--target", "name", metavar="NAME", help="A target of parity.toml: only checks that are safe there.")
@click.option("--only", multiple=True, metavar="ID", help="Only this check; repeatable.")
@click.option("--prove", is_flag=True, help="Also run each check against its broken variant, which it must catch.")
@click.option("--list", "listing", is_flag=True, help="Show the checks and run none.")
@click.option("--junit", type=FILE, help="Write JUnit XML there.")
@click.option("--html", type=FILE, help="Write one self-contained page there.")
@click.option("--receipt", type=FILE, help="Default: receipts/latest.json in the state, for a whole local run.")
def check(
    name: str | None,
    only: tuple[str, ...],
    prove: bool,
    listing: bool,
    junit: Path | None,
    html: Path | None,
    receipt: Path | None,
) -> None:
    """Say what holds: run the checks and leave a receipt for a promotion.

    Exit code 0 when every check that ran holds (and, with --prove, caught its broken variant).
    """
    if listing:
        for entry in CHECKS:
            click.echo(f"{entry.id:<30} {entry.capability}  {entry.title}")
        return
    try:
        project, target = resolve_target(name)
        selected = select(CHECKS, only)
        if prove and target.driver == "live":
            raise ConfigError("--prove", "breaks the app on purpose", "the local stack", "leave out --target")
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--only") from None
    click.echo(f"target {target.name} ({target.driver}): {target.api_url}")
    if target.driver == "docker" and target.admin_url:
        # Building the checks builds the image too: what is checked must be the newest build, for the whole run.
        try:
            released = release_newer_build(target.admin_url)
        except ConfigError as error:
            raise click.ClickException(str(error)) from None
        if released:
            click.echo(released)
    suite = Suite(
        project, target, find_facilities(project, target), CHECKS, lambda r: click.echo("\n".join(result_lines(r)))
    )
    run = asyncio.run(suite.run(selected, prove=prove, tools=versions()))
    if receipt is None and not only and target.driver != "live":
        receipt = project.settings.state_dir / "receipts" / "latest.json"
    _write(project, target.admin_url, run, junit, html, receipt)
    for line in (*skipped_lines(run), summary_line(run)):
        click.echo(line)
    raise SystemExit(0 if run.ok else 1)


def resolve_target(name: str | None) -> tuple[Project, Target]:
    """The local stack for no name; else exactly what ``parity.toml`` names. Raises ``ConfigError``."""
    if name is not None:
        project = Project.load()
        return project, Target.live(project, name)
    return local_project(os.environ)[0], Target.from_environment()


def versions() -> dict[str, str]:
    """Versions of what the checks observe with."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in TOOLS_NAMED}}


def _write(
    project: Project, admin_url: str | None, run: Run, junit: Path | None, html: Path | None, receipt: Path | None
) -> None:
    texts: list[tuple[Path, str]] = []
    if junit:
        texts.append((junit, junit_xml(run)))
    if html:
        texts.append((html, html_page(run)))
    for path, text in texts:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        click.echo(f"wrote {path}")
    if receipt and admin_url:
        # What the Machines ran, not what the tag names now: it may have been rebuilt meanwhile.
        ran = images_that_ran(admin_url, run.started_at.timestamp())
        results = [
            ReceiptResult(
                r.id, r.title, r.capability, str(r.outcome), r.reasons, r.seconds, r.proof.caught if r.proof else None
            )
            for r in run.results
        ]
        write_receipt(
            receipt,
            target=run.target,
            driver=run.driver,
            identity=current_identity(project, ran),
            ran=ran,
            results=results,
            known=run.known,
            tools=run.tools,
        )
        click.echo(f"wrote {receipt}")
