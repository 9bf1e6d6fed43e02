"""What Sideline says of itself: cookie login, one journal a coach, films in one PUT, reports in the background."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from parity.contract import Api, Edit, InBucket, Job, JobState, Prefix, Refusal, Socket, Uploaded

KIND = "video/mp4"
At = Literal["running", "done", "failed"]


class Contract:
    keeps = InBucket("staging/coaches/")
    environments = Prefix("staging")

    def __init__(self, api: Api) -> None:
        self.api = api

    async def sign_in(self) -> None:
        await self.api.call("POST", "/login", {"coach": self.api.user}, expect=201)

    async def write(self, text: str) -> None:
        await self.api.call("POST", "/journal/entries/", {"body": text}, expect=201)

    async def read(self) -> Collection[str]:
        return [item["body"] for item in (await self.api.call("GET", "/journal/entries/"))["items"]]

    async def owns(self) -> str:
        return f"staging/coaches/{self.api.user}/"

    async def edit(self) -> Sequence[Edit]:
        return [self._field("title"), self._field("note")]

    def _field(self, name: str) -> Edit:
        async def do(text: str) -> None:
            await self.api.call("PATCH", "/card", {name: text})

        async def shown() -> str:
            return str((await self.api.call("GET", "/card"))[name])

        return Edit(do, shown)

    async def delete(self, text: str) -> None:
        items = (await self.api.call("GET", "/journal/entries/"))["items"]
        ref = next(item["ref"] for item in items if item["body"] == text)
        await self.api.call("DELETE", f"/journal/entries/{ref}", expect=204)

    async def refused(self) -> Sequence[Refusal]:
        return [
            Refusal("GET", "/no-such-path", 404),
            Refusal("POST", "/journal/entries/", 422, {}),
            Refusal("DELETE", "/journal/entries/none", 404),
        ]

    async def sockets(self) -> Sequence[Socket]:
        return [Socket(f"/live?coach={self.api.user}", expect=f'"listening":"{self.api.user}"')]

    async def upload(self, data: bytes) -> Uploaded:
        film = await self.api.call("POST", "/films", {"kind": KIND, "length": len(data)}, expect=201)
        await self.api.send_file(film["put"], data, KIND)
        await self.api.call("POST", f"/films/{film['ref']}/arrived")
        url = (await self.api.call("GET", f"/films/{film['ref']}/watch"))["url"]
        return Uploaded(f"{await self.owns()}films/{film['ref']}", url)

    async def job(self) -> Job:
        ref = (await self.api.call("POST", "/reports", expect=202))["ref"]

        async def state() -> JobState:
            found = await self.api.call("GET", f"/reports/{ref}")
            states: dict[str, At] = {"queued": "running", "done": "done", "failed": "failed"}
            return JobState(states[found["state"]], found["reason"], (f"{await self.owns()}reports/{ref}.json",))

        return Job(state, done_s=10)
