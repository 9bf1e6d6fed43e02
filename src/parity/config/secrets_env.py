"""Reads ``NAME=value`` files, the format of ``fly secrets import``; ``${NAME}`` stands for a harness variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from parity.config.errors import ConfigError, Mistakes

_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
# What ``parity init`` writes where a person has to decide.
OPEN = "TODO"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def interpolate(text: str, variables: Mapping[str, str], where: str) -> str:
    """``text`` with each ``${NAME}`` replaced. Raises ``ConfigError`` for a name that is not among ``variables``."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise ConfigError(where, f"${{{found[1]}}} is not known", f"one of {', '.join(sorted(variables))}")
        return variables[found[1]]

    return _REFERENCE.sub(value, text)


def load_env_file(path: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The file's names and values. Raises one ``ConfigError`` that names file and line of every mistake."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(
            str(path), "there is no such file", fix="create it with one NAME=value line a secret"
        ) from None
    values: dict[str, str] = {}
    mistakes = Mistakes()
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if line and not line.startswith("#"):
            with mistakes.collected():
                name, value = _assignment(line, variables, f"{path}:{number}")
                if name in values:
                    raise ConfigError(f"{path}:{number}", f"{name} is set twice", "each name once")
                values[name] = value
    mistakes.raise_any()
    return values


def _assignment(line: str, variables: Mapping[str, str], where: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if not found:
        raise ConfigError(where, "not a NAME=value line", "NAME=value, an empty line, or a comment that begins with #")
    name, text = found[1], found[2]
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if text == OPEN:
        raise ConfigError(
            where,
            f"{name} is still {OPEN}",
            "a stand-in value",
            "write any text that is no real secret; for the address of another service, ${PARITY_STUB_…} of [stubs] or"
            " ${PARITY_SERVICE_…} of [services]",
        )
    return name, interpolate(text, variables, where)
