"""Looks at an uploaded video without downloading it: its boxes and index by ranged reads, then ffprobe.

The read parts are laid at their places in a sparse file as long as the object, so that ffprobe sees real offsets.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from app.storage.interface import ObjectStore
from reel import boxes
from reel.errors import TruncatedVideo
from reel.probe import MediaInfo, probe
from reel.tools import find_tools

_MIB: Final = 1024 * 1024
HEAD_BYTES: Final = 2 * _MIB
TAIL_BYTES: Final = 1 * _MIB
MAX_INDEX_BYTES: Final = 64 * _MIB
PIECE_BYTES: Final = 4 * _MIB


async def inspect(store: ObjectStore, key: str, size: int, folder: Path) -> MediaInfo:
    """What the object holds. Raises UnusableVideo when it is no whole video, StorageError when it cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="inspect-", dir=folder) as name:
        sparse = Path(name) / "source"
        await _lay_out(store, key, size, sparse)
        return await probe(sparse, tools=find_tools())


async def _lay_out(store: ObjectStore, key: str, size: int, sparse: Path) -> None:
    async def read(offset: int, length: int) -> bytes:
        return await store.get_range(key, offset, length)

    head = await read(0, min(HEAD_BYTES, size))
    spans: list[tuple[int, int]] = []
    if boxes.looks_like_boxes(head):
        for box in await boxes.walk(read, size):
            if box.kind == "moov":
                if box.size > MAX_INDEX_BYTES:
                    raise TruncatedVideo(f"The video's index has {box.size} bytes: at most {MAX_INDEX_BYTES}")
                spans.append((box.offset, box.size))
            elif box.kind == "mdat":
                spans.append((box.offset, min(box.size, TAIL_BYTES)))
    if size > len(head):
        # Indexes and last timestamps of the other containers.
        spans.append((max(len(head), size - TAIL_BYTES), min(TAIL_BYTES, size - len(head))))
    await asyncio.to_thread(_begin, sparse, size, head)
    for offset, length in spans:
        for start in range(max(offset, len(head)), offset + length, PIECE_BYTES):
            piece = await read(start, min(PIECE_BYTES, offset + length - start))
            await asyncio.to_thread(_write, sparse, start, piece)


def _begin(path: Path, size: int, head: bytes) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        file.write(head)


def _write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
