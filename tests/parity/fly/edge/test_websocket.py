"""Frame boundaries in a stream of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parity.fly.edge.websocket import FrameTracker, close_frame


def frame(size: int, *, masked: bool = False) -> bytes:
    mask = 128 if masked else 0
    if size < 126:
        head = bytes((0x82, mask | size))
    elif size < 65536:
        head = bytes((0x82, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x82, mask | 127)) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + bytes(size)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 125, 126, 300, 65535, 65536]), st.booleans())), st.data())
def test_a_tracker_is_between_frames_exactly_at_their_ends(sizes: list[tuple[int, bool]], data: st.DataObject) -> None:
    stream, ends = b"", {0}
    for size, masked in sizes:
        stream += frame(size, masked=masked)
        ends.add(len(stream))
    cuts = sorted([*data.draw(st.lists(st.integers(0, len(stream)), max_size=8)), len(stream)])
    tracker, position = FrameTracker(), 0
    for cut in cuts:
        tracker.feed(stream[position:cut])
        position = cut
        assert tracker.between == (position in ends)


def test_feeding_can_stop_at_the_first_frames_end() -> None:
    tracker = FrameTracker()
    first, second = frame(300), frame(5)
    tracker.feed(first[:10])
    assert tracker.feed(first[10:] + second, stop_between=True) == len(first) - 10
    assert tracker.between


def test_a_close_frame_holds_code_and_reason() -> None:
    assert close_frame(1001, b"bye") == b"\x88\x05\x03\xe9bye"
