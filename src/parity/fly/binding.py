"""Report a port that cannot be bound as an error of the setting that chose the port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from parity.config.errors import ConfigError


@contextmanager
def binding(setting: str, host: str, port: int) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a ``ConfigError`` that names ``setting``.

    Put only the call that binds ``port`` into the block; any other ``OSError`` would be reported as a busy port.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            setting,
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            "a port that nothing else uses",
            f"stop what uses the port, or set {setting}",
        ) from error
