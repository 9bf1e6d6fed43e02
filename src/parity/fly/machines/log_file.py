"""The output of each Machine in one file, over all its starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# Of a long log, only so many bytes at its end are read.
READ_LIMIT = 1024 * 1024


class LogFile:
    """``machine-ID.log`` in a folder."""

    def __init__(self, folder: Path, machine_id: str) -> None:
        self.path = folder / f"machine-{machine_id}.log"

    @contextmanager
    def appending(self) -> Iterator[BinaryIO]:
        with self.path.open("ab") as file:
            yield file

    def tail(self, lines: int) -> list[str]:
        """The last lines, without their ends; none when nothing was printed."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - READ_LIMIT))
            text = file.read().decode("utf-8", "replace")
        return text.splitlines()[-lines:] if lines else []
