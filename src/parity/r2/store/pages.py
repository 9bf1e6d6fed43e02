"""Pages of a sorted listing with prefix and delimiter. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from parity.r2.store.interface import ObjectInfo, Page

# Sorts after every key that begins with the text before it.
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
        index = max(index, bisect_left(keys, after if after.endswith(LAST) else after + "\0"))
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
        index = bisect_left(keys, last, lo=index)
        if not after.startswith(common) or after == common:
            prefixes.append(common)
    return Page(objects, prefixes, "")
