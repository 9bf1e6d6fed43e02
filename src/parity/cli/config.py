"""``parity config check`` and ``parity diff``."""

from __future__ import annotations

import json
import os

import click

from parity.cli.usable import cors_rules, usable
from parity.config.compose_env import FILE, compose_env_text
from parity.config.fly_toml import FlyConfig
from parity.config.project import Project
from parity.stack.target import local_project


@click.group()
def config() -> None:
    """Check the files that describe the app, and write the one that Compose reads."""


@config.command()
def write() -> None:
    """Write deploy/parity.env, from which Compose reads host names, image names and default ports."""
    project = Project.load(os.environ)
    path = project.path(FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(compose_env_text(project), "utf-8")
    click.echo(f"wrote {path}")


@config.command()
@click.option(
    "--as-flyctl", is_flag=True, help="Ignore unknown keys of fly.toml, as a deploy with flyctl does, and print them."
)
def check(as_flyctl: bool) -> None:
    """Report every mistake in fly.toml, parity.toml, the stand-in secrets, the CORS file and the contract.

    Exit code 2 if there are any.
    """
    project = usable({**os.environ, "PARITY_AS_FLYCTL": "true"} if as_flyctl else os.environ)
    parity, service = project.parity, project.fly.service
    click.echo(f"{parity.app.fly_config}: app {project.fly.app}, port {service.internal_port}, "
               f"{len(service.checks)} check(s), {project.fly.machine.memory_mb} MiB")  # fmt: skip
    click.echo(f"parity.toml: {len(parity.targets)} target(s), origin {parity.app.frontend_origin or 'none'}")
    if parity.secrets:
        click.echo(f"{parity.secrets.file}: {len(project.secrets)} secret(s), bucket {project.bucket}")
    if parity.r2.cors:
        click.echo(f"{parity.r2.cors}: {len(cors_rules(project.path(parity.r2.cors)))} rule(s)")
    for line in difference_lines(project.fly):
        click.echo(line)


def difference_lines(fly: FlyConfig) -> list[str]:
    """The settings of fly.toml that are not reproduced. Those that change the app's behaviour come first."""
    loud = [f"NOT REPRODUCED  {entry}" for entry in fly.not_reproduced if entry.loud]
    quiet = [f"not reproduced  {entry}" for entry in fly.not_reproduced if not entry.loud]
    return [*(f"DROPPED by flyctl  {key}" for key in fly.dropped), *loud, *quiet]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(as_json: bool) -> None:
    """Show the environment variables in which a Machine here differs from one on Fly, as parity.toml declares."""
    project, _ = local_project(os.environ)
    if as_json:
        replaced = {
            name: {"here": project.overrides[name], "on_fly": _on_fly(project, name), "reason": override.reason}
            for name, override in project.parity.standin.override.items()
        }
        body = {"only_here": project.standin_env, "other_values_here": project.secrets, "replaced_here": replaced}
        click.echo(json.dumps(body, indent=2))
        return
    click.echo("Only here ([standin.env] of parity.toml):")
    for name, value in project.standin_env.items():
        click.echo(f"  {name}={value}")
    if project.overrides:
        click.echo("Replaced here ([standin.override] of parity.toml):")
    for name, value in project.overrides.items():
        click.echo(f"  {name}={value}, on Fly {_on_fly(project, name)}")
        click.echo(f"    because: {project.parity.standin.override[name].reason}")
    if project.parity.secrets:
        click.echo(f"Other values here ({project.parity.secrets.file}; on Fly: `fly secrets list`):")
    for name, value in project.secrets.items():
        if name not in project.overrides:
            click.echo(f"  {name}={value}")
    same = [name for name in project.fly.env if name not in project.secrets and name not in project.overrides]
    click.echo(f"The same: {', '.join(same)} ({project.parity.app.fly_config})")


def _on_fly(project: Project, name: str) -> str:
    """The value of a variable on Fly, for a reader; only Fly knows the values of secrets."""
    return "a secret" if name in project.secrets else project.fly.env[name]
