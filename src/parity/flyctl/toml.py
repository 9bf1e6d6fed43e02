"""Writes a configuration as TOML in the order of ``fly config save``: plain keys, then tables, then lists of tables."""

from __future__ import annotations

import json
import re
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(data: dict[str, Any]) -> str:
    """``data`` as TOML text."""
    return "\n".join(_table(data, ())) + "\n"


def _table(data: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(name)} = {_value(value)}" for name, value in data.items() if not _is_table(value)]
    for name, value in data.items():
        inner = (*path, name)
        if isinstance(value, dict):
            lines += ["", f"[{'.'.join(map(_key, inner))}]", *_table(value, inner)]
        elif _is_table(value):
            for item in value:
                lines += ["", f"[[{'.'.join(map(_key, inner))}]]", *_table(item, inner)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)  # TOML's basic strings, numbers and booleans are written as JSON's
