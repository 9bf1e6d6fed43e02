"""Converts bodies, attributes and answers to and from boto3's form. Pure except for reading bodies."""

from __future__ import annotations

import io
from dataclasses import astuple
from typing import Any
from urllib.parse import quote, unquote

from parity.r2.content import Content
from parity.r2.headers import KEPT, METADATA
from parity.r2.pieces import BLOCK
from parity.r2.sniff import UNTYPED
from parity.r2.store.interface import Attributes, Checksum, ObjectInfo

_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
# Metadata names that carry attributes which an upstream cannot store.
_STORAGE_CLASS, _WRITTEN_KEY = "parity-storage-class", "parity-written-key"
_CHECKSUM, _CUSTOMER_KEY, _KEPT = "parity-checksum", "parity-customer-key", "parity-kept-"
_ARGUMENTS = {name: "".join(word.title() for word in name.split("-")) for name in KEPT}


class _ContentFile(io.RawIOBase):
    """A body as a readable, seekable file for boto3, never whole in memory."""

    def __init__(self, content: Content) -> None:
        self._content, self._position = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._content.size - self._position)
        filled = 0
        for block in self._content.blocks(self._position, max(wanted, 0)):
            buffer[filled : filled + len(block)] = block
            filled += len(block)
        self._position += filled
        return filled


def _as_header(name: str, value: str) -> bool:
    """Whether an upstream returns the header unchanged. Not so for text other than ASCII, nor for an ``expires`` that
    is no date, which boto3 does not send."""
    return name != "expires" and value.isascii() and value.isprintable() and value.strip() == value != ""


def _encoded(value: str) -> str:
    return quote(value, safe=_PRINTABLE)


def arguments_of(attributes: Attributes) -> dict[str, Any]:
    """The arguments of a boto3 write; metadata is percent-encoded, since HTTP headers hold ASCII only."""
    found: dict[str, Any] = {"Metadata": {}}
    for name, value in attributes.headers.items():
        if name.startswith(METADATA):
            found["Metadata"][name.removeprefix(METADATA)] = _encoded(value)
        elif _as_header(name, value):
            found[_ARGUMENTS[name]] = value
        else:
            found["Metadata"][_KEPT + name] = _encoded(value)
    # Upstreams differ in the type that they return for an object without one; the stand-in always says this.
    found.setdefault("ContentType", UNTYPED)
    if attributes.storage_class != "STANDARD":
        # Not every upstream has R2's storage classes.
        found["Metadata"][_STORAGE_CLASS] = attributes.storage_class
    if attributes.checksum and attributes.checksum.value:
        found["Metadata"][_CHECKSUM] = " ".join(astuple(attributes.checksum))
    if attributes.customer_key:
        found["Metadata"][_CUSTOMER_KEY] = attributes.customer_key
    if attributes.written_key:
        found["Metadata"][_WRITTEN_KEY] = _encoded(attributes.written_key)
    return found


def info_of(key: str, answer: dict[str, Any]) -> ObjectInfo:
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    metadata = {name: unquote(value) for name, value in answer.get("Metadata", {}).items()}
    storage_class, written_key = metadata.pop(_STORAGE_CLASS, "STANDARD"), metadata.pop(_WRITTEN_KEY, "")
    checksum, customer_key = metadata.pop(_CHECKSUM, "").split(), metadata.pop(_CUSTOMER_KEY, "")
    found = {name: headers[name] for name in KEPT if name in headers}
    for name, value in metadata.items():
        if name.startswith(_KEPT):
            found[name.removeprefix(_KEPT)] = value
        else:
            found[METADATA + name] = value
    size = int(answer.get("ContentLength", 0))
    kept = Checksum(*checksum) if checksum else None
    attributes = Attributes(found, storage_class, written_key, kept, customer_key)
    return ObjectInfo(key, size, answer["ETag"].strip('"'), answer["LastModified"].timestamp(), attributes)


def body_of(content: Content) -> bytes | io.BufferedReader:
    if content.in_memory:
        return content.read()
    return io.BufferedReader(_ContentFile(content), BLOCK)
