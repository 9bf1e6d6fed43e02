"""Runs ffmpeg and ffprobe with a deadline and progress reports. No process outlives its call."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import PurePath
from typing import TypeVar

from reel.errors import FfmpegFailed, FfmpegTimedOut, MissingTool

TAIL_LINES = 8
TAIL_CHARACTERS = 1500
MAX_OUTPUT_BYTES = 1024 * 1024
SHORT_MEMORY_BYTES = 400 * 1024 * 1024
# Users see ffmpeg's messages: folders of this machine and memory addresses are removed.
_FOLDERS = re.compile(r"(?:file:|(?<![\w./:]))/(?:[^\s/:'\"|]+/)+")
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
# A statically linked ffmpeg crashes when it converts the service name of an MPEG-TS file, because glibc's iconv loads
# modules of the host. With a folder that does not exist, iconv finds none and ffmpeg leaves the name as it is.
_ENVIRONMENT = {"GCONV_PATH": "/nonexistent"}

A = TypeVar("A")
B = TypeVar("B")
OnTime = Callable[[float], Awaitable[None]]


async def run_ffmpeg(command: Sequence[str], *, deadline_s: float, on_time: OnTime | None = None) -> int:
    """Run a command of `reel.ffmpeg`; returns the number of frames that it wrote. `on_time` gets the seconds of output
    written so far, about twice a second.

    Raises FfmpegFailed with the last lines of stderr, FfmpegTimedOut at the deadline, MissingTool. Cancelling the
    task kills the process.
    """
    async with _process(command) as process:
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            async with asyncio.timeout(deadline_s):
                frames, _ = await _together(_follow(process, on_time), _read_tail(process, tail))
                returncode = await process.wait()
        except TimeoutError:
            raise FfmpegTimedOut(PurePath(command[0]).name, deadline_s) from None
    if returncode != 0:
        raise FfmpegFailed(PurePath(command[0]).name, returncode, _joined(tail), frames=frames)
    return frames


async def read_output(command: Sequence[str], *, deadline_s: float) -> bytes:
    """The stdout of a short command (ffprobe, one frame), at most 1 MiB. Raises as `run_ffmpeg` does.

    On Linux its address space is limited to 400 MiB, so that a hostile file cannot exhaust the Machine's memory.
    """
    async with _process(command) as process:
        if sys.platform == "linux":
            with suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_AS, (SHORT_MEMORY_BYTES, SHORT_MEMORY_BYTES))
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            async with asyncio.timeout(deadline_s):
                output, _ = await _together(_read_bounded(process, command[0]), _read_tail(process, tail))
                returncode = await process.wait()
        except TimeoutError:
            raise FfmpegTimedOut(PurePath(command[0]).name, deadline_s) from None
    if returncode != 0:
        raise FfmpegFailed(PurePath(command[0]).name, returncode, _joined(tail))
    return output


def seconds_written(line: str) -> float | None:
    """The seconds in an `out_time_us` line of `-progress` output; None for other lines and for `N/A`."""
    key, _, value = line.strip().partition("=")
    if key != "out_time_us":
        return None
    try:
        return max(0.0, int(value) / 1_000_000)
    except ValueError:
        return None


@asynccontextmanager
async def _process(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **_ENVIRONMENT},
        )
    except FileNotFoundError:
        raise MissingTool(f"{command[0]} not found: install ffmpeg") from None
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            # Shielded: a second cancellation must not leave a zombie or a transport behind.
            await asyncio.shield(process.communicate())


async def _together(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Await both. Both pipes must be read concurrently, because a full pipe blocks the process."""
    one, two = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        return await one, await two
    finally:
        one.cancel()
        two.cancel()


async def _follow(process: asyncio.subprocess.Process, on_time: OnTime | None) -> int:
    assert process.stdout is not None
    frames = 0
    async for raw in process.stdout:
        line = raw.decode("ascii", "replace")
        key, _, value = line.strip().partition("=")
        frames = int(value) if key == "frame" and value.isdigit() else frames
        seconds = seconds_written(line)
        if seconds is not None and on_time is not None:
            await on_time(seconds)
    return frames


async def _read_tail(process: asyncio.subprocess.Process, tail: deque[str]) -> None:
    assert process.stderr is not None
    # In blocks, because a line may be longer than the buffer of `readline`.
    rest = ""
    while block := await process.stderr.read(4096):
        *lines, rest = (rest + block.decode("utf-8", "replace").replace("\r", "\n")).split("\n")
        rest = rest[-TAIL_CHARACTERS:]
        tail.extend(line for line in lines if line.strip())
    if rest.strip():
        tail.append(rest)


async def _read_bounded(process: asyncio.subprocess.Process, program: str) -> bytes:
    assert process.stdout is not None
    output = bytearray()
    while block := await process.stdout.read(65536):
        output += block
        if len(output) > MAX_OUTPUT_BYTES:
            process.kill()
            raise FfmpegFailed(PurePath(program).name, -9, f"the output exceeds {MAX_OUTPUT_BYTES} bytes")
    return bytes(output)


def _joined(tail: Iterable[str]) -> str:
    return " | ".join(presentable(line) for line in tail)[-TAIL_CHARACTERS:]


def presentable(line: str) -> str:
    """A line of ffmpeg's output for users: without folders and memory addresses."""
    return _ADDRESS.sub("", _FOLDERS.sub("", line)).strip()
