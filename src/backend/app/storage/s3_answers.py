"""Verifies that an answer is R2's: a proxy or a broken server can also answer 200, with an empty body or a web page."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.storage.interface import ObjectBytes, ObjectInfo


class NotR2(Exception):
    """A successful answer that cannot be R2's, or is incomplete."""


def field(answer: Mapping[str, Any], name: str) -> Any:
    """A field of the answer. Raises `NotR2` when it is missing, because botocore omits fields that the answer lacks."""
    if name not in answer:
        raise NotR2(f"an answer without {name} is not R2's")
    return answer[name]


def etag(answer: Mapping[str, Any]) -> str:
    found: str = field(answer, "ETag")
    return found


def info(key: str, answer: Mapping[str, Any]) -> ObjectInfo:
    """The object's attributes from the answer to a GET or HEAD."""
    size = field(answer, "ContentLength")
    return ObjectInfo(key, size, etag(answer), answer.get("ContentType"), answer.get("LastModified"))


@contextmanager
def body(answer: Mapping[str, Any]) -> Iterator[Any]:
    """The body of a GET as a stream; the connection is closed if the body was not read to its end."""
    stream = answer["Body"]
    try:
        yield stream
    except BaseException:
        stream.close()
        raise


def whole(answer: Mapping[str, Any]) -> ObjectBytes:
    """The whole body of a GET. It must have a length, because botocore compares it to detect a truncated body."""
    with body(answer) as stream:
        tag, size = etag(answer), field(answer, "ContentLength")
        data = stream.read()
        if len(data) != size:
            raise NotR2(f"{len(data)} bytes came instead of {size}")
        return ObjectBytes(data, tag)


def part(answer: Mapping[str, Any], start: int, length: int) -> bytes:
    """The body of a GET with a range. Raises `NotR2` where the answer is the whole object instead."""
    with body(answer):
        said = str(field(answer, "ContentRange"))
        if not said.startswith(f"bytes {start}-"):
            raise NotR2(f"{said!r} came instead of {length} bytes from {start}")
        return whole(answer).data


def page(answer: Mapping[str, Any], bucket: str) -> Mapping[str, Any]:
    """A page of a listing. No other answer may pass for an empty page, because that would mean a new profile."""
    if (name := field(answer, "Name")) != bucket:
        raise NotR2(f"a listing of {name!r} came instead of {bucket!r}")
    field(answer, "KeyCount")
    if field(answer, "IsTruncated"):
        field(answer, "NextContinuationToken")
    for item in answer.get("Contents", ()):
        for name in ("Key", "Size", "ETag"):
            field(item, name)
    return answer
