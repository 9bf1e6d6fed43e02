"""The store's lists, whatever was written and deleted between them, against sorting and filtering all keys."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parity.r2.conftest import BUCKET

from parity.r2.content import Content
from parity.r2.store.interface import Attributes, ObjectInfo
from parity.r2.store.moto import MotoStore

TEXT = st.text(alphabet="ab/\u00e9\U0001f600", max_size=4)
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
