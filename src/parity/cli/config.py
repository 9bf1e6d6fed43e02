"""``parity config check`` and ``parity diff``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.stack.target import local_project


@click.group()
def config() -> None:
    """The files that describe the app."""


@config.command()
def check() -> None:
    """Read fly.toml, parity.toml, the secrets and the bucket's CORS file; exit code 2 says that one is wrong."""
    project = Project.load(os.environ)
    rules = cors_rules(project.path(project.parity.r2.cors))
    _ = project.bucket
    service = project.fly.service
    click.echo(f"{project.parity.app.fly_config}: app {project.fly.app}, port {service.internal_port}, "
               f"{len(service.checks)} check(s), {project.fly.machine.memory_mb} MiB")  # fmt: skip
    click.echo(f"parity.toml: {len(project.parity.targets)} target(s), origin {project.parity.app.frontend_origin}")
    click.echo(f"{project.parity.secrets.file}: {len(project.secrets)} secret(s), bucket {project.bucket}")
    click.echo(f"{project.parity.r2.cors}: {len(rules)} rule(s)")
    if project.fly.not_reproduced:
        click.echo(f"read, but not acted on here: {', '.join(project.fly.not_reproduced)}")
    if project.parity.app.frontend_origin not in {
        origin for rule in rules for origin in rule.get("AllowedOrigins", [])
    }:
        raise ConfigError(
            project.parity.r2.cors,
            f"no rule allows {project.parity.app.frontend_origin}: a browser could not load or upload a video",
            "the frontend's origin in AllowedOrigins",
        )


def cors_rules(path: Path) -> list[dict[str, list[str]]]:
    """``CORSRules`` of the bucket's CORS file. Raises ``ConfigError``; the R2 stand-in checks each rule further."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(str(path), f"not valid JSON: {error}") from None
    rules = data.get("CORSRules") if isinstance(data, dict) else None
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise ConfigError(str(path), "there is no list CORSRules", '{"CORSRules": [{"AllowedOrigins": […], …}]}')
    for number, rule in enumerate(rules):
        for key in ("AllowedOrigins", "AllowedMethods"):
            if not isinstance(rule.get(key), list) or not all(isinstance(text, str) for text in rule[key]):
                raise ConfigError(f"{path}: CORSRules.{number}.{key}", "missing or not a list of texts")
    return rules


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def diff(as_json: bool) -> None:
    """Show what a Machine has here and not on Fly, by declaration."""
    project, _ = local_project(os.environ)
    if as_json:
        body = {"only_here": project.standin_env, "other_values_here": project.secrets}
        click.echo(json.dumps(body, indent=2))
        return
    click.echo("Only here ([standin.env] of parity.toml):")
    for name, value in project.standin_env.items():
        click.echo(f"  {name}={value}")
    click.echo(f"Other values here ({project.parity.secrets.file}; on Fly: `fly secrets list`):")
    for name, value in project.secrets.items():
        click.echo(f"  {name}={value}")
    click.echo(f"The same: {', '.join(project.fly.env)} ({project.parity.app.fly_config})")
