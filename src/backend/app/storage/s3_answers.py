"""What an answer must hold to be R2's: a proxy or a broken server can say 200 too, with nothing or a web page in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.storage.interface import ObjectBytes, ObjectInfo


class NotR2(Exception):
    """An answer that says success and cannot be R2's, or not the whole of it."""


def field(answer: Mapping[str, Any], name: str) -> Any:
    """Raises `NotR2` where it is missing: botocore leaves out what the answer did not say."""
    if name not in answer:
        raise NotR2(f"an answer without {name} is not R2's")
    return answer[name]


def etag(answer: Mapping[str, Any]) -> str:
    found: str = field(answer, "ETag")
    return found


def info(key: str, answer: Mapping[str, Any]) -> ObjectInfo:
    """The object that a GET or HEAD told of."""
    size = field(answer, "ContentLength")
    return ObjectInfo(key, size, etag(answer), answer.get("ContentType"), answer.get("LastModified"))


@contextmanager
def body(answer: Mapping[str, Any]) -> Iterator[Any]:
    """What a GET brings, as a stream; its connection is given up where it was not read to the end."""
    stream = answer["Body"]
    try:
        yield stream
    except BaseException:
        stream.close()
        raise


def whole(answer: Mapping[str, Any]) -> ObjectBytes:
    """The content that a GET brings. Without a length no one could tell that it broke off; botocore compares it."""
    with body(answer) as stream:
        tag, size = etag(answer), field(answer, "ContentLength")
        data = stream.read()
        if len(data) != size:
            raise NotR2(f"{len(data)} bytes came instead of {size}")
        return ObjectBytes(data, tag)


def part(answer: Mapping[str, Any], start: int, length: int) -> bytes:
    """The bytes that a GET of a range brings: those, and not the whole object."""
    with body(answer):
        said = str(field(answer, "ContentRange"))
        if not said.startswith(f"bytes {start}-"):
            raise NotR2(f"{said!r} came instead of {length} bytes from {start}")
        return whole(answer).data


def page(answer: Mapping[str, Any], bucket: str) -> Mapping[str, Any]:
    """A page of a listing. Nothing else may be taken for an empty one: that would mean a new profile."""
    if (name := field(answer, "Name")) != bucket:
        raise NotR2(f"a listing of {name!r} came instead of {bucket!r}")
    field(answer, "KeyCount")
    if field(answer, "IsTruncated"):
        field(answer, "NextContinuationToken")
    for item in answer.get("Contents", ()):
        for name in ("Key", "Size", "ETag"):
            field(item, name)
    return answer
