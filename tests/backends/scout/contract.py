"""What Scout says of itself: registration confirmed by mail, bearer tokens, JSON objects with ETags, films in parts,
digests polled until a redirect."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection, Sequence
from typing import Any, Literal
from urllib.parse import quote

import httpx

from parity.contract import Api, Edit, InBucket, Job, JobState, Prefix, Refusal, Refused, Socket, Uploaded

MAIL = "mail.example"
STATES: dict[str, Literal["running", "failed"]] = {"working": "running", "failed": "failed"}


class Contract:
    keeps = InBucket("staging/accounts/")
    environments = Prefix("staging")

    def __init__(self, api: Api) -> None:
        self.api = api
        self._films: dict[str, str] = {}

    @property
    def _who(self) -> dict[str, str]:
        return {"email": f"{self.api.user}@club.example", "password": f"secret of {self.api.user}"}

    async def sign_in(self) -> None:
        await self.api.call("POST", "/v1/accounts", self._who, expect=202)
        mails = await self.api.stub_calls(MAIL, containing=self._who["email"])
        code = re.findall(r"code for Scout is (\d{6})", mails[-1].body)[0]
        await self.api.call("POST", "/v1/accounts/confirm", {"email": self._who["email"], "code": code}, expect=204)
        await self.cold_person()

    async def cold_person(self) -> None:
        token = (await self.api.call("POST", "/v1/tokens", self._who))["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"

    async def owns(self) -> str:
        return f"staging/accounts/{hashlib.sha256(self._who['email'].encode()).hexdigest()[:20]}/"

    async def write(self, text: str) -> None:
        await self.api.call("POST", "/v1/notes", {"text": text}, expect=201)

    async def _notes(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = (await self.api.call("GET", "/v1/notes"))["data"]
        return found

    async def read(self) -> Collection[str]:
        return [note["text"] for note in await self._notes()]

    async def delete(self, text: str) -> None:
        note = next(note["id"] for note in await self._notes() if note["text"] == text)
        await self.api.call("DELETE", f"/v1/notes/{note}", expect=204)

    async def edit(self) -> Sequence[Edit]:
        return [self._field("club"), self._field("motto")]

    def _field(self, name: str) -> Edit:
        async def profile() -> httpx.Response:
            answer = await self.api.ask("GET", "/v1/profile")
            if answer.status_code != 200:
                raise Refused("GET /v1/profile", answer.status_code, answer.text)
            return answer

        async def do(text: str) -> None:
            """As the page does: whoever was overtaken looks again, and changes the newer one."""
            for pause in range(20):
                found = await profile()
                sent = {"If-Match": found.headers["etag"]}
                answer = await self.api.ask("PUT", "/v1/profile", {**found.json(), name: text}, headers=sent)
                if answer.status_code != 412:
                    break
                await asyncio.sleep(0.05 * pause)
            if answer.status_code != 200:
                raise Refused("PUT /v1/profile", answer.status_code, answer.text)

        async def shown() -> str:
            return str((await profile()).json()[name])

        return Edit(do, shown)

    async def refused(self) -> Sequence[Refusal]:
        return [
            Refusal("GET", "/no-such-path", 404),
            Refusal("POST", "/v1/notes", 422, {}),
            Refusal("DELETE", "/v1/notes/none", 404),
            Refusal("PUT", "/v1/profile", 428, {"club": "", "motto": ""}),
        ]

    async def sockets(self) -> Sequence[Socket]:
        token = self.api.headers["Authorization"].removeprefix("Bearer ")
        return [Socket("/v1/feed", expect=r'"notes":\d+', subprotocols=("scout.v1", token))]

    async def upload(self, data: bytes) -> Uploaded:
        film = await self.api.call("POST", "/v1/films", {"bytes": len(data), "kind": "video/mp4"}, expect=201)
        parts: list[dict[str, Any]] = []
        for part in film["parts"]:
            etag = await self.api.send_file(part["url"], data[part["from"] : part["to"]])
            parts.append({"number": part["number"], "etag": etag})
        await self.api.call("POST", f"/v1/films/{film['id']}/confirm", {"parts": parts}, expect=204)
        self._films[film["key"]] = film["id"]
        url = (await self.api.call("GET", f"/v1/films/{film['id']}/url?key={quote(film['key'])}"))["url"]
        return Uploaded(film["key"], url)

    async def job(self) -> Job:
        begun = await self.api.ask("POST", "/v1/digests")
        if begun.status_code != 202:
            raise Refused("POST /v1/digests", begun.status_code, begun.text)

        async def state() -> JobState:
            answer = await self.api.ask("GET", begun.headers["location"])
            if answer.status_code == 303:
                key = (await self.api.call("GET", answer.headers["location"]))["key"]
                return JobState("done", keys=(key,))
            if answer.status_code != 200:
                raise Refused(f"GET {begun.headers['location']}", answer.status_code, answer.text)
            found = answer.json()
            return JobState(STATES[found["state"]], found["reason"])

        return Job(state, done_s=20)
