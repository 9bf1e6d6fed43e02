"""Digests that a body is checked against while it arrives."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import fastcrc

from parity.r2 import answers
from parity.r2.rules import Rulebook


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


def _crc64_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x9A6C9329AC4BC9B5 if byte & 1 else 0)
        table.append(byte)
    return table


_NVME = _crc64_table()


def _crc64nvme(data: bytes, value: int) -> int:
    value ^= 0xFFFFFFFFFFFFFFFF
    for byte in data:
        value = _NVME[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFFFFFFFFFF


DIGESTS: dict[str, tuple[int, Callable[[], Digest]]] = {
    "crc32": (4, lambda: _Crc(zlib.crc32, 4)),
    "crc32c": (4, lambda: _Crc(lambda data, value: int(fastcrc.crc32.iscsi(data, value)), 4)),
    "crc64nvme": (8, lambda: _Crc(_crc64nvme, 8)),
    "sha1": (20, hashlib.sha1),
    "sha256": (32, hashlib.sha256),
    "md5": (16, lambda: hashlib.md5(usedforsecurity=False)),
}


class BodyDigests:
    """MD5 of every body (its ETag) and whatever else the headers promise."""

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
            if name != "md5" and (value := headers.get(f"x-amz-checksum-{name}")) is not None:
                self.expect(name, value, width, make())

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
        """The ETag, when everything that was promised holds. Raises rules 9 and 22."""
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
