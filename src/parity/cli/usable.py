"""Validates everything that ``up`` and ``check`` need, so that one run reports all mistakes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from parity.config.errors import ConfigError, Mistakes
from parity.config.project import PARITY_TOML, Project
from parity.config.secrets_env import OPEN
from parity.config.toml_file import read_toml
from parity.modal.config import modal_secrets
from parity.r2.cors import load_policy, to_json
from parity.services.process import search_path


def usable(environ: Mapping[str, str]) -> Project:
    """The repository's configuration. Raises one ``ConfigError`` with every mistake, the contract's too."""
    mistakes, project = Mistakes(), None
    with mistakes.collected():
        project = Project.load(environ)
    if project is not None:
        with mistakes.collected():
            require_usable(project)
    root = project.settings.root if project else Path(environ.get("PARITY_ROOT") or ".")
    contract = project.parity.checks.contract if project else _contract_named(root)
    if contract and (root / contract).exists():  # else it is told as missing
        with mistakes.collected():
            _require_contract(root / contract)
    mistakes.raise_any()
    assert project is not None
    return project


def require_usable(project: Project) -> None:
    """Raises one ``ConfigError`` with every mistake but those of the contract."""
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
        _services_can_run(project, mistakes)
    else:
        with mistakes.collected():
            require_containers(project)
    if parity.r2.cors:
        with mistakes.collected():
            _require_origin(project, cors_rules(project.path(parity.r2.cors)))
    mistakes.raise_any()


def require_containers(project: Project) -> None:
    """Refuse, before an image is built, what only the process driver can do.

    Raises one ``ConfigError`` with every mistake.
    """
    mistakes = Mistakes()
    for name, service in project.parity.services.items():
        if not service.address:
            mistakes.found.append(
                ConfigError(
                    f"{PARITY_TOML}: services.{name}.address",
                    "with Docker it must name a service of compose.yaml, and its port",
                    f"such as {name}:{service.port}",
                )
            )
    mistakes.raise_any()


def _services_can_run(project: Project, mistakes: Mistakes) -> None:
    path = search_path(os.environ.get("PATH", os.defpath))
    for name, service in project.parity.services.items():
        where = f"{PARITY_TOML}: services.{name}"
        if not service.command:
            mistakes.found.append(ConfigError(f"{where}.command", "without Docker it must say how the service runs"))
        commands: Sequence[Sequence[str]] = (service.prepare, service.command, service.ready)
        words = dict.fromkeys(command[0] for command in commands if command)
        for word in (word for word in words if word != "{python}" and not shutil.which(word, path=path)):
            mistakes.found.append(
                ConfigError(where, f"{word} is not on PATH", "a program of this machine", "install it, or use Docker")
            )


def _contract_named(root: Path) -> str:
    """By a ``parity.toml`` that has mistakes elsewhere."""
    try:
        checks = read_toml(root / PARITY_TOML).get("checks")
    except ConfigError:
        return ""
    named = checks.get("contract") if isinstance(checks, dict) else None
    return named if isinstance(named, str) else ""


def _require_contract(path: Path) -> None:
    # pytest comes with it, which other commands do without.
    from parity.checks.loading import load_contract

    load_contract(path)
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if re.search(rf"\b{OPEN}\b", line):
            raise ConfigError(
                f"{path}:{number}",
                f"still has a {OPEN}: {line.strip()}",
                "your app's own code",
                "replace the line",
            )


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
    """The rules of the bucket's CORS file, as the R2 stand-in reads it. Raises ``ConfigError``."""
    rules = to_json(load_policy(path))
    return [{key: value for key, value in rule.items() if isinstance(value, list)} for rule in rules]
