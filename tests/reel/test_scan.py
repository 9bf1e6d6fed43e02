"""A scan that goes on from a checkpoint finds the same as one that was given the whole file at once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reel import boxes, flv, fragments, matroska, scan, transport
from reel.errors import UnusableVideo
from reel.media import MediaInfo, VideoStream
from reel.scan import Scan
from reel.tools import Tools

MEDIA = MediaInfo("x", 0.0, 0, VideoStream("h264", 320, 180, None), None)
LIVE = ("-f", "webm", "-live", "1")
FRAGMENTED = ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, tools: Tools) -> Callable[..., bytes]:
    """`make(*options, begins_s=0)`: four seconds of video in a container."""
    folder = tmp_path_factory.mktemp("scans")

    def make(*options: str, begins_s: float = 0, codec: str = "libx264") -> bytes:
        path = folder / str(abs(hash((options, begins_s, codec))))
        if not path.exists():
            picture = "testsrc2=size=160x90:rate=25:duration=4"
            command = [
                tools.ffmpeg,
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                picture,
                "-f",
                "lavfi",
                "-i",
                "sine=duration=4",
            ]
            encode = ["-c:v", codec, "-g", "12", "-pix_fmt", "yuv420p", "-threads", "1"]
            command += [*encode, *options, "-output_ts_offset", str(begins_s), "-y", str(path)]
            subprocess.run(command, check=True)
        return path.read_bytes()

    return make


def ts(data: bytes) -> Scan:
    return transport.Recording(188, data)


def tags(data: bytes) -> Scan:
    return flv.Tags(len(data))


def segments(data: bytes) -> Scan:
    return matroska.Segments()


def fragmented(data: bytes) -> Scan:
    at = data.index(b"moov") - 4
    return fragments.Fragments(data[at : at + boxes.u32(data, at)], len(data))


def verdict(new: Scan, data: bytes, begin: int, piece: int, stop: int | None = None) -> tuple[str | None, int]:
    """Why a scan refuses a file that it is given from an offset on, and how many bytes it has been given then."""
    for at in range(begin, len(data) if stop is None else stop, piece):
        new.look(data[at : at + piece])
        if new.fault:
            return new.fault, min(at + piece, len(data))
    return None, len(data)


def length(one: Scan) -> float | str:
    try:
        return one.settled(MEDIA).duration_s
    except UnusableVideo as error:
        return str(error)


Files = Callable[[Callable[..., bytes]], bytes]
TS, FLV, WEBM = ("-f", "mpegts"), ("-f", "flv"), ("-c:v", "libvpx", "-c:a", "libvorbis", *LIVE)
CASES: dict[str, tuple[Callable[[bytes], Scan], Files, str]] = {
    "ts": (ts, lambda make: make(*TS) + make(*TS, begins_s=4), ""),
    "ts-clock": (ts, lambda make: make(*TS, begins_s=100) + make(*TS), scan.CLOCK_BEGINS_ANEW),
    "ts-codec": (ts, lambda make: make(*TS) + make(*TS, begins_s=4, codec="mpeg2video"), scan.FORMATS_CHANGE),
    "flv": (tags, lambda make: make(*FLV), ""),
    "flv-cut": (tags, lambda make: make(*FLV)[:-5000], ""),
    "flv-joined": (tags, lambda make: make(*FLV) * 2, scan.JOINED),
    "webm": (segments, lambda make: make(*WEBM), ""),
    "webm-joined": (segments, lambda make: make(*WEBM) * 2, scan.JOINED),
    "fragments": (fragmented, lambda make: make(*FRAGMENTED), ""),
    "fragments-cut": (fragmented, lambda make: make(*FRAGMENTED)[:-5000], ""),
    "fragments-gap": (fragmented, lambda make: without(make(*FRAGMENTED), 40_000, 41_000), "bytes are missing"),
}


def without(data: bytes, begin: int, end: int) -> bytes:
    return data[:begin] + data[end:]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("packets", [30, 211])
def test_a_scan_that_goes_on_at_any_place_finds_the_same(case: str, packets: int, make: Callable[..., bytes]) -> None:
    new, made, fault = CASES[case]
    data, piece = made(make), 188 * packets
    whole = new(data)
    found, fed = verdict(whole, data, 0, piece)
    assert fault in (found or "")
    assert bool(found) is bool(fault)
    expected = length(whole)
    begun = new(data)
    for at in range(0, fed - piece if found else fed, piece):
        begun.look(data[at : at + piece])
        end = min(at + piece, len(data))
        saved = scan.save(begun, end)
        assert saved is not None
        resumed = new(data)
        begin = scan.resume(resumed, saved)
        assert end - 20_000 < begin <= end  # within the largest picture
        assert verdict(resumed, data, begin, piece)[0] == found
        if not found:
            assert length(resumed) == expected


def test_a_checkpoint_of_other_code_is_not_used(make: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(*TS)
    begun = ts(data)
    begun.look(data)
    saved = scan.save(begun, len(data)) or ""
    for text in (None, "", "(", "1", "('a', 'b', 1)", "None", saved[:-3], saved.replace("Recording", "Tags")):
        new = ts(data)
        assert scan.resume(new, text) == 0
        assert verdict(new, make(*TS), 0, 188 * 50) == (None, len(data))
    assert scan.resume(ts(data), saved) == len(data)
    monkeypatch.setattr(scan, "_code", lambda: "other")
    assert scan.resume(ts(data), saved) == 0


@pytest.mark.parametrize(
    "text", ["", "5", "(", "(1, 2)", "\0", "-" * 100_000 + "1", "+".join("1" * 100_000), "[" * 50_000]
)
def test_anything_else_than_a_checkpoint_is_not_used(text: str) -> None:
    assert scan.resume(flv.Tags(1000), text) == 0


def test_a_checkpoint_is_bounded() -> None:
    recording = transport.Recording(188, b"")
    for stream in range(8192):
        recording._clock._latest[stream] = (1 << 33) - stream
    assert scan.save(recording, 188) is None


def test_another_change_of_the_package_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.py").write_text("a = 1")
    monkeypatch.setattr(scan, "__file__", str(tmp_path / "scan.py"))
    first = scan._code.__wrapped__()
    (tmp_path / "one.py").write_text("a = 2")
    assert scan._code.__wrapped__() != first
