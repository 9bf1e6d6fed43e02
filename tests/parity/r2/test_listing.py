"""The store's lists, whatever was written and deleted between them, against sorting and filtering all keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import Lab, lab
from tests.parity.r2.stores import STORES, available

from parity.r2.content import Content
from parity.r2.store.interface import Attributes, ObjectInfo
from parity.r2.store.moto import MotoStore

TEXT = st.text(alphabet="ab/\u00e9\U0001f600\U0010ffff", max_size=4)
KEY = TEXT.filter(bool)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEY),
        st.tuples(st.just("delete"), KEY),
        st.tuples(st.just("list"), TEXT, st.sampled_from(["", "/", "a/"]), TEXT, st.integers(1, 5)),
    ),
    max_size=30,
)


def _entries(keys: set[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """Keys after ``after``, or what they have in common up to the delimiter, once and in the order of their bytes."""
    found = set()
    for key in keys:
        if key > after and key.startswith(prefix):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            common = prefix + head + cut if cut else ""
            if not common:
                found.add(key)
            elif common == after or not after.startswith(common):
                found.add(common)
    return sorted(found, key=str.encode)


async def _told(store: MotoStore, prefix: str, delimiter: str, after: str, limit: int) -> list[list[str]]:
    """The pages of a list, one after the other."""
    pages: list[list[str]] = []
    while True:
        page = await store.list_page(BUCKET, prefix, delimiter, after, limit)
        entries = [*(info.key for info in page.objects), *page.prefixes]
        pages.append(sorted(entries, key=str.encode))
        after = page.next_after
        if not after:
            return pages


async def _play(actions: list[tuple[Any, ...]]) -> None:
    store, keys = MotoStore(), set[str]()
    await store.create_bucket(BUCKET)
    for action in actions:
        if action[0] == "put":
            store.put_now(BUCKET, ObjectInfo(action[1], 1, "e" * 32, 0, Attributes()), Content.of(b"1"))
            keys.add(action[1])
        elif action[0] == "delete":
            await store.delete(BUCKET, action[1])
            keys.discard(action[1])
        else:
            _, prefix, delimiter, after, limit = action
            pages = await _told(store, prefix, delimiter, after, limit)
            assert all(len(page) == limit for page in pages[:-1])
            assert [entry for page in pages for entry in page] == _entries(keys, prefix, delimiter, after)


@settings(max_examples=500, deadline=None)
@given(ACTIONS)
def test_a_list_tells_what_is_there_at_its_moment(actions: list[tuple[Any, ...]]) -> None:
    asyncio.run(_play(actions))


async def _listed(ask: Lab, version: str, delimiter: str) -> list[str]:
    """Every entry that the pages tell, of one entry each, as a client asks for them."""
    told: list[str] = []
    query = f"delimiter={quote(delimiter, safe='')}&encoding-type=url&max-keys=1" + (
        "&list-type=2" if version == "2" else ""
    )
    marker = ""
    while True:
        answer = await ask("GET", f"/{BUCKET}", query=query + marker)
        assert answer.status == 200
        page = answer.xml
        told += [unquote(found.text or "") for found in page.iterfind("{*}Contents/{*}Key")]
        told += [unquote(found.text or "") for found in page.iterfind("{*}CommonPrefixes/{*}Prefix")]
        if page.findtext("{*}IsTruncated") == "false":
            return told
        assert len(told) < 20, told
        following = page.findtext("{*}NextContinuationToken")
        name = "marker" if following is None else "continuation-token"
        marker = f"&{name}={quote(following or unquote(page.findtext('{*}NextMarker') or ''), safe='')}"


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("version", ["1", "2"])
async def test_the_last_character_of_all_ends_no_list_early_and_none_never(store: str, version: str) -> None:
    last = "\U0010ffff"
    keys = ["a", f"a{last}", f"a{last}{last}", "b/1", f"b/{last}", f"b/{last}z", "c", last, f"{last}z"]
    with available(store) as upstream:
        async with lab(replace(SETTINGS, upstream=upstream)) as ask:
            await ask.service.reset()
            for key in keys:
                assert (await ask("PUT", f"/{BUCKET}/{key}", body=b"")).status == 200
            assert await _listed(ask, version, "") == sorted(keys)
            expected = sorted({"b/" if key.startswith("b/") else key for key in keys})
            assert await _listed(ask, version, "/") == expected
