"""Tables of environment variables: what one row says, and how a table is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from parity.config.errors import ConfigError


@dataclass(frozen=True)
class Setting:
    """One variable: its name, its default as text, how it is read, what that form is called, what it is for."""

    name: str
    default: str
    parse: Callable[[str], object]
    form: str
    help: str

    @property
    def field(self) -> str:
        """The variable's name without ``PARITY_``, in lower case."""
        return self.name.removeprefix("PARITY_").lower()


def read(table: Sequence[Setting], environ: Mapping[str, str]) -> dict[str, object]:
    """Every setting's value by its field; an unset or empty variable takes its default.

    Raises ``ConfigError``, naming the variable and the form that it wants.
    """
    values: dict[str, object] = {}
    for setting in table:
        text = environ.get(setting.name) or setting.default
        try:
            values[setting.field] = setting.parse(text)
        except ValueError:
            raise ConfigError(setting.name, f"{text!r} cannot be used", setting.form, f"set {setting.name}") from None
    return values


def optional_url(text: str) -> str:
    """An http(s) URL without its last slash, or nothing. Raises ``ValueError``."""
    if text and not text.startswith(("http://", "https://")):
        raise ValueError(text)
    return text.rstrip("/")
