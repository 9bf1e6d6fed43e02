"""``parity config check`` and ``parity diff``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from parity.config.compose_env import FILE, compose_env_text
from parity.config.errors import ConfigError, Mistakes
from parity.config.fly_toml import FlyConfig
from parity.config.project import Project
from parity.modal.config import modal_secrets
from parity.stack.target import local_project


@click.group()
def config() -> None:
    """The files that describe the app."""


@config.command()
def write() -> None:
    """Write deploy/parity.env, from which Compose takes names and default ports."""
    project = Project.load(os.environ)
    path = project.path(FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(compose_env_text(project), "utf-8")
    click.echo(f"wrote {path}")


@config.command()
@click.option("--as-flyctl", is_flag=True, help="Read fly.toml as a deploy does: drop what flyctl does not know.")
def check(as_flyctl: bool) -> None:
    """Read fly.toml, parity.toml, the secrets and the bucket's CORS file; exit code 2 says that one is wrong."""
    project = Project.load({**os.environ, "PARITY_AS_FLYCTL": "true"} if as_flyctl else os.environ)
    require_usable(project)
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
    """What of fly.toml is not reproduced: first what changes how the app behaves, then the rest."""
    loud = [f"NOT REPRODUCED  {entry}" for entry in fly.not_reproduced if entry.loud]
    quiet = [f"not reproduced  {entry}" for entry in fly.not_reproduced if not entry.loud]
    return [*(f"DROPPED by flyctl  {key}" for key in fly.dropped), *loud, *quiet]


def require_usable(project: Project) -> None:
    """All that ``up`` needs beyond files that can be read. Raises one ``ConfigError`` with every mistake."""
    parity, mistakes = project.parity, Mistakes()
    with mistakes.collected():
        _ = project.r2
    if parity.gpu:
        with mistakes.collected():
            modal_secrets(project)
        for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
            with mistakes.collected():
                project.required(name)
    if project.settings.driver == "process":
        with mistakes.collected():
            _ = project.process
        with mistakes.collected():
            _ = project.group_commands
    if parity.r2.cors:
        with mistakes.collected():
            _require_origin(project, cors_rules(project.path(parity.r2.cors)))
    mistakes.raise_any()


def _require_origin(project: Project, rules: list[dict[str, list[str]]]) -> None:
    origin = project.parity.app.frontend_origin
    allowed = {allowed for rule in rules for allowed in rule.get("AllowedOrigins", [])}
    if origin and not allowed & {origin, "*"}:
        raise ConfigError(
            project.parity.r2.cors,
            f"no rule allows {origin}: a browser could not load or upload a video",
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
    """What Fly has for a variable; a secret's value is known to Fly alone."""
    return "a secret" if name in project.secrets else project.fly.env[name]
