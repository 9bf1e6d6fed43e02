"""Broken variants before a small app: each breaks what it says, and leaves the first write alone."""

from __future__ import annotations

import time

import httpx
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parity.wraps import PROXIED, boot

PAGE = "https://page.example"


class Notes:
    """An app that keeps notes; ``broken`` makes its writes fail."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.broken = False
        routes = [Route("/notes", self.notes, methods=["GET", "POST", "DELETE"])]
        self.app = Starlette(routes=routes)
        self.app.add_middleware(CORSMiddleware, allow_origins=[PAGE])

    async def notes(self, request: Request) -> Response:
        if self.broken:
            return JSONResponse({"detail": "R2 is down"}, 503)
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


async def test_after_one_failure_no_write_works_any_more() -> None:
    async with client(notes := Notes(), "stuck_after_failure") as http:
        notes.broken = True
        await write(http, "a")
        notes.broken = False
        assert await write(http, "b") == 503


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


async def test_changes_by_anyone_are_made_in_the_name_of_who_posted_last() -> None:
    async def who(request: Request) -> Response:
        return JSONResponse(request.headers.get("authorization"))

    app = Starlette(routes=[Route("/who", who, methods=["GET", "POST", "DELETE"])])
    transport = httpx.ASGITransport(PROXIED["changes_by_anyone"](app, {}))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        answers = [
            (await http.request(method, "/who", headers={"Authorization": name})).json()
            for method, name in (("DELETE", "ben"), ("POST", "ada"), ("GET", "ben"), ("DELETE", "ben"))
        ]
    assert answers == ["ben", "ada", "ben", "ada"]


async def test_each_write_costs_cpu_time_and_a_read_does_not() -> None:
    app = boot.busy_writes((notes := Notes()).app, {"seconds": 0.05})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        before = time.process_time()
        assert await write(http, "a") == 200
        assert time.process_time() - before >= 0.05
        assert (await http.get("/notes")).json() == {"notes": notes.kept}
