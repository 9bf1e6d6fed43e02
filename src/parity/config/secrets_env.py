"""``NAME=value`` files, the form that ``fly secrets import`` reads, with ``${NAME}`` from the harness's variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from parity.config.errors import ConfigError

_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def interpolate(text: str, variables: Mapping[str, str], where: str) -> str:
    """``text`` with each ``${NAME}`` replaced. Raises ``ConfigError`` for a name that is not among ``variables``."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise ConfigError(where, f"${{{found[1]}}} is not known", f"one of {', '.join(sorted(variables))}")
        return variables[found[1]]

    return _REFERENCE.sub(value, text)


def load_env_file(path: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The file's names and values. Raises ``ConfigError`` naming file and line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(
            str(path), "there is no such file", fix="create it with one NAME=value line a secret"
        ) from None
    values: dict[str, str] = {}
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{path}:{number}"
        found = _LINE.fullmatch(line)
        if not found:
            raise ConfigError(where, "not a NAME=value line")
        name, text = found[1], found[2]
        if name in values:
            raise ConfigError(where, f"{name} stands in the file twice", "each name once")
        if len(text) >= 2 and text[0] == text[-1] == '"':
            text = text[1:-1]
        values[name] = interpolate(text, variables, where)
    return values
