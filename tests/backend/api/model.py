"""What the API promises, as a model: a request is judged on a state, and either refused or changes it.

Ids are the server's, so an operation that makes something takes the id from the answer. Jobs are unfinished until they
are cancelled: the Machines of these tests never end one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import apsw
import httpx
from tests.backend.api.machines import GAME_SECONDS

from app.db.rows import fetch_all

OPTIONS = {"overlay_text": "", "aspect": "16:9", "quality": "standard", "transition": "cut"}
SETTINGS = {"overlay_text": "", "aspect_ratio": "16:9", "quality": "medium", "transition": "none", "theme": "system"}
Record = dict[str, Any]


@dataclass
class State:
    """Every table by id; the status of a job is `unfinished`, `cancelled` or `failed`. ``previews`` has the status of
    each preview of a game, in their order: their ids are not shown."""

    games: dict[str, str] = field(default_factory=dict)
    game_names: dict[str, str] = field(default_factory=dict)
    previews: dict[str, list[str]] = field(default_factory=dict)
    clips: dict[str, Record] = field(default_factory=dict)
    projects: dict[str, Record] = field(default_factory=dict)
    extractions: dict[str, Record] = field(default_factory=dict)
    exports: dict[str, Record] = field(default_factory=dict)
    settings: Record = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """A request, and `judge`: the status that a state asks for. It is called with the answer's body and changes the
    state when the request is accepted."""

    method: str
    path: str
    body: Record | None
    judge: Callable[[State, Any], int]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {'' if self.body is None else json.dumps(self.body)}"


class Wrong(Exception):
    """An answer that the state does not allow."""


def apply(state: State, operation: Operation, answer: httpx.Response) -> State:
    """The state after an answered operation. Raises `Wrong`."""
    after = copy.deepcopy(state)
    body = answer.json() if answer.content else None
    try:
        expected = operation.judge(after, body)
    except (KeyError, TypeError) as error:
        raise Wrong(f"{operation}: the answer {answer.status_code} {answer.text} lacks {error}") from error
    if answer.status_code != expected:
        raise Wrong(f"{operation}: answered {answer.status_code}, expected {expected}")
    return after


def create_project(name: str, clip_ids: list[str], options: Record) -> Operation:
    def judge(state: State, body: Any) -> int:
        if any(clip not in state.clips for clip in clip_ids):
            return 422
        state.projects[body["id"]] = {"name": name, "clip_ids": clip_ids, "options": {**OPTIONS, **options}}
        return _shows(body, state.projects[body["id"]], 201)

    return Operation("POST", "/api/projects", {"name": name, "clip_ids": clip_ids, "options": options}, judge)


def change_project(project: str, change: Record) -> Operation:
    def judge(state: State, body: Any) -> int:
        if project not in state.projects:
            return 404
        if any(clip not in state.clips for clip in change.get("clip_ids", ())):
            return 422
        row = state.projects[project]
        row.update({**change, "options": {**row["options"], **change.get("options", {})}})
        return _shows(body, row, 200)

    return Operation("PATCH", f"/api/projects/{project}", change, judge)


def delete_project(project: str) -> Operation:
    return Operation(
        "DELETE",
        f"/api/projects/{project}",
        None,
        lambda state, _: 404 if state.projects.pop(project, None) is None else 204,
    )


def create_clip(game: str, name: str, start: float, end: float) -> Operation:
    def judge(state: State, body: Any) -> int:
        if game not in state.games:
            return 404
        if state.games[game] != "ready":
            return 409
        if not _is_span(start, end):
            return 422
        state.clips[body["id"]] = {"game_id": game, "name": name, "start": start, "end": end}
        return _shows(body, state.clips[body["id"]], 201)

    return Operation("POST", "/api/clips", {"game_id": game, "name": name, "start": start, "end": end}, judge)


def change_clip(clip: str, change: Record) -> Operation:
    def judge(state: State, body: Any) -> int:
        if clip not in state.clips:
            return 404
        row = {**state.clips[clip], **change}
        moved = (row["start"], row["end"]) != (state.clips[clip]["start"], state.clips[clip]["end"])
        if moved and not _is_span(row["start"], row["end"]):
            return 422
        state.clips[clip] = row
        if moved:
            _cancel_extractions(state, clip)
        return _shows(body, row, 200)

    return Operation("PATCH", f"/api/clips/{clip}", change, judge)


def delete_clip(clip: str) -> Operation:
    def judge(state: State, _: Any) -> int:
        if clip not in state.clips:
            return 404
        if any(clip in project["clip_ids"] for project in state.projects.values()):
            return 409
        _drop_clip(state, clip)
        return 204

    return Operation("DELETE", f"/api/clips/{clip}", None, judge)


def finalize(game: str) -> Operation:
    def judge(state: State, _: Any) -> int:
        if game not in state.games:
            return 404
        state.games[game] = "ready"
        return 200

    return Operation("POST", f"/api/games/{game}/finalize-upload", {}, judge)


def delete_game(game: str, cascade: bool) -> Operation:
    def judge(state: State, _: Any) -> int:
        if game not in state.games:
            return 404
        clips = [clip for clip, row in state.clips.items() if row["game_id"] == game]
        if clips and not cascade:
            return 409
        for clip in clips:
            _drop_clip(state, clip)
        for export in state.exports.values():
            if export["status"] == "unfinished" and game in export["games"]:
                export["status"] = "failed"
        if game in state.previews:
            state.previews[game] = ["cancelled" for _ in state.previews[game]]
        del state.games[game], state.game_names[game]
        return 204

    return Operation("DELETE", f"/api/games/{game}?cascade={str(cascade).lower()}", None, judge)


def rename_game(game: str, name: str) -> Operation:
    def judge(state: State, body: Any) -> int:
        if game not in state.games:
            return 404
        state.game_names[game] = name
        return _shows(body, {"id": game, "name": name}, 200)

    return Operation("PATCH", f"/api/games/{game}", {"name": name}, judge)


def upload_urls(game: str) -> Operation:
    def judge(state: State, _: Any) -> int:
        if game not in state.games:
            return 404
        return 200 if state.games[game] == "uploading" else 409

    return Operation("POST", f"/api/games/{game}/upload-urls", None, judge)


def preview(game: str) -> Operation:
    def judge(state: State, _: Any) -> int:
        if game not in state.games:
            return 404
        if state.games[game] != "ready":
            return 409
        previews = state.previews.setdefault(game, [])
        if "unfinished" not in previews:
            previews.append("unfinished")
        return 202

    return Operation("POST", f"/api/games/{game}/preview", None, judge)


def change_settings(change: Record) -> Operation:
    def judge(state: State, body: Any) -> int:
        state.settings.update(change)
        return _shows(body, state.settings, 200)

    return Operation("PATCH", "/api/settings", change, judge)


def replace_settings(wanted: Record) -> Operation:
    def judge(state: State, body: Any) -> int:
        state.settings = {**SETTINGS, **wanted}
        return _shows(body, state.settings, 200)

    return Operation("PUT", "/api/settings", wanted, judge)


def extract(clip: str) -> Operation:
    def judge(state: State, body: Any) -> int:
        if clip not in state.clips:
            return 404
        for job, row in state.extractions.items():
            if row["clip"] == clip and row["status"] == "unfinished":
                return 202 if body["id"] == job else 0
        state.extractions[body["id"]] = {"clip": clip, "status": "unfinished"}
        return 202

    return Operation("POST", f"/api/clips/{clip}/extract", None, judge)


def create_export(project: str) -> Operation:
    def judge(state: State, body: Any) -> int:
        if project not in state.projects:
            return 404
        clips = state.projects[project]["clip_ids"]
        if not clips:
            return 422
        games = sorted({state.clips[clip]["game_id"] for clip in clips})
        name = state.projects[project]["name"]
        state.exports[body["id"]] = {"project": project, "status": "unfinished", "games": games, "name": name}
        return _shows(body, {"name": name}, 202)

    return Operation("POST", "/api/exports", {"project_id": project}, judge)


def cancel(export: str) -> Operation:
    def judge(state: State, _: Any) -> int:
        if export not in state.exports:
            return 404
        if state.exports[export]["status"] != "unfinished":
            return 409
        state.exports[export]["status"] = "cancelled"
        return 200

    return Operation("POST", f"/api/exports/{export}/cancel", None, judge)


def retry(export: str) -> Operation:
    def judge(state: State, _: Any) -> int:
        if export not in state.exports:
            return 404
        if state.exports[export]["status"] == "unfinished" or not set(state.exports[export]["games"]) <= set(
            state.games
        ):
            return 409
        state.exports[export]["status"] = "unfinished"
        return 202

    return Operation("POST", f"/api/exports/{export}/retry", None, judge)


def rename_export(export: str, name: str) -> Operation:
    def judge(state: State, body: Any) -> int:
        if export not in state.exports:
            return 404
        state.exports[export]["name"] = name
        return _shows(body, {"name": name}, 200)

    return Operation("PATCH", f"/api/exports/{export}", {"name": name}, judge)


def delete_export(export: str) -> Operation:
    return Operation(
        "DELETE",
        f"/api/exports/{export}",
        None,
        lambda state, _: 404 if state.exports.pop(export, None) is None else 204,
    )


def read_state(connection: apsw.Connection) -> State:
    """The state that a database holds."""
    state = State()
    for row in fetch_all(connection, "SELECT * FROM games"):
        state.games[row["id"]], state.game_names[row["id"]] = row["status"], row["name"]
    for row in fetch_all(connection, "SELECT * FROM clips"):
        fields = {"game_id": row["game_id"], "name": row["name"], "start": row["start_s"], "end": row["end_s"]}
        state.clips[row["id"]] = fields
    for row in fetch_all(connection, "SELECT * FROM projects"):
        places = fetch_all(
            connection, "SELECT * FROM project_clips WHERE project_id = ? ORDER BY position", (row["id"],)
        )
        clips = [place["clip_id"] for place in places]
        state.projects[row["id"]] = {"name": row["name"], "clip_ids": clips, "options": json.loads(row["options"])}
    for row in fetch_all(connection, "SELECT * FROM jobs ORDER BY created_at"):
        status = "unfinished" if row["status"] in ("pending", "processing") else row["status"]
        if row["preview"]:
            state.previews.setdefault(row["subject_id"], []).append(status)
        elif row["kind"] == "extraction":
            state.extractions[row["id"]] = {"clip": row["subject_id"], "status": status}
        else:
            games = {clip["source_key"].split("/")[-2] for clip in json.loads(row["payload"])["clips"]}
            state.exports[row["id"]] = {
                "project": row["subject_id"],
                "status": status,
                "games": sorted(games),
                "name": row["name"],
            }
    for row in fetch_all(connection, "SELECT * FROM settings"):
        state.settings[row["key"]] = json.loads(row["value"])
    return state


def _is_span(start: float, end: float) -> bool:
    return end - start >= 0.1 and end <= GAME_SECONDS


def _shows(body: Any, row: Record, status: int) -> int:
    """`status` where the answer shows these fields, 0 otherwise."""
    return status if all(body[name] == value for name, value in row.items()) else 0


def _drop_clip(state: State, clip: str) -> None:
    del state.clips[clip]
    _cancel_extractions(state, clip)
    for project in state.projects.values():
        project["clip_ids"] = [other for other in project["clip_ids"] if other != clip]


def _cancel_extractions(state: State, clip: str) -> None:
    for row in state.extractions.values():
        if row["clip"] == clip and row["status"] == "unfinished":
            row["status"] = "cancelled"
