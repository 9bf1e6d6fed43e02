"""A person of the contract: on a Machine, in another browser, and gone again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from parity.checks.person import Attempt, Person, missing
from parity.checks.stack import client
from parity.checks.verdict import NotDeclared
from parity.contract import PINNED, Api, InBucket, RateLimited, Refused, StubCall
from parity.stack.target import Target


class Notes:
    """An app that keeps texts in a list."""

    keeps = InBucket("notes/")

    def __init__(self, api: Api) -> None:
        self.api = api

    async def sign_in(self) -> None:
        self.api.headers["Authorization"] = self.api.user

    async def write(self, text: str) -> None:
        await self.api.call("POST", "/notes", {"text": text}, expect=201)

    async def read(self) -> list[str]:
        return list(await self.api.call("GET", "/notes"))


class WithDelete(Notes):
    async def delete(self, text: str) -> None:
        await self.api.call("DELETE", f"/notes/{text}", expect=204)

    async def cold_person(self) -> None:
        self.api.headers["Authorization"] = self.api.user


class Server:
    """What was asked; ``status`` is what a write is answered with."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.asked: list[httpx.Request] = []
        self.status = 201

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.method == "POST" and self.status == 201:
            self.texts.append(httpx.Response(200, content=request.content).json()["text"])
        if request.method == "DELETE":
            self.texts.remove(request.url.path.rpartition("/")[2])
            return httpx.Response(204)
        return httpx.Response(self.status if request.method == "POST" else 200, json=self.texts)


@pytest.fixture
def server() -> Server:
    return Server()


async def person_of(server: Callable[[httpx.Request], httpx.Response], kind: type[Any]) -> Person:
    def new_client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="https://app.example")

    app = kind(Api(new_client(), "https://page.example", machine="m1"))
    await app.sign_in()
    return await Person.of(app, new_client)


async def test_a_person_stays_on_their_machine_until_told_otherwise(server: Server) -> None:
    person = await person_of(server, Notes)
    await person.write()
    await person.on("m2").read()
    await person.on(None).read()
    assert [request.headers.get(PINNED) for request in server.asked] == ["m1", "m2", None]
    assert all(request.headers["Origin"] == "https://page.example" for request in server.asked)


async def test_who_comes_back_has_another_browser_where_the_contract_can_say_it(server: Server) -> None:
    person = await person_of(server, WithDelete)
    again = await person.comes_back("m2")
    assert again.api.http is not person.api.http
    assert (again.api.user, again.api.machine) == (person.api.user, "m2")
    same = await (await person_of(server, Notes)).comes_back("m2")
    assert "Authorization" in same.api.headers


async def test_a_refused_write_is_an_attempt_and_not_shown(server: Server) -> None:
    person = await person_of(server, Notes)
    first = await person.attempt()
    server.status = 503
    second = await person.attempt()
    assert (first.acknowledged, second.acknowledged) == (True, False)
    assert "answered 503" in second.answer
    assert missing([first, second], await person.reads()) == []
    assert missing([first, second], "GET /notes answered 500") == [first.text]
    assert missing([Attempt("w", True, "")], []) == ["w"]


async def test_too_many_requests_are_no_refusal_of_the_app(server: Server) -> None:
    person = await person_of(server, Notes)
    server.status = 429
    with pytest.raises(RateLimited):
        await person.attempt()


async def test_what_the_contract_lacks_is_not_declared(server: Server) -> None:
    person = await person_of(server, Notes)
    with pytest.raises(NotDeclared, match="edit, upload"):
        person.needs("edit", "upload")
    assert (person.can("delete"), person.owns) == (False, "notes/")


async def test_a_throw_away_person_takes_along_what_can_be_deleted(server: Server) -> None:
    person = await person_of(server, WithDelete)
    for _ in range(2):
        await person.write()
    await person.leaves()
    assert server.texts == []
    stays = await person_of(server, Notes)
    await stays.write()
    await stays.leaves()
    assert len(server.texts) == 1


async def test_an_upload_needs_cors_and_a_part_a_readable_etag() -> None:
    answers = {"allow": "https://page.example", "expose": "ETag"}

    def bucket(request: httpx.Request) -> httpx.Response:
        headers = {"access-control-allow-origin": answers["allow"], "access-control-expose-headers": answers["expose"]}
        return httpx.Response(200, headers={**headers, "etag": '"e"'})

    async with httpx.AsyncClient(transport=httpx.MockTransport(bucket)) as http:
        api = Api(http, "https://page.example")
        assert await api.send_file("https://r2.example/k", b"x", "video/mp4") == '"e"'
        answers["expose"] = ""
        for part, needed in (("?partNumber=1&uploadId=u", None), ("", True)):
            with pytest.raises(Refused, match="not exposed"):
                await api.send_file(f"https://r2.example/k{part}", b"x", etag=needed)
        assert await api.send_file("https://r2.example/k", b"x") == "", "a whole file needs no ETag"
        answers["allow"] = "https://elsewhere.example"
        with pytest.raises(Refused, match="preflight"):
            await api.send_file("https://r2.example/k", b"x")


async def test_a_sign_in_finds_the_code_of_its_mail_in_the_calls_of_a_stub() -> None:
    async def stubs(_name: str) -> list[StubCall]:
        return [StubCall("POST", "/mails", f"{name}: the code is {number}", 202) for number, name in enumerate("abab")]

    async with httpx.AsyncClient(timeout=60) as http:
        api = Api(http, None, stubs=stubs)
        assert [call.body[-1] for call in await api.stub_calls("mail.example", containing="a:")] == ["0", "2"]
        with pytest.raises(Refused, match="a deployed app has no stubs"):
            await Api(http, None).stub_calls("mail.example")


async def test_a_page_is_never_led_to_plain_http() -> None:
    target = Target("local", "https://localhost:8443", "", "", "", "", None, None, "process")
    async with client(target, []) as http:
        api = Api(http, "https://page.example")
        with pytest.raises(Refused, match=r"http://localhost:8443/done .* mixed content"):
            await api.call("GET", "http://localhost:8443/done")


async def test_a_page_of_the_apis_own_origin_sends_it_with_all_but_get_and_head() -> None:
    server = Server()
    async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="https://app.example:8443/v1") as http:
        api = Api(http, None)
        for method in ("GET", "HEAD", "POST"):
            await api.ask(method, "/notes", {"text": "a"})
        assert [one.headers.get("Origin") for one in server.asked] == [None, None, "https://app.example:8443"]
        assert api.headers_for("WEBSOCKET")["Origin"] == "https://app.example:8443"
        assert Api(http, "https://page.example").headers_for("POST")["Origin"] == "https://page.example"


async def test_another_person_finds_the_mails_of_the_stub_too() -> None:
    async def stubs(_name: str) -> list[StubCall]:
        return [StubCall("POST", "/send", "the code is 7", 202)]

    async with httpx.AsyncClient(transport=httpx.MockTransport(Server())) as http:
        person = Person(Notes(Api(http, None, stubs=stubs)), "", lambda: http)  # type: ignore[arg-type]
        assert await person.another().api.stub_calls("mail.example", "code")
