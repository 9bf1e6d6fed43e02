"""What HTTP asks of every path, whatever it serves."""

import gzip

import pytest
from httpx import AsyncClient


async def test_a_slash_too_many_is_not_found_and_redirects_nowhere(
    client: AsyncClient, headers: dict[str, str]
) -> None:
    for method, path in (("GET", "/api/profiles/"), ("POST", "/api/projects/"), ("GET", "/api/games/x/")):
        answer = await client.request(method, path, headers=headers)
        assert (answer.status_code, answer.headers.get("location")) == (404, None), path


async def test_head_answers_as_get_does_without_a_body(client: AsyncClient, headers: dict[str, str]) -> None:
    for path in ("/api/health", "/api/projects", "/api/projects/none", "/docs", "/openapi.json"):
        got, head = await client.get(path, headers=headers), await client.head(path, headers=headers)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers["content-length"] == got.headers["content-length"], path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/projects", "GET, HEAD, POST"),
        ("POST", "/api/projects/x", "DELETE, GET, HEAD, PATCH"),
        ("DELETE", "/api/settings", "GET, HEAD, PATCH, PUT"),
        ("HEAD", "/api/clips/x/extract", "POST"),
        ("DELETE", "/api/health", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_serve_is_told_all_that_it_does(
    client: AsyncClient, headers: dict[str, str], method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path, headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "sent",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", ""],
)
async def test_a_body_of_another_type_is_told_that_it_must_be_json(
    client: AsyncClient, headers: dict[str, str], sent: str
) -> None:
    answer = await client.post("/api/projects", headers={**headers, "Content-Type": sent}, content=b'{"name": "x"}')
    assert (answer.status_code, answer.json()["type"]) == (415, "/problems/unsupported-media-type")
    assert "application/json" in answer.json()["detail"]
    assert (await client.get("/api/projects", headers=headers)).json() == {"projects": []}


@pytest.mark.parametrize("sent", ["gzip", "br", "GZIP", "gzip, identity"])
async def test_a_compressed_body_is_refused_and_told_which_coding_is_taken(
    client: AsyncClient, headers: dict[str, str], sent: str
) -> None:
    content = gzip.compress(b'{"name": "x"}')
    coded = {**headers, "Content-Type": "application/json", "Content-Encoding": sent}
    answer = await client.post("/api/projects", headers=coded, content=content)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    # Without a body there is nothing to decode.
    assert (await client.get("/api/projects", headers={**headers, "Content-Encoding": sent})).status_code == 200
    plain = await client.post(
        "/api/projects", headers={**coded, "Content-Encoding": "identity"}, content=b'{"name": "x"}'
    )
    assert plain.status_code == 201


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b'{"name": "\xff"}', "'utf-8' codec can't decode byte 0xff in position 10"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"name": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b'{"name": "x"', "at character 12"),
    ],
    ids=["no-utf8", "deep", "long-number", "half"],
)
async def test_a_body_that_is_no_json_is_told_why(
    client: AsyncClient, headers: dict[str, str], sent: bytes, reason: str
) -> None:
    answer = await client.post("/api/projects", headers={**headers, "Content-Type": "application/json"}, content=sent)
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]
