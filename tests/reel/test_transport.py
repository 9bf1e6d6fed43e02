"""A transport stream whose clock is set back is noticed; one whose clock wraps round is not accused."""

from __future__ import annotations

from random import Random

import pytest

from reel.transport import Clock, Formats, packet_size


def packet(ticks: int, stream: int = 0x100) -> bytes:
    """One packet in which a picture begins, shown at `ticks` of 90 kHz."""
    ticks %= 1 << 33
    stamp = bytes(
        [
            0x21 | (ticks >> 30 & 7) << 1,
            *((ticks >> 15 & 0x7FFF) << 1 | 1).to_bytes(2, "big"),
            *((ticks & 0x7FFF) << 1 | 1).to_bytes(2, "big"),
        ]
    )
    head = bytes([0x47, 0x40 | stream >> 8, stream & 0xFF, 0x10])
    return (head + b"\x00\x00\x01\xe0\x00\x00\x80\x80\x05" + stamp).ljust(188, b"\xff")


def went_back(*seconds: float) -> bool:
    clock = Clock(188)
    for at_s in seconds:
        clock.look(packet(round(at_s * 90_000)))
    return clock.went_back


def test_packets_of_188_192_and_204_bytes_are_told_from_other_files() -> None:
    one = packet(0)
    assert packet_size(one * 8) == 188
    assert packet_size((b"\x00\x01\x02\x03" + one) * 8) == 192
    assert packet_size((one + bytes(16)) * 8) == 204
    assert packet_size(b"\x47" + bytes(4000)) == 0
    assert packet_size(b"") == 0


def test_a_clock_that_runs_on_is_right_whatever_its_order_within_a_second() -> None:
    assert not went_back(10, 10.08, 10.04, 12, 3600)


def test_a_clock_that_begins_anew_is_noticed() -> None:
    assert went_back(10, 20, 30, 10)


def test_a_clock_that_wraps_after_26_hours_runs_on() -> None:
    assert not went_back(95_440, 95_443, 95_443.7 + 1, 95_443.7 + 9)


def test_streams_have_clocks_of_their_own() -> None:
    clock = Clock(188)
    clock.look(packet(90_000 * 100, 0x100) + packet(90_000, 0x101))
    assert not clock.went_back


def table(stream: int, section: bytes) -> bytes:
    """A packet in which a table begins and ends; without a right checksum."""
    head = bytes([0x47, 0x40 | stream >> 8, stream & 0xFF, 0x10, 0])
    return (head + section + bytes(4)).ljust(188, b"\xff")


def programs() -> bytes:
    """One program, whose table is in stream 0x1000."""
    return table(0, bytes([0x00, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0x00]))


def streams(sound: int) -> bytes:
    """H.264 in stream 0x100 and sound of this type in stream 0x101."""
    entries = bytes([0x1B, 0xE1, 0x00, 0xF0, 0, sound, 0xE1, 0x01, 0xF0, 0])
    return table(0x1000, bytes([0x02, 0xB0, 13 + len(entries), 0, 1, 0xC1, 0, 0, 0xE1, 0x00, 0xF0, 0]) + entries)


@pytest.mark.parametrize(("later", "changed"), [(0x0F, False), (0x81, True)])
def test_a_stream_of_another_type_in_a_later_table_is_noticed(later: int, changed: bool) -> None:
    formats = Formats(188)
    formats.look(programs() + streams(0x0F))
    formats.look(streams(later))
    assert formats.changed is changed


def test_tables_that_are_made_up_end_in_no_error() -> None:
    formats, random = Formats(188), Random(1)
    formats.look(programs())
    for _ in range(2000):
        formats.look(bytes([0x47, 0x50, 0x00, 0x30]) + random.randbytes(184))
        formats.look(table(0x1000, bytes([0x02, 0xB0, random.randrange(184)]) + random.randbytes(150))[:188])
