"""Helpers for `devcontainer_loop.py`: expectations, commands, terminals and edits of source files."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Timeout of every wait, in seconds. It is long, because no time makes the test fail and the machine may be busy.
PATIENCE_S = 90.0
failed: list[str] = []


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@asynccontextmanager
async def expect(sentence: str) -> AsyncIterator[None]:
    """Print whether the block ends without an error. A failed expectation does not stop the run."""
    try:
        yield
    except Exception:  # noqa: BLE001 - any error is a failed expectation
        failed.append(sentence)
        say(f"  FAILED: {sentence}\n{traceback.format_exc()}")
    else:
        say(f"  passed: {sentence}")


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> None:
    """Poll until ``condition`` is true. Raises ``AssertionError`` with ``what`` after ``PATIENCE_S``."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():  # noqa: ASYNC110 - it polls another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"did not happen within {PATIENCE_S:g} s: {what}") from None


async def run(*command: str, code: int | None = 0) -> str:
    """The output of a command. ``code`` is the expected exit code; None expects any code but 0."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == code or (code is None and process.returncode), (
        f"{command} ended with {process.returncode}:\n{said}"
    )
    return said


def save(path: Path, text: str) -> None:
    """Replace the file atomically, as editors do."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


@contextmanager
def edited(path: Path, text: str) -> Iterator[None]:
    """Give ``path`` another text for the duration of the block."""
    before = path.read_text()
    save(path, text)
    try:
        yield
    finally:
        save(path, before)


class Terminal:
    """A command in a terminal of its own; ``said`` is its output so far."""

    def __init__(self, command: str, folder: Path) -> None:
        self._file = folder / f"{secrets.token_hex(4)}.terminal"
        self._process = subprocess.Popen(  # `script` provides the terminal
            ["script", "--quiet", "--flush", "--return", "--command", command, str(self._file)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def said(self) -> str:
        return self._file.read_text(errors="replace") if self._file.exists() else ""

    async def says(self, pattern: str, after: int = 0) -> None:
        async def found() -> bool:
            return re.search(pattern, self.said[after:]) is not None

        try:
            await until(found, f"{pattern!r} in the terminal")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said[after:][-3000:]}") from None

    async def interrupt(self) -> None:
        """Send Ctrl-C and wait until the command ends."""
        assert self._process.stdin
        self._process.stdin.write(b"\x03")
        self._process.stdin.flush()
        await asyncio.to_thread(self._process.wait, PATIENCE_S)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()
        self._process.terminate()
        self._process.wait()
        self._file.unlink(missing_ok=True)
