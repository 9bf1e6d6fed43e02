"""Reads a TOML file into a pydantic model. All mistakes are in one ``ConfigError``, which names file and keys."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from parity.config.errors import ConfigError, nearest, together

M = TypeVar("M", bound=BaseModel)


def read_toml(path: Path) -> dict[str, object]:
    """The file's table. Raises ``ConfigError`` when it is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no such file", fix="create it, or correct the path") from None
    except IsADirectoryError:
        raise ConfigError(str(path), "is a folder", "a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"not valid TOML: {error}") from None


def load_model(path: Path, data: dict[str, object], model: type[M]) -> M:
    """``data`` as ``model``. Raises ``ConfigError`` with every wrong key, each with its place in the file."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise together([_mistake(path, model, dict(found)) for found in error.errors()]) from None


def _mistake(path: Path, model: type[BaseModel], found: dict[str, Any]) -> ConfigError:
    key = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        known = nearest(str(found["loc"][-1]), _known_keys(model, found["loc"][:-1]))
        return ConfigError(f"{path}: {key}", "unknown key", known, "correct it")
    given = "" if found["type"] == "missing" else f" (given: {found['input']!r})"
    message = str(found["msg"]).removeprefix("Value error, ")
    return ConfigError(f"{path}: {key}", f"{message}{given}")


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """Keys that the table at ``path`` may have; empty when it is not a table of its own model."""
    current: type[BaseModel] = model
    named = False  # the last field is a table of tables, and this part of the path is a name of the developer's
    for part in path:
        if isinstance(part, int) or named:
            named = False
            continue
        field = next((f for n, f in current.model_fields.items() if part in (n, f.alias)), None)
        inner = _model_in(field.annotation) if field else None
        if field is None or inner is None:
            return set()
        named = getattr(field.annotation, "__origin__", None) is dict
        current = inner
    # What is excluded is no key of the file.
    return {field.alias or name for name, field in current.model_fields.items() if not field.exclude}


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found:
            return found
    return None
