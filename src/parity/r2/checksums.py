"""Digests that a body is checked against while it arrives."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import anycrc

from parity.r2 import answers
from parity.r2.rules import Rulebook
from parity.r2.store.interface import Checksum


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """A CRC of ``width`` bytes, big-endian."""

    def __init__(self, step: Callable[[bytes, int], int], width: int) -> None:
        self._step, self._width, self._value = step, width, 0

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


_CRC32C, _CRC64NVME = anycrc.Model("CRC32C"), anycrc.Model("CRC64-NVME")

DIGESTS: dict[str, tuple[int, Callable[[], Digest]]] = {
    "crc32": (4, lambda: _Crc(zlib.crc32, 4)),
    "crc32c": (4, lambda: _Crc(_CRC32C.calc, 4)),
    "crc64nvme": (8, lambda: _Crc(_CRC64NVME.calc, 8)),
    "sha1": (20, hashlib.sha1),
    "sha256": (32, hashlib.sha256),
    "md5": (16, lambda: hashlib.md5(usedforsecurity=False)),
}


# Checksum → the type that R2 has of it for objects of several parts (cloudflare-docs r2/api/s3/api, 2025-07).
PART_TYPES: Mapping[str, str] = {
    "crc32": "COMPOSITE",
    "crc32c": "COMPOSITE",
    "crc64nvme": "FULL_OBJECT",
    "sha1": "COMPOSITE",
    "sha256": "COMPOSITE",
}
_HEADER = "x-amz-checksum-"


def named(headers: Mapping[str, str]) -> list[str]:
    """The names of the checksums in the headers, or of those that the headers announce for the trailer of a chunked
    body."""
    trailers = {name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",")}
    return [name for name in PART_TYPES if _HEADER + name in headers or _HEADER + name in trailers]


def check_one(headers: Mapping[str, str], rules: Rulebook) -> None:
    """Raises rule 38: of Content-MD5 and the checksums of ``named`` a request may have one."""
    if len(named(headers)) + ("content-md5" in headers) > 1:
        rules.refuse_if_on(answers.SEVERAL_CHECKSUMS)


def joined(algorithm: str, parts: Sequence[tuple[str, int]]) -> Checksum | None:
    """The checksum of an object of ``parts``, each with its own in base64 and its size; ``None`` unless all have one.

    A COMPOSITE is the checksum of the parts' checksums, with their number; a FULL_OBJECT that of all bytes, which
    follows from the parts' without reading them again.
    """
    values = [base64.b64decode(value) for value, _ in parts]
    if not all(values):
        return None
    width, make = DIGESTS[algorithm]
    kind = PART_TYPES[algorithm]
    if kind == "COMPOSITE":
        digest = make()
        digest.update(b"".join(values))
        return Checksum(algorithm, f"{base64.b64encode(digest.digest()).decode()}-{len(parts)}", kind)
    whole = 0
    for value, (_, size) in zip(values, parts, strict=True):
        whole = _CRC64NVME.combine(whole, int.from_bytes(value, "big"), size)
    return Checksum(algorithm, base64.b64encode(whole.to_bytes(width, "big")).decode(), kind)


class BodyDigests:
    """Computes the MD5 of a body (its ETag) and every other digest that the headers announce."""

    def __init__(self, headers: Mapping[str, str], payload: str, rules: Rulebook) -> None:
        self._rules = rules
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._others: list[tuple[str, bytes, Digest]] = []
        self._sha256 = None
        self._payload = payload
        if len(payload) == 64:
            self._sha256 = hashlib.sha256()
        self._content_md5 = self._expected(headers.get("content-md5"), 16)
        for name, (width, make) in DIGESTS.items():
            if name != "md5" and (value := headers.get(_HEADER + name)) is not None:
                self.expect(name, value, width, make())

    @property
    def given(self) -> Checksum | None:
        """The checksum that the request brought, other than an MD5."""
        if not self._others:
            return None
        name, expected, _ = self._others[0]
        return Checksum(name, base64.b64encode(expected).decode(), "FULL_OBJECT")

    def expect(self, name: str, value: str, width: int, digest: Digest) -> None:
        expected = self._expected(value, width)
        if expected is not None:
            self._others.append((name, expected, digest))

    def _expected(self, value: str | None, width: int) -> bytes | None:
        if value is None:
            return None
        try:
            decoded = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if len(decoded) != width:
            self._rules.refuse_if_on(answers.INVALID_DIGEST)
            return None
        return decoded

    def update(self, data: bytes) -> None:
        self._md5.update(data)
        if self._sha256 is not None:
            self._sha256.update(data)
        for _, _, digest in self._others:
            digest.update(data)

    def finish(self) -> str:
        """The ETag, after every announced digest was compared. Raises rules 9 and 22."""
        if self._sha256 is not None and self._sha256.hexdigest() != self._payload.lower():
            self._rules.refuse_if_on(answers.SHA256_MISMATCH)
        if self._content_md5 is not None and self._content_md5 != self._md5.digest():
            self._refuse("MD5", self._content_md5, self._md5.digest())
        for name, expected, digest in self._others:
            if digest.digest() != expected:
                self._refuse(name.upper(), expected, digest.digest())
        return self._md5.hexdigest()

    def _refuse(self, name: str, given: bytes, actual: bytes) -> None:
        self._rules.refuse_if_on(answers.BAD_DIGEST, name=name, given=given.hex(), actual=actual.hex())
