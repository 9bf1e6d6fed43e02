"""Reels and clips from real video: what comes out is probed, and its pixels looked at."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reel.errors import FfmpegTimedOut, NotAVideo, TruncatedVideo, UnusableVideo
from reel.payloads import ExtractClip, ReelClip, RenderOptions, RenderReel
from reel.probe import probe
from reel.render import extract_clip, render_reel
from reel.tools import Tools

OUT = "staging/exports/e.mp4"


class Folder:
    """A MediaStore of local files."""

    def __init__(self, files: dict[str, Path], out: Path) -> None:
        self.files = files
        self.out = out

    async def download(self, key: str, path: Path) -> None:
        shutil.copy(self.files[key], path)

    async def upload(self, path: Path, key: str, content_type: str) -> None:
        assert (key, content_type) == (OUT, "video/mp4")
        shutil.copy(path, self.out)


def pixel(tools: Tools, path: Path, at_s: float, x: int, y: int) -> tuple[int, int, int]:
    """Red, green and blue of one pixel of the frame at a time."""
    raw = subprocess.run(
        [
            *(tools.ffmpeg, "-v", "error", "-ss", str(at_s), "-i", str(path), "-frames:v", "1"),
            *("-vf", f"crop=2:2:{x}:{y},format=rgb24", "-f", "rawvideo", "-"),
        ],
        check=True,
        capture_output=True,
    ).stdout
    return raw[0], raw[1], raw[2]


def frame_times(tools: Tools, path: Path) -> list[float]:
    """When each frame of the picture is shown, in seconds."""
    listed = subprocess.run(
        [
            *(tools.ffprobe, "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time"),
            *("-of", "csv=p=0", str(path)),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [float(line.rstrip(",")) for line in listed.split()]


def two_sizes(tools: Tools, folder: Path) -> Path:
    """A stream that is red and small for two seconds, then blue and large."""
    parts = b""
    for begins_s, size, colour in ((10, "320x180", "red"), (12, "640x360", "blue")):
        path = folder / f"{colour}.ts"
        source = ["-f", "lavfi", "-i", f"color=c={colour}:size={size}:rate=25:duration=2"]
        encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1"]
        clock = ["-output_ts_offset", str(begins_s), "-muxdelay", "0"]
        subprocess.run([tools.ffmpeg, "-v", "error", *source, *encode, *clock, str(path)], check=True)
        parts += path.read_bytes()
    whole = folder / "whole.ts"
    whole.write_bytes(parts)
    return whole


def processes_naming(path: Path) -> list[str]:
    """Ids of processes with this path in their command line."""
    return subprocess.run(["pgrep", "-f", str(path)], capture_output=True, text=True).stdout.split()


def reel(files: dict[str, Path], spans: list[tuple[str, float, float]], **options: str) -> RenderReel:
    clips = tuple(ReelClip(f"c{number}", key, start, end) for number, (key, start, end) in enumerate(spans))
    return RenderReel("e", OUT, clips, RenderOptions(quality="draft", **options))  # type: ignore[arg-type]


def is_colour(found: tuple[int, int, int], wanted: tuple[int, int, int]) -> bool:
    return all(abs(one - other) < 40 for one, other in zip(found, wanted, strict=True))


async def test_clips_of_other_sizes_rates_and_without_sound_join_in_order(
    make_video: Callable[..., Path], tools: Tools, tmp_path: Path
) -> None:
    files = {
        "a/red": make_video("color=c=red", 2),
        "a/green": make_video("color=c=lime", 2, size="200x300", rate=25, audio=False),
        "a/blue": make_video("color=c=blue", 2, size="640x360", rate=50, suffix=".mkv"),
    }
    store = Folder(files, tmp_path / "out.mp4")
    seen: list[float] = []

    async def report(progress: float, phase: str) -> None:
        seen.append(progress)

    spans = [("a/blue", 0.5, 1.5), ("a/red", 0, 0.8), ("a/green", 0.2, 1.4), ("a/blue", 0, 0.5)]
    result = await render_reel(reel(files, spans), store, tmp_path, tools=tools, deadline_s=600, report=report)

    media = await probe(store.out, tools=tools)
    assert (media.video.codec, media.video.width, media.video.height) == ("h264", 854, 480)
    assert media.audio is not None
    assert media.audio.codec == "aac"
    assert media.duration_s == pytest.approx(3.5, abs=0.1)
    assert result.size_bytes == store.out.stat().st_size
    assert seen == sorted(seen)
    assert not (tmp_path / "source").exists()
    for at, colour in [(0.5, (0, 0, 255)), (1.4, (255, 0, 0)), (2.4, (0, 255, 0)), (3.3, (0, 0, 255))]:
        assert is_colour(pixel(tools, store.out, at, 426, 240), colour), at


async def test_the_joined_frames_are_evenly_spaced(
    make_video: Callable[..., Path], tools: Tools, tmp_path: Path
) -> None:
    files = {"a/x": make_video(seconds=2)}
    store = Folder(files, tmp_path / "out.mp4")
    await render_reel(reel(files, [("a/x", 0.3, 1), ("a/x", 0, 1)]), store, tmp_path, tools=tools, deadline_s=600)
    times = frame_times(tools, store.out)
    assert len(times) == 51
    assert times == pytest.approx([number / 30 for number in range(51)], abs=0.002)


async def test_the_overlay_is_over_every_clip_and_within_the_frame(
    make_video: Callable[..., Path], tools: Tools, tmp_path: Path
) -> None:
    files = {"a/red": make_video("color=c=red", 2), "a/mute": make_video("color=c=red", 2, audio=False)}
    store = Folder(files, tmp_path / "out.mp4")
    job = reel(files, [("a/red", 0, 1), ("a/mute", 0, 1)], overlay_text="'; [x] Final: 100% \\ Wembley " * 5)
    await render_reel(job, store, tmp_path, tools=tools, deadline_s=600)
    for at in (0.5, 1.5):
        assert pixel(tools, store.out, at, 60, 440)[0] < 150, "the box darkens the red"
        assert is_colour(pixel(tools, store.out, at, 426, 100), (255, 0, 0))


async def test_a_fade_darkens_the_joint_and_keeps_the_length(
    make_video: Callable[..., Path], tools: Tools, tmp_path: Path
) -> None:
    files = {"a/red": make_video("color=c=red", 2)}
    store = Folder(files, tmp_path / "out.mp4")
    job = reel(files, [("a/red", 0, 1), ("a/red", 0, 1)], transition="fade")
    result = await render_reel(job, store, tmp_path, tools=tools, deadline_s=600)
    assert result.duration_s == pytest.approx(2, abs=0.1)
    assert pixel(tools, store.out, 0.97, 426, 240)[0] < 100
    assert is_colour(pixel(tools, store.out, 0.5, 426, 240), (255, 0, 0))


async def test_an_extracted_clip_has_the_shape_of_its_source_and_the_length_asked_for(
    make_video: Callable[..., Path], tools: Tools, tmp_path: Path
) -> None:
    files = {"a/x": make_video(seconds=3, size="1280x720", rate=50)}
    store = Folder(files, tmp_path / "out.mp4")
    result = await extract_clip(ExtractClip("a/x", OUT, 0.7, 2.2), store, tmp_path, tools=tools, deadline_s=600)
    assert (result.width, result.height, result.video_codec, result.audio_codec) == (1280, 720, "h264", "aac")
    assert result.duration_s == pytest.approx(1.5, abs=0.06)


async def test_a_span_beyond_the_source_is_refused_and_nothing_is_stored(
    make_video: Callable[..., Path], tools: Tools, tmp_path: Path
) -> None:
    files = {"a/x": make_video(seconds=2)}
    store = Folder(files, tmp_path / "out.mp4")
    with pytest.raises(UnusableVideo, match="beyond the end"):
        await render_reel(reel(files, [("a/x", 1, 19)]), store, tmp_path, tools=tools, deadline_s=600)
    assert not store.out.exists()


async def test_a_stream_that_changes_its_size_goes_on_within_a_clip(tools: Tools, tmp_path: Path) -> None:
    store = Folder({"a/x": two_sizes(tools, tmp_path)}, tmp_path / "out.mp4")
    await extract_clip(ExtractClip("a/x", OUT, 1.0, 3.0), store, tmp_path, tools=tools, deadline_s=600)
    assert len(frame_times(tools, store.out)) == 50
    assert is_colour(pixel(tools, store.out, 0.5, 100, 90), (255, 0, 0))
    assert is_colour(pixel(tools, store.out, 1.5, 100, 90), (0, 0, 255))


async def test_a_deadline_ends_ffmpeg(make_video: Callable[..., Path], tools: Tools, tmp_path: Path) -> None:
    files = {"a/x": make_video(seconds=3, size="1280x720", rate=50)}
    store = Folder(files, tmp_path / "out.mp4")
    with pytest.raises(FfmpegTimedOut, match="killed"):
        await extract_clip(ExtractClip("a/x", OUT, 0, 3), store, tmp_path, tools=tools, deadline_s=0.02)
    assert not store.out.exists()


async def test_cancelling_kills_ffmpeg(make_video: Callable[..., Path], tools: Tools, tmp_path: Path) -> None:
    files = {"a/x": make_video(seconds=3, size="1280x720", rate=50)}
    began = asyncio.Event()

    async def report(progress: float, phase: str) -> None:
        if phase == "encode":
            began.set()

    work = asyncio.create_task(
        extract_clip(
            ExtractClip("a/x", OUT, 0, 3),
            Folder(files, tmp_path / "o"),
            tmp_path,
            tools=tools,
            deadline_s=600,
            report=report,
        )
    )
    await began.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert processes_naming(tmp_path) == []


async def test_text_is_no_video(tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello " * 1000)
    with pytest.raises(NotAVideo, match="not a video"):
        await probe(path, tools=tools)


async def test_a_playlist_that_names_local_files_is_no_video(tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnusableVideo):
        await probe(path, tools=tools)


async def test_a_video_without_its_index_is_truncated(
    make_video: Callable[..., Path], tools: Tools, tmp_path: Path
) -> None:
    whole = make_video(seconds=2).read_bytes()
    path = tmp_path / "half.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TruncatedVideo, match="cut off"):
        await probe(path, tools=tools)


def test_a_clip_of_a_damaged_stretch_holds_the_last_picture(tools: Tools, tmp_path: Path) -> None:
    source, result = tmp_path / "damaged.mp4", tmp_path / "result.mp4"
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", "-threads", "1"]
    picture = ["-f", "lavfi", "-i", "color=c=red:size=320x180:rate=25:duration=6,noise=c0s=20:c0f=t"]
    sound = ["-f", "lavfi", "-i", "sine=duration=6", "-c:a", "aac"]
    subprocess.run([tools.ffmpeg, "-v", "error", *picture, *sound, *encode, str(source)], check=True)
    data = source.read_bytes()
    third = len(data) // 3
    source.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    clip = ExtractClip("a/games/g/source", OUT, 2.6, 3.4)
    store = Folder({clip.source_key: source}, result)
    asyncio.run(extract_clip(clip, store, tmp_path, tools=tools, deadline_s=600))
    assert len(frame_times(tools, result)) == 20
    assert is_colour(pixel(tools, result, 0.4, 160, 90), (254, 0, 0))
