"""Preconditions of reads, writes and copies, and ranges. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from parity.r2 import answers
from parity.r2.errors import not_modified
from parity.r2.rules import Rulebook
from parity.r2.store.interface import Check, ObjectInfo

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def _parse_http_date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, IndexError, TypeError, OverflowError):
        return None


def _names(header: str, etag: str | None) -> bool:
    """Whether ``header``, a list of ETags or ``*``, names ``etag`` (``None``: nothing is there)."""
    if etag is None:
        return False
    if header.strip() == "*":
        return True
    listed = (item.strip().removeprefix("W/").strip('"') for item in header.split(","))
    return etag in listed


def _later(found: ObjectInfo, limit: float) -> bool:
    # HTTP dates have whole seconds.
    return int(found.modified) > limit


def write_check(headers: Mapping[str, str], rules: Rulebook) -> Check:
    """The check of a PUT, a copy's target, a Complete or a DELETE."""
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")
    unmodified = _parse_http_date(headers.get("if-unmodified-since"))
    modified = _parse_http_date(headers.get("if-modified-since"))

    def check(found: ObjectInfo | None) -> None:
        etag = None if found is None else found.etag
        if if_match is not None:
            if not _names(if_match, etag):
                rules.refuse_if_on(answers.PRECONDITION)
        elif unmodified is not None and found is not None and _later(found, unmodified):
            rules.refuse_if_on(answers.PRECONDITION)
        if if_none_match is not None:
            if _names(if_none_match, etag):
                rules.refuse_if_on(answers.PRECONDITION)
        elif modified is not None and found is not None and not _later(found, modified):
            rules.refuse_if_on(answers.PRECONDITION)

    return check


def source_check(headers: Mapping[str, str], rules: Rulebook) -> Check:
    """The check of a copy's source: the same conditions under ``x-amz-copy-source-``."""
    prefix = "x-amz-copy-source-"
    return write_check({name.removeprefix(prefix): headers[name] for name in headers if name.startswith(prefix)}, rules)


def read_check(headers: Mapping[str, str], rules: Rulebook, found: ObjectInfo) -> None:
    """GET and HEAD: 412, or 304 by raising ``not_modified``."""
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")
    unmodified = _parse_http_date(headers.get("if-unmodified-since"))
    modified = _parse_http_date(headers.get("if-modified-since"))
    if if_match is not None:
        if not _names(if_match, found.etag):
            rules.refuse_if_on(answers.PRECONDITION)
    elif unmodified is not None and _later(found, unmodified):
        rules.refuse_if_on(answers.PRECONDITION)
    validators = {"ETag": f'"{found.etag}"', "Last-Modified": http_date(found.modified)}
    if if_none_match is not None:
        if _names(if_none_match, found.etag):
            raise not_modified(validators)
    elif modified is not None and not _later(found, modified):
        raise not_modified(validators)


@dataclass(frozen=True, slots=True)
class Range:
    start: int
    length: int
    total: int

    @property
    def header(self) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.total}"


def parse_range(header: str | None, size: int, rules: Rulebook) -> Range | None:
    """The range of a GET; ``None`` for the whole object. Raises rule 23."""
    if header is None:
        return None
    found = _RANGE.fullmatch(header.strip())
    if found is None or found[0] == "bytes=-":
        rules.refuse_if_on(answers.RANGE_FORM)
        return None
    first, last = found[1], found[2]
    if not first:
        wanted = min(int(last), size)
        if not wanted:
            rules.refuse_if_on(answers.RANGE)
            return None
        return Range(size - wanted, wanted, size)
    start = int(first)
    if last and int(last) < start:
        rules.refuse_if_on(answers.RANGE_INVERTED)
        return None
    if start >= size:
        rules.refuse_if_on(answers.RANGE)
        return None
    end = min(int(last), size - 1) if last else size - 1
    return Range(start, end - start + 1, size)
