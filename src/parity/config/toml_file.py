"""Read a TOML file into a pydantic model; every mistake becomes a ``ConfigError`` that names file and key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from parity.config.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def read_toml(path: Path) -> dict[str, object]:
    """The file's table. Raises ``ConfigError`` when it is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            str(path), "there is no such file", fix="create it, or run from the checkout's root"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"not valid TOML: {error}") from None


def load_model(path: Path, data: dict[str, object], model: type[M]) -> M:
    """``data`` as ``model``. Raises ``ConfigError`` for the first wrong key, naming it with its path."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(_known_keys(model, first["loc"][:-1])))
            raise ConfigError(
                f"{path}: {key}", "unknown key", f"one of {known}" if known else "", "correct it"
            ) from None
        given = "" if first["type"] == "missing" else f" (given: {first['input']!r})"
        message = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"{path}: {key}", f"{message}{given}") from None


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """Keys that the table at ``path`` may have; empty when it is not a table of its own model."""
    current: type[BaseModel] = model
    for part in path:
        if isinstance(part, int):
            continue
        field = next((f for n, f in current.model_fields.items() if part in (n, f.alias)), None)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return set()
        current = inner
    return {field.alias or name for name, field in current.model_fields.items()}


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found:
            return found
    return None
