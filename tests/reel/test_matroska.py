"""The last picture of a Matroska file is found, and nothing else is taken for one."""

from __future__ import annotations

from reel import matroska

# Tracks: sound is number 1, the picture number 2; named by a list of places before it, as muxers write it.
SOUND = bytes.fromhex("ae86 d78101 838102".replace(" ", ""))
PICTURE = bytes.fromhex("ae86 d78102 838101".replace(" ", ""))
HEAD = matroska.MAGIC + bytes.fromhex("53ab841654ae6b") + bytes.fromhex("1654ae6b90") + SOUND + PICTURE


def cluster(begins: int, *blocks: tuple[int, int]) -> bytes:
    body = b"\xe7\x84" + begins.to_bytes(4, "big")
    for track, ticks in blocks:
        body += b"\xa3\x88" + bytes([0x80 | track]) + ticks.to_bytes(2, "big") + bytes(5)
    return b"\x1f\x43\xb6\x75" + bytes([0x80 | len(body)]) + body


def test_the_last_picture_counts_and_not_the_sound_behind_it() -> None:
    tail = cluster(1000, (1, 0), (2, 40), (1, 80)) + cluster(2000, (1, 0), (1, 500))
    assert matroska.last_picture(HEAD, tail) == 1.04


def test_the_mark_of_a_cluster_within_a_picture_is_none() -> None:
    assert matroska.last_picture(HEAD, cluster(1000, (2, 40)) + b"\x1f\x43\xb6\x75\x90" + PICTURE * 3) == 1.04


def test_an_end_without_a_cluster_tells_nothing() -> None:
    assert matroska.last_picture(HEAD, bytes(1000)) is None
    assert matroska.last_picture(b"", b"") is None


def test_numbers_that_no_file_can_mean_are_no_error() -> None:
    huge = HEAD + bytes.fromhex("2ad7b188ffffffffffffffff") + bytes.fromhex("2ad7b190") + b"\xff" * 16
    assert (matroska.last_picture(huge, cluster(0xFFFFFFFF, (2, 40))) or 0) > 1e9
    long_time = b"\x1f\x43\xb6\x75\xff\xe7\x88" + b"\xff" * 8 + b"\xa3\x88\x82" + bytes(7)
    assert matroska.last_picture(huge, long_time) is not None
