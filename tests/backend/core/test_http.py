"""What HTTP asks of every path, whatever it serves."""

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
