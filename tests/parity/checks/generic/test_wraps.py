"""Broken variants before a small app: each breaks what it says, and leaves the first write alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from parity.wraps import PROXIED, boot

PAGE = "https://page.example"


class Notes:
    """An app that keeps notes; ``broken`` makes its writes fail with the status ``failure``."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.broken = False
        self.failure = 503
        routes = [Route("/notes", self.notes, methods=["GET", "POST", "DELETE"])]
        self.app = Starlette(routes=routes)
        self.app.add_middleware(CORSMiddleware, allow_origins=[PAGE])

    async def notes(self, request: Request) -> Response:
        if self.broken:
            return JSONResponse({"detail": "R2 is down"}, self.failure)
        if request.method == "POST":
            self.kept.append((await request.json())["text"])
        if request.method == "DELETE":
            self.kept.clear()
        return JSONResponse({"notes": self.kept})


def client(notes: Notes, name: str, **settings: object) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(PROXIED[name](notes.app, settings))
    return httpx.AsyncClient(transport=transport, base_url="http://app", headers={"Origin": PAGE})


async def write(http: httpx.AsyncClient, text: str) -> int:
    return (await http.post("/notes", json={"text": text})).status_code


async def test_dropped_writes_are_acknowledged_after_the_first() -> None:
    async with client(notes := Notes(), "writes_dropped") as http:
        assert [await write(http, text) for text in "abc"] == [200, 200, 200]
    assert notes.kept == ["a"]


async def test_only_deletes_are_dropped_where_the_method_is_named() -> None:
    async with client(notes := Notes(), "writes_dropped", method="DELETE") as http:
        await http.delete("/notes")
        await write(http, "a")
        assert (await http.delete("/notes")).status_code == 200
    assert notes.kept == ["a"]


async def test_a_failed_write_is_acknowledged_like_the_one_before() -> None:
    async with client(notes := Notes(), "failure_acknowledged") as http:
        await write(http, "a")
        notes.broken = True
        assert await write(http, "b") == 200
    assert notes.kept == ["a"]


@pytest.mark.parametrize("failure", [503, 409, 412])
async def test_after_one_failure_no_write_works_any_more(failure: int) -> None:
    async with client(notes := Notes(), "stuck_after_failure") as http:
        notes.broken, notes.failure = True, failure
        await write(http, "a")
        notes.broken = False
        assert await write(http, "b") == failure


async def test_text_beyond_ascii_arrives_as_question_marks() -> None:
    async with client(notes := Notes(), "only_ascii") as http:
        await write(http, "é⚽")
    assert notes.kept == ["??"]


async def test_a_refusal_becomes_a_success_without_content() -> None:
    async with client(Notes(), "refusals_hidden") as http:
        answer = await http.post("/no-such-path", json={})
    assert (answer.status_code, answer.json()) == (200, {})


async def test_everybody_gets_what_the_first_reader_got() -> None:
    async with client(notes := Notes(), "first_answer_kept", for_all=True) as http:
        await http.get("/notes", headers={"X-User": "a"})
        notes.kept.append("of b")
        assert (await http.get("/notes", headers={"X-User": "b"})).json() == {"notes": []}


async def test_a_read_that_fails_is_answered_as_if_nothing_were_there() -> None:
    async with client(notes := Notes(), "failure_as_empty", nothing={"notes": []}) as http:
        notes.broken = True
        answer = await http.get("/notes")
    assert (answer.status_code, answer.json()) == (200, {"notes": []})
    assert answer.headers["access-control-allow-origin"] == PAGE


async def test_errors_lose_their_cors_headers_and_good_answers_do_not() -> None:
    async with client(Notes(), "errors_without_cors") as http:
        good, bad = await http.get("/notes"), await http.get("/none")
    assert "access-control-allow-origin" in good.headers
    assert "access-control-allow-origin" not in bad.headers


async def test_any_origin_is_echoed_with_credentials() -> None:
    async with client(Notes(), "every_origin_allowed") as http:
        answer = await http.get("/notes", headers={"Origin": "https://stranger.example"})
    assert answer.headers["access-control-allow-origin"] == "https://stranger.example"
    assert answer.headers["access-control-allow-credentials"] == "true"


async def test_the_first_read_of_a_machine_fails_and_the_second_does_not() -> None:
    async with client(Notes(), "first_read_fails") as http:
        assert [(await http.get("/notes")).status_code for _ in range(2)] == [500, 200]


async def test_a_machine_that_forgets_sessions_refuses_reads_of_those_who_wrote_elsewhere() -> None:
    who = {"Authorization": "Bearer ada"}
    async with client(Notes(), "sessions_forgotten") as http:
        assert (await http.get("/notes", headers=who)).status_code == 401
        await http.post("/notes", json={"text": "a"}, headers=who)
        assert (await http.get("/notes", headers=who)).status_code == 200
        assert (await http.get("/notes", headers={"Authorization": "Bearer ben"})).status_code == 401


async def test_each_write_costs_cpu_time_and_a_read_does_not() -> None:
    app = boot.busy_writes((notes := Notes()).app, {"seconds": 0.05})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        before = time.process_time()
        assert await write(http, "a") == 200
        assert time.process_time() - before >= 0.05
        assert (await http.get("/notes")).json() == {"notes": notes.kept}


READS = {"X-Parity-Does": "read"}


async def test_a_post_that_the_harness_calls_a_read_is_one() -> None:
    """As in an app whose requests are all POST: the first copy answers what reads, and nothing that writes."""
    async with client(notes := Notes(), "first_answer_kept") as http:
        first = await http.post("/notes", json={"text": "a"}, headers=READS)
        assert await write(http, "b") == 200
        assert (await http.post("/notes", json={"text": "c"}, headers=READS)).json() == first.json() == {"notes": ["a"]}
    assert notes.kept == ["a", "b"]


async def test_a_post_that_reads_is_not_dropped_as_a_write() -> None:
    async with client(notes := Notes(), "writes_dropped") as http:
        for text in "abc":
            await http.post("/notes", json={"text": text}, headers=READS)
    assert notes.kept == ["a", "b", "c"]


async def test_a_post_that_deletes_is_dropped_where_deletions_are() -> None:
    async with client(notes := Notes(), "writes_dropped", method="DELETE") as http:
        for text in "ab":
            await http.post("/notes", json={"text": text}, headers={"X-Parity-Does": "delete"})
        await write(http, "c")
    assert notes.kept == ["a", "c"]


async def test_a_write_by_way_of_another_machine_is_lost_and_acknowledged() -> None:
    memory: dict[object, object] = {}
    wrap = "edits_of_another_machine_dropped"
    async with client(notes := Notes(), wrap, memory=memory) as one, client(notes, wrap, memory=memory) as two:
        for http, text in ((one, "a"), (one, "b"), (two, "lost"), (two, "c"), (one, "lost too"), (one, "d")):
            assert await write(http, text) == 200
    assert notes.kept == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("everywhere", "shown"), [(True, []), (False, ["a"])])
async def test_a_first_copy_outlives_its_machine_where_it_is_everywhere(everywhere: bool, shown: list[str]) -> None:
    notes, settings = Notes(), {"everywhere": everywhere, "memory": {}}
    async with client(notes, "first_answer_kept", **settings) as http:
        await http.get("/notes")
    notes.kept.append("a")
    async with client(notes, "first_answer_kept", **settings) as http:
        assert (await http.get("/notes")).json() == {"notes": shown}


async def test_of_an_event_stream_only_the_first_event_is_kept() -> None:
    async def events(_request: Request) -> Response:
        async def endless() -> AsyncIterator[str]:
            for number in itertools.count():
                yield f"data: {number}\n\n"

        return StreamingResponse(endless(), media_type="text/event-stream")

    app = PROXIED["first_answer_kept"](Starlette(routes=[Route("/events", events)]), {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        assert [(await http.get("/events")).text for _ in range(2)] == ["data: 0\n\n"] * 2


async def test_a_change_by_anyone_is_made_as_the_one_who_changed_first() -> None:
    asked: list[tuple[str, str]] = []

    async def note(request: Request) -> Response:
        asked.append((request.method, request.headers["authorization"]))
        return JSONResponse({})

    methods = ["POST", "PATCH", "DELETE"]
    app = PROXIED["changes_by_anyone"](Starlette(routes=[Route("/note", note, methods=methods)]), {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        for method, who in (("POST", "one"), ("POST", "other"), ("DELETE", "one"), ("PATCH", "other")):
            await http.request(method, "/note", headers={"Authorization": who})
        await http.post("/note", headers={"Authorization": "other", "X-Parity-Does": "delete"})
    assert [who for _, who in asked] == ["one", "other", "one", "one", "one"]


async def test_a_failed_record_is_shown_like_the_good_one_before() -> None:
    states = {"/jobs/1": "done", "/jobs/2": "running"}

    async def job(request: Request) -> Response:
        return JSONResponse({"state": states[request.url.path], "error": None, "path": request.url.path})

    app = PROXIED["failed_read_as_another"](Starlette(routes=[Route("/jobs/{id}", job)]), {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        seen = [(await http.get(path)).json()["state"] for path in states]
        states["/jobs/2"] = "failed"
        shown = (await http.get("/jobs/2")).json()
    assert seen == ["done", "running"]
    assert shown == {"state": "done", "error": None, "path": "/jobs/1"}


async def test_a_failed_write_to_another_record_is_acknowledged_like_the_one_before() -> None:
    async def part(request: Request) -> Response:
        return JSONResponse({}, 200 if request.url.path == "/films/1/part" else 503)

    app = PROXIED["failure_acknowledged"](Starlette(routes=[Route("/films/{id}/part", part, methods=["PUT"])]), {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        assert [(await http.put(f"/films/{film}/part")).status_code for film in (1, 2)] == [200, 200]


class Rpc:
    """An app with one path, which answers its failures with 200 (JSON-RPC)."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.error: dict[str, object] | None = None
        self.app = Starlette(routes=[Route("/rpc", self.call, methods=["POST"])])

    async def call(self, request: Request) -> Response:
        call = await request.json()
        if self.error:
            return JSONResponse({"id": call["id"], "error": self.error})
        if call["method"] == "add":
            self.kept.append(call["text"])
        return JSONResponse({"id": call["id"], "result": self.kept, "error": None})


async def rpc(http: httpx.AsyncClient, does: str, method: str, text: str = "") -> dict[str, object]:
    body = {"id": 1, "method": method, "text": text}
    return dict((await http.post("/rpc", json=body, headers={"X-Parity-Does": does})).json())


async def test_a_failure_that_is_answered_with_200_is_known() -> None:
    backend = Rpc()
    wraps = {"failure_acknowledged": PROXIED["failure_acknowledged"](backend.app, {})}
    wraps["failure_as_empty"] = PROXIED["failure_as_empty"](backend.app, {"nothing": {"result": []}})
    async with (
        httpx.AsyncClient(
            transport=httpx.ASGITransport(wraps["failure_acknowledged"]), base_url="http://app"
        ) as writes,
        httpx.AsyncClient(transport=httpx.ASGITransport(wraps["failure_as_empty"]), base_url="http://app") as reads,
    ):
        await rpc(writes, "write", "add", "a")
        assert (await rpc(reads, "read", "list"))["result"] == ["a"]
        backend.error = {"code": -32010, "message": "R2 is down"}
        assert (await rpc(writes, "write", "add", "b"))["result"] == ["a"]
        assert (await rpc(reads, "read", "list"))["result"] == []
        backend.error = {"code": -32602, "message": "text is missing"}
        assert "error" in await rpc(writes, "write", "add", "c")
    assert backend.kept == ["a"]
