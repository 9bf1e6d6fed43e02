"""The error type for mistakes in configuration, and a collector that reports all mistakes at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class ConfigError(Exception):
    """A configuration file or a variable is wrong.

    ``where`` names the file and key or the variable, ``problem`` what was found, ``expected`` the form that would be
    right, ``fix`` what to do next. ``errors`` holds every mistake, where several were found; else only this one.
    """

    def __init__(self, where: str, problem: str, expected: str = "", fix: str = "") -> None:
        self.where, self.problem, self.expected, self.fix = where, problem, expected, fix
        self.errors: tuple[ConfigError, ...] = (self,)
        lines = [f"{where}: {problem}"]
        if expected:
            lines.append(f"  expected: {expected}")
        if fix:
            lines.append(f"  to do:    {fix}")
        super().__init__("\n".join(lines))


class ConfigErrors(ConfigError):
    """Several mistakes at once. ``where`` and ``problem`` are those of the first one."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first = errors[0]
        super().__init__(first.where, first.problem, first.expected, first.fix)
        self.errors = tuple(errors)
        self.args = ("\n".join([f"{len(errors)} mistakes in the configuration", *map(str, errors)]),)


def together(errors: Sequence[ConfigError]) -> ConfigError:
    """One error that tells all of ``errors``, of which there is at least one."""
    return errors[0] if len(errors) == 1 else ConfigErrors(errors)


class Mistakes:
    """Collects the mistakes of several files, so that one run tells all of them."""

    def __init__(self) -> None:
        self.found: list[ConfigError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a ``ConfigError`` of the block instead of raising it."""
        try:
            yield
        except ConfigError as error:
            self.found.extend(error.errors)

    def raise_any(self) -> None:
        """Raises all collected mistakes as one ``ConfigError``; returns where there is none."""
        if self.found:
            raise together(self.found)


def nearest(name: str, known: Iterable[str]) -> str:
    """``is it 'port'? known: …``, or only the known names where none is near."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1)
    listed = f"one of {', '.join(names)}" if names else ""
    return f"is it {close[0]}? {listed}" if close else listed
