"""The product's API as one user of one profile calls it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

import httpx

from parity.checks.kit.machines import PINNED
from parity.checks.kit.tools import Tools
from parity.checks.model import ProductFault


@dataclass(frozen=True)
class Caller:
    """Requests carry the identity headers and the frontend's Origin, as the page's do.

    ``machine``: the only one that may serve them.
    """

    tools: Tools
    profile: str | None = None
    machine: str | None = None

    def on(self, machine: str) -> Caller:
        """The same user and profile, served by this Machine."""
        return replace(self, machine=machine)

    @property
    def headers(self) -> dict[str, str]:
        given = {"X-User-ID": self.tools.user, "Origin": self.tools.target.frontend_origin}
        return given | ({"X-Profile-ID": self.profile} if self.profile else {}) | self.routing

    @property
    def routing(self) -> dict[str, str]:
        return {PINNED: self.machine} if self.machine else {}

    @property
    def query(self) -> str:
        """The identity for a WebSocket, whose headers a browser cannot set."""
        return f"user_id={self.tools.user}" + (f"&profile_id={self.profile}" if self.profile else "")

    async def ask(self, method: str, path: str, json: object = None, **options: Any) -> httpx.Response:
        """The answer, whatever it is."""
        body = {"json": json} if json is not None else {}
        headers = {**self.headers, **options.pop("headers", {})}
        return await self.tools.http.request(method, path, headers=headers, **body, **options)

    async def call(self, method: str, path: str, json: object = None, **options: Any) -> Any:
        """The answer's JSON. Raises ``ProductFault`` for anything but 2xx."""
        answer = await self.ask(method, path, json, **options)
        if not answer.is_success:
            raise ProductFault(f"{method} {path} answered {answer.status_code}: {answer.text[:400]}")
        return answer.json() if answer.content else None


async def new_profile(tools: Tools) -> Caller:
    """A caller in a profile of its own."""
    made = await Caller(tools).call("POST", "/api/profiles", {"name": f"check {secrets.token_hex(3)}"})
    return Caller(tools, made["id"])


def user_prefix(tools: Tools) -> str:
    """Where everything of this check's user must lie in the bucket."""
    return f"{tools.project.fly.env.get('APP_ENV', '')}/users/{tools.user}/"
