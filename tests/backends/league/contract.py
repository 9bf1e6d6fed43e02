"""What League says of itself: sign-up in two steps, bearer tokens, rows in Postgres, films by way of the server."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Literal

from parity.contract import Api, Edit, Elsewhere, Job, JobState, Prefix, Refusal, Uploaded

At = Literal["running", "done", "failed"]
STATES: dict[str, At] = {"queued": "running", "running": "running", "done": "done", "failed": "failed"}


class Contract:
    keeps = Elsewhere()
    environments = Prefix("staging")

    def __init__(self, api: Api) -> None:
        self.api = api
        self._films: dict[str, int] = {}

    async def sign_in(self) -> None:
        code = (await self.api.call("POST", "/signup", {"handle": self.api.user}, expect=201))["code"]
        confirmed = await self.api.call("POST", "/signup/confirm", {"handle": self.api.user, "code": code})
        self.api.headers["Authorization"] = f"Bearer {confirmed['token']}"

    async def write(self, text: str) -> None:
        await self.api.call("POST", "/teams", {"name": text}, expect=201)

    async def read(self) -> Collection[str]:
        return [team["name"] for team in (await self.api.call("GET", "/teams/"))["teams"]]

    async def owns(self) -> str:
        return f"staging/league/{self.api.user}/"

    async def edit(self) -> Sequence[Edit]:
        return [self._field("name"), self._field("city")]

    def _field(self, name: str) -> Edit:
        async def do(text: str) -> None:
            await self.api.call("PATCH", "/club", {name: text})

        async def shown() -> str:
            return str((await self.api.call("GET", "/club"))[name])

        return Edit(do, shown)

    async def delete(self, text: str) -> None:
        teams = (await self.api.call("GET", "/teams/"))["teams"]
        number = next(team["id"] for team in teams if team["name"] == text)
        await self.api.call("DELETE", f"/teams/{number}", expect=204)

    async def refused(self) -> Sequence[Refusal]:
        return [
            Refusal("GET", "/no-such-path", 404),
            Refusal("POST", "/teams", 400, {}),
            Refusal("GET", "/films/999999999", 404),
        ]

    async def upload(self, data: bytes) -> Uploaded:
        files = {"film": ("match.mp4", data, "video/mp4")}
        film = await self.api.call("POST", "/films", expect=201, files=files)
        self._films[film["key"]] = film["id"]
        return Uploaded(film["key"])

    async def content(self, key: str) -> bytes:
        answer = await self.api.ask("GET", f"/films/{self._films[key]}")
        return answer.content

    async def job(self) -> Job:
        number = (await self.api.call("POST", "/tables", expect=202))["id"]

        async def state() -> JobState:
            found = json.loads(await self.api.first_event(f"/tables/{number}/events"))
            return JobState(STATES[found["state"]], found["reason"], (found["key"],))

        return Job(state, done_s=30)
