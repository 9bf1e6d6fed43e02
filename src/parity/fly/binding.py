"""Name the setting of a port that cannot be bound, and blame no other error on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from parity.config.errors import ConfigError


@contextmanager
def binding(setting: str, host: str, port: int) -> Iterator[None]:
    """Put only the bind of ``port`` inside. Raises ``ConfigError`` with the setting's name instead of ``OSError``."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            setting,
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            "a port that nothing else uses",
            f"stop what uses the port, or set {setting}",
        ) from error
