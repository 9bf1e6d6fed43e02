"""The contract of this backend: how the generic checks sign in, write and read (parity.contract)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from broken import newer_release as later_release
from broken import newer_schema_refused, objects_shared, schema_left_behind
from parity.checks import Change, Env, Proxy, R2Rules, Wrap
from parity.contract import Api, Edit, InBucket, Job, JobState, OldData, Prefix, Refusal, Socket, Uploaded
from released_schemas import STEPS, database, project_names, registry_of

ENVIRONMENT = "staging"
UPLOAD = {"name": "Match", "filename": "match.mp4", "content_type": "video/mp4"}
FAILED = ("failed", "cancelled")


class Contract:
    """One person with one profile."""

    keeps = InBucket(f"{ENVIRONMENT}/users/")
    environments = Prefix(ENVIRONMENT)
    newer_release = Wrap(later_release.wrap)
    broken: ClassVar[Mapping[str, Change]] = {
        "storage_off": Env({"R2_ENABLED": "false", "MODAL_ENABLED": "false"}),
        "environment_elsewhere": Env({"APP_ENV": "elsewhere"}),
        "origin_elsewhere": Env({"CORS_ORIGINS": "https://elsewhere.example"}),
        "conditions_ignored": R2Rules(off="16"),
        "failure_as_empty": Proxy("failure_as_empty", nothing={"projects": []}),
        "objects_shared": Wrap(objects_shared.wrap),
        "newer_data_refused": Wrap(newer_schema_refused.wrap),
        "old_data_ignored": Wrap(schema_left_behind.wrap),
    }

    def __init__(self, api: Api) -> None:
        self.api = api
        self._project = self._game = ""

    async def sign_in(self) -> None:
        self.api.headers["X-User-ID"] = self.api.user
        made = await self.api.call("POST", "/api/profiles", {"name": "check"}, expect=201)
        self.api.headers["X-Profile-ID"] = made["id"]

    async def cold_person(self) -> None:
        self.api.headers["X-User-ID"] = self.api.user
        profiles = (await self.api.call("GET", "/api/profiles"))["profiles"]
        if not profiles:
            await self.sign_in()
            return
        self.api.headers["X-Profile-ID"] = profiles[0]["id"]

    async def write(self, text: str) -> None:
        await self.api.call("POST", "/api/projects", {"name": text}, expect=201)

    async def read(self) -> Collection[str]:
        return [project["name"] for project in await self._projects()]

    async def owns(self) -> str:
        return f"{ENVIRONMENT}/users/{self.api.user}/"

    async def edit(self) -> Sequence[Edit]:
        made = await self.api.call("POST", "/api/projects", {"name": "edited"}, expect=201)
        path = f"/api/projects/{made['id']}"

        async def name(text: str) -> None:
            await self.api.call("PATCH", path, {"name": text})

        async def overlay(text: str) -> None:
            await self.api.call("PATCH", path, {"options": {"overlay_text": text}})

        async def shown_name() -> str:
            return str((await self.api.call("GET", path))["name"])

        async def shown_overlay() -> str:
            return str((await self.api.call("GET", path))["options"]["overlay_text"])

        return [Edit(name, shown_name), Edit(overlay, shown_overlay)]

    async def delete(self, text: str) -> None:
        found = next(project for project in await self._projects() if project["name"] == text)
        await self.api.call("DELETE", f"/api/projects/{found['id']}", expect=204)

    async def leave(self) -> None:
        await self.api.call("DELETE", f"/api/profiles/{self.api.headers['X-Profile-ID']}", expect=204)

    async def refused(self) -> Sequence[Refusal]:
        return [
            Refusal("GET", "/api/no-such-path", 404),
            Refusal("GET", "/api/projects/j_none", 404),
            Refusal("POST", "/api/profiles", 422, json={}),
            Refusal("PUT", "/api/health", 405),
        ]

    async def sockets(self) -> Sequence[Socket]:
        profile = self.api.headers["X-Profile-ID"]
        who = ("reel-ballers", f"user.{self.api.user}", f"profile.{profile}")
        return [Socket("/ws/extractions", expect='^{"type": "state"', subprotocols=who)]

    async def upload(self, data: bytes) -> Uploaded:
        made = await self.api.call("POST", "/api/games/prepare-upload", {**UPLOAD, "size": len(data)}, expect=201)
        await self.api.send_file(made["upload"]["url"], data, headers=made["upload"]["headers"])
        self._game = made["game_id"]
        game = await self.api.call("POST", f"/api/games/{self._game}/finalize-upload", {})
        while game["status"] == "inspecting":  # the check has a deadline
            await asyncio.sleep(0.3)
            game = await self.api.call("GET", f"/api/games/{self._game}")
        below = f"games/{self._game}/source.mp4"
        url = (await self.api.call("GET", "/api/storage/url", params={"key": below}))["url"]
        return Uploaded(f"{await self.owns()}profiles/{self.api.headers['X-Profile-ID']}/{below}", url)

    async def content(self, key: str) -> bytes:
        below = key.partition(f"profiles/{self.api.headers['X-Profile-ID']}/")[2]
        url = (await self.api.call("GET", "/api/storage/url", params={"key": below}))["url"]
        answer = await self.api.http.get(url)
        answer.raise_for_status()
        return answer.content

    async def job(self) -> Job:
        clip = {"game_id": self._game, "name": "Goal", "start": 1.0, "end": 3.0}
        clip_id = (await self.api.call("POST", "/api/clips", clip, expect=201))["id"]
        reel = await self.api.call("POST", "/api/projects", {"name": "Best", "clip_ids": [clip_id]}, expect=201)
        export = (await self.api.call("POST", "/api/exports", {"project_id": reel["id"]}, expect=202))["id"]
        key = f"{await self.owns()}profiles/{self.api.headers['X-Profile-ID']}/exports/{export}.mp4"

        async def state() -> JobState:
            seen = await self.api.call("GET", f"/api/exports/{export}")
            if seen["status"] == "complete":
                return JobState("done", keys=(key,))
            if seen["status"] in FAILED:
                return JobState("failed", reason=str(seen["reason"] or ""))
            await asyncio.sleep(0.2)
            return JobState("running")

        return Job(state, done_s=90)

    async def old_data(self) -> Mapping[str, OldData]:
        # Before replication a profile was one SQLite file. ``read`` shows the names of the projects in it.
        owns = await self.owns()
        registry = {f"{owns}profiles.json": registry_of("old")}
        return {
            f"schema {steps}": OldData(
                {**registry, f"{owns}profiles/old/database.sqlite": database(steps)}, project_names(steps)
            )
            for steps in range(1, len(STEPS) + 1)
        }

    async def _projects(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = (await self.api.call("GET", "/api/projects"))["projects"]
        return found
