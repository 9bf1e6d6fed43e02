"""The error type for mistakes in configuration, and a collector that reports all mistakes at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class ConfigError(Exception):
    """A configuration file or a variable is wrong.

    ``where`` is the file and key, or the variable; ``problem`` is what was found; ``expected`` is the correct form;
    ``fix`` is what to do. ``errors`` has all mistakes if there are several, else only this one.
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
    """Several mistakes. ``where`` and ``problem`` are those of the first one."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first = errors[0]
        super().__init__(first.where, first.problem, first.expected, first.fix)
        self.errors = tuple(errors)
        self.args = ("\n".join([f"{len(errors)} mistakes in the configuration", *map(str, errors)]),)


def together(errors: Sequence[ConfigError]) -> ConfigError:
    """One error with all of ``errors``, which must not be empty."""
    return errors[0] if len(errors) == 1 else ConfigErrors(errors)


class Mistakes:
    """Collects the mistakes of several files, so that one run reports all of them."""

    def __init__(self) -> None:
        self.found: list[ConfigError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Catch a ``ConfigError`` of the block and collect it."""
        try:
            yield
        except ConfigError as error:
            self.found.extend(error.errors)

    def raise_any(self) -> None:
        """Raise all collected mistakes as one ``ConfigError``, if there are any."""
        if self.found:
            raise together(self.found)


def nearest(name: str, known: Iterable[str]) -> str:
    """A text such as ``is it 'port'? one of host, port``; without the question if no name is similar."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1)
    listed = f"one of {', '.join(names)}" if names else ""
    return f"is it {close[0]}? {listed}" if close else listed
