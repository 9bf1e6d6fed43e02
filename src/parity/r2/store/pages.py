"""Pages of a sorted listing with prefix and delimiter. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from parity.r2.store.interface import ObjectInfo, Page

# A page that ended with a common prefix has this marker: the prefix followed by this character, which sorts after the
# other keys under the prefix. Keys that contain this character there are skipped too, as they belong to a prefix that
# was listed.
LAST = "\U0010ffff"


def page(
    keys: Sequence[str],
    describe: Callable[[str], ObjectInfo],
    prefix: str,
    delimiter: str,
    after: str,
    limit: int,
) -> Page:
    """Objects and common prefixes after ``after`` in ``keys``, which are sorted by their UTF-8 bytes."""
    objects: list[ObjectInfo] = []
    prefixes: list[str] = []
    last = ""
    if limit <= 0:
        return Page(objects, prefixes, "")
    # Python compares by code point, which is the order of UTF-8 bytes.
    index = bisect_left(keys, prefix)
    if after:
        index = max(index, bisect_right(keys, after))
    while index < len(keys) and keys[index].startswith(prefix):
        if len(objects) + len(prefixes) == limit:
            return Page(objects, prefixes, last)
        key = keys[index]
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            objects.append(describe(key))
            last = key
            index += 1
            continue
        common = key[: cut + len(delimiter)]
        last = common + LAST
        index = _past(keys, common, index)
        if not after.startswith(common) or after == common:
            prefixes.append(common)
    return Page(objects, prefixes, "")


def _past(keys: Sequence[str], prefix: str, start: int) -> int:
    """The index of the first key after all keys with this prefix."""
    text = prefix.rstrip(LAST)
    return bisect_left(keys, text[:-1] + chr(ord(text[-1]) + 1), lo=start) if text else len(keys)


def next_marker(page: Page) -> str:
    """``next_after`` in the form of ListObjects version 1: the common prefix or the key with which the page ended."""
    prefix = page.next_after.removesuffix(LAST)
    return prefix if prefix in page.prefixes else page.next_after
