"""Where a request says bucket and key, and what it may be made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import Call, ask, lab, signed

from parity.r2.errors import R2Error
from parity.r2.request import build, parse_query, split_path

HOSTS = ("localhost", "r2.localhost")


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/b/k", "localhost:9000", ("b", "k")),
        ("/b/k/l", "r2.localhost:9000", ("b", "k/l")),
        ("/b//k/", "localhost", ("b", "/k/")),
        ("/b", "localhost", ("b", "")),
        ("/", "localhost", ("", "")),
        ("/b/%C3%BC%2F%20+", "localhost", ("b", "ü/ +")),
        ("/k/l", "b.r2.localhost:9000", ("b", "k/l")),
        ("/", "b.localhost", ("b", "")),
        ("/b/k", "127.0.0.1:9000", ("b", "k")),
        ("/b/k", "[::1]:9000", ("b", "k")),
        ("/b/k", "r2:9000", ("b", "k")),
        ("/b/k", "", ("b", "k")),
    ],
)
def test_bucket_and_key_come_from_the_path_or_from_the_host(path: str, host: str, expected: tuple[str, str]) -> None:
    assert split_path(path, host, HOSTS) == expected


def test_a_query_keeps_order_empty_values_and_repeats() -> None:
    assert parse_query("a=1&b&a=2&c=%2B+x&&d==") == (("a", "1"), ("b", ""), ("a", "2"), ("c", "+ x"), ("d", "="))


@pytest.mark.parametrize(("path", "query"), [("/b/%FF", ""), ("/b/k", "prefix=%C3")])
def test_what_is_not_utf_8_is_refused(path: str, query: str) -> None:
    with pytest.raises(R2Error, match="400 InvalidURI"):
        build("GET", path, query, [], HOSTS)


async def test_a_bucket_in_the_host_name_is_served() -> None:
    async with lab(replace(SETTINGS, hosts=("r2.example",))) as found:
        host = f"{BUCKET}.r2.example"
        for method, body in (("PUT", b"x"), ("GET", b"")):
            path, query, headers = signed(Call(method, "/k", body=body), host)
            answer = await ask(found.front, method, path, query, headers | {"content-length": str(len(body))}, body)
            assert answer.status == 200
        assert answer.body == b"x"
        assert (await found("GET", f"/{BUCKET}/k")).body == b"x"
