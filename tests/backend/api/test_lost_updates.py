"""Two requests, at once or in turn, on one Machine or two: what was acknowledged holds.

A Machine of these tests looks for newer files only when it writes, so what it read before is as old as can be.
"""

from __future__ import annotations

import asyncio
from typing import Any

import apsw
import pytest
from tests.backend.api.machines import CONTEXT, Machines
from tests.backend.fakes import Fault

from app.db.rows import execute, fetch_all
from app.storage.interface import StorageUnavailable

ROUNDS = 10
WHERE = pytest.mark.parametrize("other", [0, 1], ids=["one Machine", "two Machines"])


async def new_project(two: Machines, **fields: Any) -> str:
    """The id of a project that both Machines have seen."""
    made = (await two.ok(0, "POST", "/api/projects", {"name": "old", **fields}))["id"]
    await two.catch_up(1)
    await two.ok(1, "GET", f"/api/projects/{made}")
    return str(made)


async def new_clip(two: Machines, game_id: str = "game") -> str:
    """The id of a clip that both Machines have seen."""
    body = {"game_id": game_id, "name": "clip", "start": 1, "end": 50}
    made = (await two.ok(0, "POST", "/api/clips", body))["id"]
    await two.catch_up(1)
    await two.ok(1, "GET", f"/api/clips/{made}")
    return str(made)


async def one(two: Machines, table: str, row_id: str) -> Any:
    """The row in the bucket, None where there is none."""
    found = await two.look(lambda connection: fetch_all(connection, f"SELECT * FROM {table} WHERE id = ?", (row_id,)))
    return found[0] if found else None


@WHERE
async def test_changes_of_different_fields_at_once_are_both_kept(two: Machines, other: int) -> None:
    for _ in range(ROUNDS):
        path = f"/api/projects/{await new_project(two)}"
        await asyncio.gather(
            two.ok(0, "PATCH", path, {"name": "new"}),
            two.ok(other, "PATCH", path, {"options": {"overlay_text": "text"}}),
        )
        await two.catch_up(other)
        shown = await two.ok(other, "GET", path)
        assert (shown["name"], shown["options"]["overlay_text"]) == ("new", "text")


@WHERE
async def test_changes_of_different_options_at_once_are_both_kept(two: Machines, other: int) -> None:
    for _ in range(ROUNDS):
        path = f"/api/projects/{await new_project(two)}"
        await asyncio.gather(
            two.ok(0, "PATCH", path, {"options": {"aspect": "1:1"}}),
            two.ok(other, "PATCH", path, {"options": {"quality": "draft"}}),
        )
        await two.catch_up(other)
        options = (await two.ok(other, "GET", path))["options"]
        assert options == {"overlay_text": "", "aspect": "1:1", "quality": "draft", "transition": "cut"}


async def test_a_change_on_a_machine_that_has_not_seen_an_earlier_one_keeps_it(two: Machines) -> None:
    project = await new_project(two)
    await two.ok(0, "PATCH", f"/api/projects/{project}", {"name": "new"})
    assert (await two.ok(1, "GET", f"/api/projects/{project}"))["name"] == "old"
    shown = await two.ok(1, "PATCH", f"/api/projects/{project}", {"options": {"overlay_text": "text"}})
    assert (shown["name"], shown["options"]["overlay_text"]) == ("new", "text")


@WHERE
async def test_moving_start_and_end_at_once_moves_both(two: Machines, other: int) -> None:
    await two.add_game("game")
    for _ in range(ROUNDS):
        path = f"/api/clips/{await new_clip(two)}"
        await asyncio.gather(two.ok(0, "PATCH", path, {"start": 10}), two.ok(other, "PATCH", path, {"end": 40}))
        await two.catch_up(other)
        shown = await two.ok(other, "GET", path)
        assert (shown["start"], shown["end"]) == (10, 40)


async def test_bounds_are_judged_together_with_a_change_that_this_machine_has_not_seen(two: Machines) -> None:
    await two.add_game("game")
    clip = await new_clip(two)
    await two.ok(0, "PATCH", f"/api/clips/{clip}", {"end": 5})
    answer = await two.ask(1, "PATCH", f"/api/clips/{clip}", {"start": 10})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "body.end: expected at least 0.1 s after start 10, got 5",
    )
    assert (await one(two, "clips", clip))["start_s"] == 1


async def test_a_project_that_another_machine_deleted_stays_deleted(two: Machines) -> None:
    project = await new_project(two)
    await two.ok(0, "DELETE", f"/api/projects/{project}")
    answer = await two.ask(1, "PATCH", f"/api/projects/{project}", {"name": "back"})
    assert answer.status_code == 404
    assert await one(two, "projects", project) is None


@WHERE
async def test_a_project_deleted_and_changed_at_once_is_deleted(two: Machines, other: int) -> None:
    for _ in range(ROUNDS):
        path = f"/api/projects/{await new_project(two)}"
        deleted, changed = await asyncio.gather(
            two.ask(0, "DELETE", path), two.ask(other, "PATCH", path, {"name": "back"})
        )
        assert (deleted.status_code, changed.status_code) in [(204, 200), (204, 404)]
        assert await one(two, "projects", path.split("/")[-1]) is None


async def test_a_clip_that_a_project_uses_on_another_machine_is_not_deleted(two: Machines) -> None:
    await two.add_game("game")
    clip, project = await new_clip(two), await new_project(two)
    await two.ok(0, "PATCH", f"/api/projects/{project}", {"clip_ids": [clip]})
    assert (await two.ask(1, "DELETE", f"/api/clips/{clip}")).status_code == 409
    assert (await two.ok(1, "GET", f"/api/projects/{project}"))["clip_ids"] == [clip]


@WHERE
async def test_a_clip_is_either_deleted_or_in_the_project(two: Machines, other: int) -> None:
    await two.add_game("game")
    for _ in range(ROUNDS):
        clip, project = await new_clip(two), await new_project(two)
        placed, deleted = await asyncio.gather(
            two.ask(0, "PATCH", f"/api/projects/{project}", {"clip_ids": [clip]}),
            two.ask(other, "DELETE", f"/api/clips/{clip}"),
        )
        assert (placed.status_code, deleted.status_code) in [(200, 409), (422, 204)]
        exists = await one(two, "clips", clip) is not None
        assert exists is (placed.status_code == 200)


async def test_a_game_whose_clip_was_cut_on_another_machine_is_not_deleted(two: Machines) -> None:
    await two.add_game("game")
    await new_clip(two)
    await two.add_game("other")
    await two.catch_up(1)
    await two.ok(0, "POST", "/api/clips", {"game_id": "other", "name": "k", "start": 1, "end": 5})
    assert (await two.ask(1, "DELETE", "/api/games/other")).status_code == 409
    assert await one(two, "games", "other") is not None


@WHERE
async def test_a_clip_of_a_game_that_is_deleted_at_once_is_cut_or_refused(two: Machines, other: int) -> None:
    for number in range(ROUNDS):
        game = f"game{number}"
        await two.add_game(game)
        cut, deleted = await asyncio.gather(
            two.ask(0, "POST", "/api/clips", {"game_id": game, "name": "k", "start": 1, "end": 5}),
            two.ask(other, "DELETE", f"/api/games/{game}"),
        )
        assert (cut.status_code, deleted.status_code) in [(201, 409), (404, 204)]


@WHERE
async def test_three_extractions_asked_for_at_once_are_one(two: Machines, other: int) -> None:
    await two.add_game("game")
    for _ in range(ROUNDS):
        path = f"/api/clips/{await new_clip(two)}/extract"
        jobs = await asyncio.gather(*(two.ok(machine, "POST", path) for machine in (0, other, 0)))
        assert len({job["id"] for job in jobs}) == 1


@WHERE
async def test_an_export_is_cancelled_once_and_retried_once(two: Machines, other: int) -> None:
    await two.add_game("game")
    project = await new_project(two, clip_ids=[await new_clip(two)])
    export = (await two.ok(0, "POST", "/api/exports", {"project_id": project}))["id"]
    await two.catch_up(1)
    for action, done in (("cancel", 200), ("retry", 202)):
        answers = await asyncio.gather(*(two.ask(m, "POST", f"/api/exports/{export}/{action}") for m in (0, other)))
        assert sorted(answer.status_code for answer in answers) == [done, 409]


async def test_a_finalize_that_meets_a_deletion_leaves_neither_row_nor_object(two: Machines) -> None:
    for number in range(ROUNDS):
        game = f"game{number}"
        await two.add_game(game, uploading=True)
        finished, deleted = await asyncio.gather(
            two.ask(0, "POST", f"/api/games/{game}/finalize-upload", {}),
            two.ask(1, "DELETE", f"/api/games/{game}"),
        )
        assert deleted.status_code == 204
        assert finished.status_code in (200, 404, 409)
        assert await one(two, "games", game) is None
        # An empty object may stand there: it keeps the URL of the upload from being used again.
        left = [data for key, (data, *_) in two.store.objects.items() if f"/games/{game}/" in key]
        assert left in ([], [b""])


@WHERE
async def test_an_upload_that_is_finalized_twice_at_once_is_one_game_with_its_file(two: Machines, other: int) -> None:
    for number in range(ROUNDS):
        game = f"game{number}"
        await two.add_game(game, uploading=True)
        answers = await asyncio.gather(
            *(two.ask(m, "POST", f"/api/games/{game}/finalize-upload", {}) for m in (0, other))
        )
        assert [answer.status_code for answer in answers] == [200, 200]
        assert (await one(two, "games", game))["status"] == "ready"
        assert [data for key, (data, *_) in two.store.objects.items() if f"/games/{game}/" in key] == [b"x"]


@WHERE
async def test_an_export_that_is_cancelled_retried_and_deleted_at_once_is_gone(two: Machines, other: int) -> None:
    await two.add_game("game")
    project = await new_project(two, clip_ids=[await new_clip(two)])
    for _ in range(ROUNDS):
        path = f"/api/exports/{(await two.ok(0, 'POST', '/api/exports', {'project_id': project}))['id']}"
        await two.catch_up(1)
        cancelled, retried, deleted = await asyncio.gather(
            two.ask(other, "POST", f"{path}/cancel"),
            two.ask(0, "POST", f"{path}/retry"),
            two.ask(other, "DELETE", path),
        )
        assert deleted.status_code == 204
        assert cancelled.status_code in (200, 404)
        assert retried.status_code in (202, 404, 409)
        assert await one(two, "jobs", path.rpartition("/")[2]) is None


async def test_a_clip_whose_bounds_move_ends_the_extraction_of_the_old_ones(two: Machines) -> None:
    await two.add_game("game")
    clip = await new_clip(two)
    first = await two.ok(0, "POST", f"/api/clips/{clip}/extract")
    assert (await two.ok(1, "PATCH", f"/api/clips/{clip}", {"end": 20}))["status"] == "new"
    second = await two.ok(1, "POST", f"/api/clips/{clip}/extract")
    jobs = {job["id"]: job for job in await two.look(_jobs)}
    assert (jobs[first["id"]]["status"], jobs[first["id"]]["owner"]) == ("cancelled", None)
    assert jobs[first["id"]]["payload"] != jobs[second["id"]]["payload"]
    assert '"end_s": 20' in jobs[second["id"]]["payload"]
    assert f"clips/{clip}.mp4" not in jobs[second["id"]]["payload"], "the cancelled work may still write that file"


async def test_an_extracted_clip_whose_job_is_not_known_has_the_key_of_the_first_extraction(two: Machines) -> None:
    await two.add_game("game")
    clip = await new_clip(two)
    async with two.cores[1].databases.session(CONTEXT) as session:
        await session.write(lambda connection: execute(connection, "UPDATE clips SET extracted_s = 1"))
    shown = await two.ok(1, "GET", f"/api/clips/{clip}")
    assert (shown["status"], shown["key"]) == ("ready", f"clips/{clip}.mp4")


async def test_deleting_a_game_ends_the_jobs_that_need_it(two: Machines) -> None:
    await two.add_game("game")
    clip = await new_clip(two)
    project = await new_project(two, clip_ids=[clip])
    extraction = (await two.ok(0, "POST", f"/api/clips/{clip}/extract"))["id"]
    export = (await two.ok(0, "POST", "/api/exports", {"project_id": project}))["id"]
    await two.ok(1, "DELETE", "/api/games/game?cascade=true")
    jobs = {job["id"]: job for job in await two.look(_jobs)}
    assert jobs[extraction]["status"] == "cancelled"
    assert (jobs[export]["status"], jobs[export]["reason"]) == (
        "failed",
        "The game 'G' was deleted before the export was rendered",
    )
    assert (await two.ok(1, "GET", f"/api/projects/{project}"))["clip_ids"] == []


async def test_deleting_a_game_tells_first_what_it_would_change(two: Machines) -> None:
    await two.add_game("game")
    project = await new_project(two, clip_ids=[await new_clip(two)])
    export = (await two.ok(0, "POST", "/api/exports", {"project_id": project}))["id"]
    refused = await two.ask(0, "DELETE", "/api/games/game")
    assert refused.status_code == 409
    assert "1 clips are cut from this game, and 1 projects use them ('old')" in refused.json()["detail"]
    await two.ok(0, "DELETE", "/api/games/game?cascade=true")
    again = await two.ask(0, "POST", f"/api/exports/{export}/retry")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "A game that the export is rendered from was deleted: export the project anew",
    )
    empty = await two.ask(0, "POST", "/api/exports", {"project_id": project})
    assert (empty.status_code, "expected 1 to 50 clips" in empty.json()["detail"]) == (422, True)


async def test_a_refusal_leaves_only_when_the_bucket_holds_what_it_was_judged_on(two: Machines) -> None:
    """A 404 because of a deletion that then did not reach the bucket would be wrong."""
    project = await new_project(two)
    two.store.faults.append(Fault("put", StorageUnavailable("down"), key="/database/"))
    deleted, refused = await asyncio.gather(
        two.ask(0, "DELETE", f"/api/projects/{project}"),
        two.ask(0, "PATCH", f"/api/projects/{project}", {"name": "new"}),
    )
    assert (deleted.status_code, refused.status_code) == (503, 503)
    two.store.faults.clear()
    assert (await two.ok(0, "GET", f"/api/projects/{project}"))["name"] == "old"


@pytest.mark.parametrize("body", [{"name": None}, {"options": None}, {"clip_ids": None}, {"options": {"aspect": None}}])
async def test_null_is_no_way_to_leave_a_field_as_it_is(two: Machines, body: dict[str, Any]) -> None:
    path = f"/api/projects/{await new_project(two)}"
    assert (await two.ask(0, "PATCH", path, body)).status_code == 422


def _jobs(connection: apsw.Connection) -> list[dict[str, Any]]:
    return fetch_all(connection, "SELECT * FROM jobs")
