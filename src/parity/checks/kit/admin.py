"""The stand-ins' admin API, through its gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from parity.checks.kit.http import Http
from parity.checks.model import Unobservable

# A release waits for health; fly.toml's wait_timeout is 5 minutes.
RELEASE_TIMEOUT_S = 330.0


class Admin:
    """Raises ``Unobservable`` when a stand-in refuses or is not there."""

    def __init__(self, url: str, http: Http) -> None:
        self._url, self._http = url, http

    async def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, timeout_s: float = 60.0
    ) -> Any:
        """The answer's JSON; None where it has no body."""
        options: dict[str, Any] = {"timeout": timeout_s} | ({"json": dict(body)} if body is not None else {})
        try:
            answer = await self._http.request(method, f"{self._url}{path}", **options)
        except httpx.HTTPError as error:
            raise Unobservable(f"the admin API does not answer at {self._url}: {error!r}") from None
        if answer.is_error:
            raise Unobservable(f"admin {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    async def machines(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.call("GET", "/fly/machines")
        return found

    async def release(self, body: Mapping[str, object]) -> None:
        await self.call("POST", "/fly/releases", body, timeout_s=RELEASE_TIMEOUT_S)

    async def replace_machines(self) -> None:
        """Destroy every Machine and make a new one, with nothing of the old ones' disks."""
        old = [machine["id"] for machine in await self.machines()]
        for machine_id in old:
            await self.call("POST", f"/fly/machines/{machine_id}/destroy")
        await self.call("POST", "/fly/machines")
        left = {machine["id"] for machine in await self.machines()} & set(old)
        if left:
            raise Unobservable(f"destroyed Machines are still there: {', '.join(sorted(left))}")

    async def keys(self, prefix: str = "") -> list[str]:
        """Every key of the bucket below ``prefix``."""
        answer = await self.call("GET", f"/r2/objects?limit=100000&prefix={prefix}")
        return sorted(entry["key"] for entry in answer["objects"])

    async def modal_calls(self) -> list[dict[str, Any]]:
        """Calls of GPU functions, newest first."""
        found: list[dict[str, Any]] = await self.call("GET", "/modal/calls")
        return found
