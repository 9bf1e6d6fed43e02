"""Makes video files for uploads with ffmpeg, and reads the properties of the app's output with ffprobe."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from parity.checks.stack import StackError
from parity.config.settings import HarnessSettings
from parity.stack import errors as stack_errors
from parity.stack.media_tools import packaged_folder, search_path


class NotMedia(AssertionError):
    """ffprobe cannot read the app's output as a video."""


@dataclass(frozen=True)
class Probe:
    """A media file: duration in seconds, codecs (audio empty where there is none), frame size in pixels."""

    duration_s: float
    video: str
    audio: str
    width: int
    height: int
    size_bytes: int


def tools_path(settings: HarnessSettings) -> str | None:
    """A ``PATH`` on which ffmpeg and ffprobe are found; None where they are not installed."""
    try:
        return search_path(os.environ, settings.state_dir / "bin", packaged_folder())
    except stack_errors.StackError:
        return None


@dataclass(frozen=True)
class Media:
    """Makes and reads files. ``path`` is a ``PATH`` with ffmpeg and ffprobe; ``folder`` caches the files."""

    path: str
    folder: Path

    async def video(self, seconds: int = 8, size: str = "640x360") -> bytes:
        """A test picture with a tone (H.264 and AAC in MP4). A random ``free`` box makes each file unique."""
        return (await self.file(seconds, size)).read_bytes() + b"\0\0\0\x18free" + secrets.token_bytes(16)

    async def file(self, seconds: int, size: str = "1280x720") -> Path:
        """The same video without the ``free`` box, cached by length and size."""
        target = self.folder / f"testsrc2-{seconds}s-{size}.mp4"
        if target.exists():
            return target
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{secrets.token_hex(4)}.mp4")
        await self.run(
            "ffmpeg", "-v", "error", "-y",
            "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30:duration={seconds}",
            "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}",
            "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30",
            "-c:a", "aac", "-movflags", "+faststart", "-shortest", str(partial),
        )  # fmt: skip
        partial.rename(target)
        return target

    async def probe(self, path: Path) -> Probe:
        """The properties of a video file, by ffprobe. Raises ``NotMedia`` for a file that is not a video."""
        try:
            text = await self.run("ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path))
        except StackError as error:
            raise NotMedia(f"the app's output is not a video: {error}") from None
        return read_probe(text, path.stat().st_size)

    async def run(self, *argv: str) -> str:
        """The output of a program. Raises ``StackError`` when it fails."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={**os.environ, "PATH": self.path},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise StackError(f"{argv[0]} ended with {process.returncode}: {err.decode(errors='replace')[-500:]}")
        return out.decode()


def read_probe(text: str, size_bytes: int) -> Probe:
    """ffprobe's JSON as a ``Probe``. Raises ``NotMedia`` when there is no video stream."""
    data = json.loads(text)
    streams = {stream["codec_type"]: stream for stream in reversed(data.get("streams", []))}
    if "video" not in streams:
        raise NotMedia("the app's output has no video stream")
    video = streams["video"]
    return Probe(
        duration_s=float(data["format"]["duration"]),
        video=video["codec_name"],
        audio=streams.get("audio", {}).get("codec_name", ""),
        width=int(video["width"]),
        height=int(video["height"]),
        size_bytes=size_bytes,
    )
