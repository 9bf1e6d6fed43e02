"""Requests to the admin API of a running stack.

httpx is imported at the first request, because its import takes a third of the start of a `parity` command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parity.config.admin_limits import ANSWER_S, CONNECT_S
from parity.stack.errors import AdminRefused, NotRunning

if TYPE_CHECKING:
    import httpx


def ask(base_url: str, method: str, path: str, body: object = None) -> Any:
    """The JSON answer; ``None`` for an empty one.

    Raises ``NotRunning`` if nothing listens at ``base_url``, and ``AdminRefused`` for every other failure.
    """
    import httpx

    timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
    try:
        answer = httpx.request(method, f"{base_url}{path}", json=body, timeout=timeout, trust_env=False)
    except httpx.ConnectError:
        raise NotRunning(f"nothing answers at {base_url}", "start the stack: `parity up`") from None
    except httpx.TransportError as error:
        raise AdminRefused(f"{method} {base_url}{path}: {error!r}", "`parity logs fly` shows what it does") from None
    if answer.is_success:
        return answer.json() if answer.content else None
    raise AdminRefused(f"{method} {path}: {answer.status_code} {_reason(answer)}")


def all_machines(base_url: str) -> list[dict[str, Any]]:
    """The Machines that serve requests, then those of other process groups, which have the key ``group``.

    Raises as ``ask`` does.
    """
    return [*ask(base_url, "GET", "/fly/machines"), *ask(base_url, "GET", "/fly/groups")]


def _reason(answer: httpx.Response) -> str:
    """The title and detail of a problem answer, or the first 300 characters of any other answer."""
    try:
        problem = answer.json()
    except ValueError:
        return answer.text[:300]
    if not isinstance(problem, dict):
        return str(problem)[:300]
    return ": ".join(str(problem[key]) for key in ("title", "detail") if problem.get(key))
