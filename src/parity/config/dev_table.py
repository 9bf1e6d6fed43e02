"""``[dev]`` of ``parity.toml``: the app's settings for `parity dev` and `parity db`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, field_validator

_WORD = re.compile(r"\{([a-z_]+)\}")
# What the harness fills into `database` itself; every other word is an argument of `parity db`.
FILLED_IN = ("python", "file")


class Dev(BaseModel):
    """``[dev]``: Machines that run the working tree, and a look into a database.

    ``mounts`` is what ``COPY`` is in the Dockerfile: each folder or file of the repository, and its place in the image.
    A container has them there, read-only. Processes need none: they run ``[app.process] directory``.

    ``database`` is a command of the app that writes a copy of one SQLite database to ``{file}``. It runs in a Machine.
    ``{python}`` is filled in; every other ``{name}`` is an argument of ``parity db``, in the order of the command.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mounts: dict[str, str] = {}
    database: list[str] = []

    @field_validator("mounts")
    @classmethod
    def _places(cls, value: dict[str, str]) -> dict[str, str]:
        for source, target in value.items():
            place = PurePosixPath(target)
            if not place.is_absolute() or ".." in place.parts or place == PurePosixPath("/"):
                raise ValueError(f"{source}: {target!r} is not a place in the image, such as /app")
            if PurePosixPath(source).is_absolute() or ".." in PurePosixPath(source).parts:
                raise ValueError(f"{source!r} is not a path below the folder of parity.toml")
        return value

    @field_validator("database")
    @classmethod
    def _has_file(cls, value: list[str]) -> list[str]:
        if value and "file" not in words_of(value):
            raise ValueError("{file} is missing; it is replaced by the path where the command must write the database")
        return value

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words of ``database`` that ``parity db`` asks for."""
        return tuple(word for word in words_of(self.database) if word not in FILLED_IN)


def words_of(command: list[str]) -> tuple[str, ...]:
    """Every ``{name}`` of a command once, in the order of the first place."""
    return tuple(dict.fromkeys(_found(command)))


def _found(command: list[str]) -> Iterator[str]:
    for word in command:
        yield from _WORD.findall(word)


def filled(command: list[str], values: dict[str, str]) -> list[str]:
    """``command`` with each ``{name}`` of ``values`` in its place."""
    return [_WORD.sub(lambda found: values.get(found[1], found[0]), word) for word in command]
