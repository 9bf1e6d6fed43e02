"""The error type of services."""

from __future__ import annotations


class ServiceError(Exception):
    """A service of ``parity.toml`` cannot be run; the message names it, says why and shows its last lines."""
