"""A transport stream whose clock is set back is noticed; one whose clock wraps round is not accused."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest

from reel.media import MediaInfo, VideoStream
from reel.packets import packet_size
from reel.programs import Formats
from reel.transport import Clock, Recording


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
    assert went_back(10, 20, 30, 10, 10.04)
    assert went_back(10, 10.04, 2, 1.96)


def test_single_timestamps_that_are_wrong_are_passed_over() -> None:
    assert not went_back(10, 10.04, 70_000, 10.08, 10.12, 3, 10.16, 500, 10.2, 40_000, 10.24)


def test_a_clock_that_begins_anew_behind_a_gap_is_noticed() -> None:
    assert not went_back(10, 10.04, 500, 500.04)
    assert went_back(10, 10.04, 500, 500.04, 10, 10.04)


def test_a_clock_that_wraps_after_26_hours_runs_on() -> None:
    assert not went_back(95_440, 95_443, 95_443.7 + 1, 95_443.7 + 9)


def test_streams_have_clocks_of_their_own() -> None:
    clock = Clock(188)
    clock.look(packet(90_000 * 100, 0x100) + packet(90_000, 0x101))
    assert not clock.went_back


def table(stream: int, section: bytes) -> bytes:
    """A packet in which a table begins and ends."""
    head = bytes([0x47, 0x40 | stream >> 8, stream & 0xFF, 0x10, 0])
    return (head + section + checksum(section)).ljust(188, b"\xff")


def checksum(section: bytes) -> bytes:
    """CRC_32 of ISO/IEC 13818-1, annex A."""
    crc = 0xFFFFFFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc.to_bytes(4, "big")


def programs() -> bytes:
    """One program, whose table is in stream 0x1000."""
    return table(0, bytes([0x00, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0x00]))


def streams(sound: int, current: int = 1) -> bytes:
    """H.264 in stream 0x100 and sound of this type in stream 0x101."""
    entries = bytes([0x1B, 0xE1, 0x00, 0xF0, 0, sound, 0xE1, 0x01, 0xF0, 0])
    return table(
        0x1000, bytes([0x02, 0xB0, 13 + len(entries), 0, 1, 0xC0 | current, 0, 0, 0xE1, 0x00, 0xF0, 0]) + entries
    )


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


def over_packets(stream: int, section: bytes, between: bytes = b"", first: int = 184) -> bytes:
    """A table that is split over packets, the first of which has so many bytes of payload."""
    rest = b"\x00" + section + checksum(section)
    parts: list[bytes] = []
    while rest:
        size = first if not parts else 184
        head = bytes([0x47, (0x40 if not parts else 0) | stream >> 8, stream & 0xFF, 0x10 | len(parts)])
        stuffed = rest[:size].ljust(size, b"\xff")
        if size < 184:
            head = head[:3] + bytes([0x30 | len(parts), 183 - size]) + bytes(1)[: 183 - size] + b"\xff" * (182 - size)
        parts.append(head + stuffed)
        rest = rest[size:]
    return between.join(parts)


@pytest.mark.parametrize("first", [184, 100, 3])
@pytest.mark.parametrize("between", [b"", packet(0, 0x100) * 20])
@pytest.mark.parametrize(("later", "changed"), [(0x0F, False), (0x81, True)])
def test_a_table_of_several_packets_is_compared_too(later: int, changed: bool, between: bytes, first: int) -> None:
    def long(sound: int) -> bytes:
        entries = bytes([0x1B, 0xE1, 0x00, 0xF0, 200]) + b"\x09\xc6" + bytes(198)
        entries += bytes([sound, 0xE1, 0x01, 0xF0, 0])
        length = 13 + len(entries)
        return bytes([0x02, 0xB0 | length >> 8, length & 0xFF, 0, 1, 0xC1, 0, 0, 0xE1, 0x00, 0xF0, 0]) + entries

    formats = Formats(188)
    formats.look(programs() + over_packets(0x1000, long(0x0F), between, first))
    assert formats.pictures() == {0x100: 0x1B}
    formats.look(over_packets(0x1000, long(later), between, first))
    assert formats.changed is changed


def test_a_table_that_lacks_a_packet_or_holds_later_or_is_damaged_is_left_out() -> None:
    formats = Formats(188)
    formats.look(programs() + streams(0x0F))
    damaged = bytearray(streams(0x81))
    damaged[1] |= 0x80
    wrong = bytearray(streams(0x0F))
    wrong[5 + 17] = 0x81  # the type of the sound
    formats.look(streams(0x81, current=0) + bytes(damaged) + bytes(wrong))
    formats.look(streams(0x81)[:100])
    formats.look(programs()[:3])
    assert not formats.changed


def test_many_programs_take_bounded_memory() -> None:
    formats = Formats(188)
    for stream in range(16, 8000, 4):
        entries = b"".join(bytes([0, 1, 0xE0 | (stream + one) >> 8, (stream + one) & 0xFF]) for one in range(4))
        formats.look(table(0, bytes([0x00, 0xB0, 9 + len(entries), 0, 1, 0xC1, 0, 0]) + entries))
    assert len(formats.tables()) < 300


@pytest.mark.parametrize("begin_s", [1.4, 95_440])
@pytest.mark.parametrize("told_s", [8.04, 49.9, 0.0])
def test_the_length_is_that_of_the_clock_where_ffprobe_went_by_a_wrong_timestamp(begin_s: float, told_s: float) -> None:
    times = [number / 25 for number in range(201)]
    recording = Recording(188, b"")
    for at_s in (*times[:50], 70_000.0, *times[50:], 9_000.0):
        recording.look(packet(round((begin_s + at_s) * 90_000)))
    video = VideoStream("h264", 320, 180, Fraction(25), number=0x100)
    media = MediaInfo("mpegts", told_s, 0, video, None, start_s=begin_s)
    assert recording.fault is None
    assert recording.settled(media).duration_s == pytest.approx(8.04, abs=0.001)
