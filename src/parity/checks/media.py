"""Video files as a person would upload them, and what ffprobe says of those that come back."""

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
    """What came back is no video that ffprobe can read."""


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
    """A ``PATH`` with ffmpeg and ffprobe; None where there are none."""
    try:
        return search_path(os.environ, settings.state_dir / "bin", packaged_folder())
    except stack_errors.StackError:
        return None


@dataclass(frozen=True)
class Media:
    """Makes and reads files; ``path`` is where the programs are found, ``folder`` where files are kept."""

    path: str
    folder: Path

    async def video(self, seconds: int = 8, size: str = "640x360") -> bytes:
        """A test picture with a tone, H.264 and AAC in MP4, that is like no other file (a ``free`` box at its end)."""
        return (await self.file(seconds, size)).read_bytes() + b"\0\0\0\x18free" + secrets.token_bytes(16)

    async def file(self, seconds: int, size: str = "1280x720") -> Path:
        """The same without the box; made once for each length and size."""
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
        """What ffprobe says. Raises ``NotMedia`` for a file that is not a video."""
        try:
            text = await self.run("ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path))
        except StackError as error:
            raise NotMedia(f"what came back is no video: {error}") from None
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
        raise NotMedia("what came back has no video stream")
    video = streams["video"]
    return Probe(
        duration_s=float(data["format"]["duration"]),
        video=video["codec_name"],
        audio=streams.get("audio", {}).get("codec_name", ""),
        width=int(video["width"]),
        height=int(video["height"]),
        size_bytes=size_bytes,
    )
