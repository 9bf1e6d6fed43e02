"""Which responses are compressed, and with what."""

from __future__ import annotations

import zlib

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

from parity.fly.edge.compress import COMPRESSORS, accepted, coding_for
from parity.fly.edge.headers import Headers
from parity.fly.settings import load_fly_settings

SETTINGS = load_fly_settings({})
TEXT = (b"content-type", b"text/plain")
UNPACK = {
    b"zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    b"br": brotli.decompress,
    b"gzip": lambda data: zlib.decompress(data, 31),
    b"deflate": zlib.decompress,
}


def coding(
    headers: Headers, *, method: bytes = b"GET", status: int = 200, accept: bytes | None = b"gzip, br"
) -> bytes | None:
    return coding_for(method, accept, status, headers, SETTINGS.compress_skip, SETTINGS.compress_min)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_each_coding_gives_back_what_went_in(name: bytes) -> None:
    compressor = COMPRESSORS[name]()
    packed = compressor.compress(b"word " * 1000) + compressor.compress(b"end") + compressor.finish()
    assert UNPACK[name](packed) == b"word " * 1000 + b"end"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip;q=0.5, br;q=0.9", b"br"),
        (b"gzip;q=0", None),
        (b"identity", None),
        (b"*", b"zstd"),
        (b"", None),
        (None, None),
    ],
)
def test_the_clients_weights_decide(value: bytes | None, expected: bytes | None) -> None:
    assert accepted(value) == expected


def test_text_is_compressed() -> None:
    assert coding([TEXT]) == b"br"


@pytest.mark.parametrize(
    "header",
    [
        (b"content-encoding", b"identity"),
        (b"content-encoding", b"none"),
        (b"content-range", b"bytes 0-1/5"),
        (b"content-length", b"31"),
    ],
)
def test_what_the_app_encoded_opted_out_of_or_made_small_is_left_alone(header: tuple[bytes, bytes]) -> None:
    assert coding([TEXT, header]) is None


def test_videos_are_left_alone() -> None:
    assert coding([(b"content-type", b"video/mp4")]) is None


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"GET", 206)])
def test_responses_without_a_whole_body_are_left_alone(method: bytes, status: int) -> None:
    assert coding([TEXT], method=method, status=status) is None
