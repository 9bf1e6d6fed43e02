"""DeleteObjects, and lists of uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import Answer, Lab, lab

from parity.r2.throttle import WriteWindow

ROOT = f"/{BUCKET}"


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        yield found


async def _delete(ask: Lab, *keys: str) -> Answer:
    listed = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return await ask("POST", ROOT, query="delete=", body=f"<Delete>{listed}</Delete>".encode(), connection=2)


def _texts(answer: Answer, path: str) -> list[str]:
    return [found.text or "" for found in answer.xml.findall(path)]


@pytest.mark.parametrize("key", [" ", " a ", "\n", "\ufffe"])
async def test_a_key_is_deleted_as_it_is_written(ask: Lab, key: str) -> None:
    await ask("PUT", f"{ROOT}/{key}", body=b"x")
    await ask("PUT", f"{ROOT}/other", body=b"x")
    if key != "\ufffe":
        assert _texts(await _delete(ask, key), "{*}Deleted/{*}Key") == [key]
        assert _texts(await ask("GET", ROOT, query="list-type=2"), "{*}Contents/{*}Key") == ["other"]
    else:
        # No XML can name it, so neither can a DeleteObjects; a list tells that something is there.
        assert _texts(await ask("GET", ROOT, query="list-type=2"), "{*}Contents/{*}Key") == ["other", "\ufffd"]


async def test_an_empty_key_is_malformed(ask: Lab) -> None:
    assert (await _delete(ask, "k", "")).code == "MalformedXML"


async def test_a_key_that_is_named_twice_is_told_twice(ask: Lab) -> None:
    await ask("PUT", body=b"x")
    assert _texts(await _delete(ask, "k", "k"), "{*}Deleted/{*}Key") == ["k", "k"]
    assert (await ask()).status == 404


async def test_a_key_that_is_being_written_is_not_deleted_and_told_so(ask: Lab) -> None:
    ask.front.behave(replace(ask.front.behaviour, write_window=WriteWindow(30, 30)))
    await ask("PUT", body=b"x", connection=1)
    answer = await _delete(ask, "k", "free")
    assert _texts(answer, "{*}Deleted/{*}Key") == ["free"]
    assert (_texts(answer, "{*}Error/{*}Key"), _texts(answer, "{*}Error/{*}Code")) == (["k"], ["TooManyRequests"])
    assert (await ask()).body == b"x"


async def test_deletes_of_many_count_as_writes_of_each(ask: Lab) -> None:
    ask.front.behave(replace(ask.front.behaviour, write_window=WriteWindow.parse("strict")))
    await _delete(ask, "k")
    assert (await ask("PUT", body=b"x")).status == 429


async def _uploads(ask: Lab, **params: object) -> Answer:
    query = "&".join(f"{name.replace('_', '-')}={quote(str(value), safe='')}" for name, value in params.items())
    return await ask("GET", ROOT, query=f"uploads=&{query}" if query else "uploads=")


async def test_pages_of_uploads_count_what_they_have_in_common_and_come_to_an_end(ask: Lab) -> None:
    keys = ["a/1", "a/2", "a/2", "b", "b", "c/1", "d"]
    for key in keys:
        assert (await ask("POST", f"{ROOT}/{key}", query="uploads=")).status == 200
    for limit in range(1, 8):
        told: list[str] = []
        markers: dict[str, object] = {}
        for _ in range(len(keys) + 1):
            page = await _uploads(ask, delimiter="/", max_uploads=limit, **markers)
            entries = _texts(page, "{*}Upload/{*}Key") + _texts(page, "{*}CommonPrefixes/{*}Prefix")
            assert len(entries) <= limit
            told += sorted(entries)
            if page.xml.findtext("{*}IsTruncated") == "false":
                break
            assert len(entries) == limit
            markers = {
                "key_marker": page.xml.findtext("{*}NextKeyMarker") or "",
                "upload_id_marker": page.xml.findtext("{*}NextUploadIdMarker") or "",
            }
        assert told == ["a/", "b", "b", "c/", "d"], limit


async def test_a_page_of_no_uploads_is_not_truncated(ask: Lab) -> None:
    await ask("POST", query="uploads=")
    page = await _uploads(ask, max_uploads=0)
    assert (page.xml.findtext("{*}IsTruncated"), _texts(page, "{*}Upload")) == ("false", [])


async def test_a_list_of_uploads_without_a_delimiter_tells_each(ask: Lab) -> None:
    await asyncio.gather(*(ask("POST", f"{ROOT}/{key}", query="uploads=") for key in ("p/b", "p/a", "q")))
    assert _texts(await _uploads(ask, prefix="p/"), "{*}Upload/{*}Key") == ["p/a", "p/b"]
