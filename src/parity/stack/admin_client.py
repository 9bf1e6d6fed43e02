"""Asks the stack's admin API."""

from __future__ import annotations

from typing import Any

import httpx

from parity.stack.errors import AdminRefused, NotRunning

# Stopping a Machine takes up to fly.toml's kill_timeout.
_TIMEOUT = httpx.Timeout(120.0, connect=2.0)


def ask(base_url: str, method: str, path: str, body: object = None) -> Any:
    """The JSON answer, ``None`` for an empty one. Raises ``NotRunning`` when nothing listens, ``AdminRefused`` else."""
    try:
        answer = httpx.request(method, f"{base_url}{path}", json=body, timeout=_TIMEOUT, trust_env=False)
    except httpx.ConnectError:
        raise NotRunning(f"nothing answers at {base_url}", "start the stack: `parity up`") from None
    except httpx.TransportError as error:
        raise AdminRefused(f"{method} {base_url}{path}: {error!r}", "`parity logs fly` shows what it does") from None
    if answer.is_success:
        return answer.json() if answer.content else None
    raise AdminRefused(f"{method} {path}: {answer.status_code} {_reason(answer)}")


def _reason(answer: httpx.Response) -> str:
    """A problem's title and detail, or the first of the text."""
    try:
        problem = answer.json()
    except ValueError:
        return answer.text[:300]
    if not isinstance(problem, dict):
        return str(problem)[:300]
    return ": ".join(str(problem[key]) for key in ("title", "detail") if problem.get(key))
