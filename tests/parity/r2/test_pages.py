"""Pages of a listing against the plainest way to make them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from parity.r2.store.interface import Attributes, ObjectInfo
from parity.r2.store.pages import page

KEYS = st.sets(st.text(alphabet="ab/\U0010ffff", min_size=1, max_size=6), max_size=25)


def _describe(key: str) -> ObjectInfo:
    return ObjectInfo(key, 0, "", 0, Attributes())


def _plain(keys: set[str], prefix: str, delimiter: str) -> list[str]:
    """What S3's page on listings says: keys, or what they have in common up to the delimiter, in order, once."""
    found = set()
    for key in keys:
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if cut < 0 else key[: cut + len(delimiter)])
    return sorted(found)


@settings(max_examples=400, deadline=None)
@given(
    KEYS,
    st.text(alphabet="ab/\U0010ffff", max_size=2),
    st.sampled_from(["", "/", "a/", "\U0010ffff"]),
    st.integers(1, 7),
)
def test_pages_put_together_are_the_whole_listing(keys: set[str], prefix: str, delimiter: str, limit: int) -> None:
    order, told, after = sorted(keys), [], ""
    for _ in range(len(keys) + 1):
        found = page(order, _describe, prefix, delimiter, after, limit)
        entries = sorted([*(info.key for info in found.objects), *found.prefixes])
        assert len(entries) <= limit
        told += entries
        after = found.next_after
        if not after:
            break
    assert told == _plain(keys, prefix, delimiter)


@settings(max_examples=200, deadline=None)
@given(KEYS, st.text(alphabet="ab/\U0010ffff", min_size=1, max_size=4))
def test_a_page_begins_after_its_marker(keys: set[str], after: str) -> None:
    found = page(sorted(keys), _describe, "", "", after, 1000)
    assert [info.key for info in found.objects] == sorted(key for key in keys if key > after)
