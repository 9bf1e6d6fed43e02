"""Preconditions of reads, writes and copies, and ranges. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from parity.r2 import answers
from parity.r2.answers import Answer
from parity.r2.errors import not_modified
from parity.r2.rules import Rulebook
from parity.r2.store.interface import Check, ObjectInfo, no_check

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


CONDITIONS = ("if-match", "if-none-match", "if-unmodified-since", "if-modified-since")
_COPY_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})", re.ASCII)


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
    """The check of a PUT, a Complete or a DELETE. Raises rule 16."""
    return _check(headers, rules, answers.PRECONDITION)


def _check(headers: Mapping[str, str], rules: Rulebook, answer: Answer) -> Check:
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")
    unmodified = _parse_http_date(headers.get("if-unmodified-since"))
    modified = _parse_http_date(headers.get("if-modified-since"))
    if if_match is None and if_none_match is None and unmodified is None and modified is None:
        return no_check

    def check(found: ObjectInfo | None) -> None:
        etag = None if found is None else found.etag
        if if_match is not None:
            if not _names(if_match, etag):
                rules.refuse_if_on(answer)
        elif unmodified is not None and found is not None and _later(found, unmodified):
            rules.refuse_if_on(answer)
        if if_none_match is not None:
            if _names(if_none_match, etag):
                rules.refuse_if_on(answer)
        elif modified is not None and found is not None and not _later(found, modified):
            rules.refuse_if_on(answer)

    return check


def destination_check(headers: Mapping[str, str], rules: Rulebook) -> Check:
    """The check of a copy's target: R2's own ``cf-copy-destination-if-…`` headers. Raises rules 16 and 36."""
    own: Check = no_check
    if rules.holds(36):
        own = _check(_with_prefix(headers, "cf-copy-destination-"), rules, answers.COPY_DESTINATION)
    return both(own, unlisted_check(headers, rules))


def unlisted_check(headers: Mapping[str, str], rules: Rulebook) -> Check:
    """``If-…`` headers on operations for which R2's documents do not list them. Raises rule 16 where the setting says
    so."""
    return write_check(headers, rules) if rules.choices.unlisted_conditions == "check" else no_check


def both(one: Check, other: Check) -> Check:
    if one is no_check or other is no_check:
        return other if one is no_check else one

    def check(found: ObjectInfo | None) -> None:
        one(found)
        other(found)

    return check


def _with_prefix(headers: Mapping[str, str], prefix: str) -> Mapping[str, str]:
    return {name.removeprefix(prefix): headers[name] for name in headers if name.startswith(prefix)}


def source_check(headers: Mapping[str, str], rules: Rulebook) -> Check:
    """The check of a copy's source: the same conditions under ``x-amz-copy-source-``."""
    return write_check(_with_prefix(headers, "x-amz-copy-source-"), rules)


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


def range_of(headers: Mapping[str, str], info: ObjectInfo, rules: Rulebook) -> Range | None:
    """The range that a GET asks for; ``None`` for the whole object, also when If-Range names another version and the
    setting honours it. Raises rule 23."""
    if_range = headers.get("if-range")
    if if_range is not None and rules.choices.if_range == "honour":
        date = _parse_http_date(if_range)
        same = int(info.modified) == date if date is not None else _names(if_range, info.etag)
        if not same or if_range.startswith("W/"):
            return None
    return parse_range(headers.get("range"), info.size, rules)


def check_copy_range(header: str | None, rules: Rulebook) -> None:
    """``x-amz-copy-source-range`` has both ends, in order. Raises rule 23."""
    if header is None:
        return
    found = _COPY_RANGE.fullmatch(header)
    if found is None:
        rules.refuse_if_on(answers.COPY_RANGE_FORM, value=header)
    elif int(found[2]) < int(found[1]):
        rules.refuse_if_on(answers.COPY_RANGE_INVERTED)


def parse_copy_range(header: str | None, size: int, rules: Rulebook) -> Range | None:
    """What of a source of ``size`` is copied; ``None`` for all of it. Raises rule 23."""
    found = _COPY_RANGE.fullmatch(header or "")
    if found and int(found[2]) >= size and rules.choices.copy_range == "refuse":
        rules.refuse_if_on(answers.COPY_RANGE_PAST_END, size=size)
    return parse_range(header, size, rules)


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
