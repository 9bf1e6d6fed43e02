"""Suspends the deadlines of checks while the app is debugged (`parity dev --debug`): a breakpoint may stop it."""

from __future__ import annotations

import time

import httpx

_ASK_S = 30.0
_patient = False
_admin_url: str | None = None


def look(admin_url: str | None) -> bool:
    """Ask the Fly stand-in, once for the whole run, whether Machines can be debugged. False without an answer."""
    global _patient, _admin_url
    _admin_url = admin_url
    _patient = _says("debug")
    return _patient


def _says(key: str) -> bool:
    """Whether the stand-in's ``/fly/dev`` says that ``key`` is true."""
    if _admin_url is None:
        return False
    try:
        shown = httpx.get(f"{_admin_url}/fly/dev", timeout=_ASK_S, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return False
    return isinstance(shown, dict) and shown.get(key) is True


def limit(seconds: float) -> float | None:
    """``seconds``; None, which means no limit, where the app can be debugged."""
    return None if _patient else seconds


class Deadline:
    """A deadline ``within_s`` seconds from now; it starts again while a debugger is attached to the app."""

    def __init__(self, within_s: float) -> None:
        self._within_s, self._end = within_s, time.monotonic() + within_s

    @property
    def passed(self) -> bool:
        if time.monotonic() <= self._end:
            return False
        if _patient and _says("attached"):
            self._end = time.monotonic() + self._within_s
            return False
        return True
