"""Runs commands on the developer's machine, also when this process runs in a container.

``parity`` runs in a virtual environment on that machine. Where the machine has Docker but no Python 3.11, it runs
inside the harness image, which has no ``docker`` command. There each command is sent to ``scripts/stack``, the bash
script that started the container. The script runs the command and answers with the exit code and, if asked, the output.
Tried and rejected: a docker command in the image (Debian's has no Compose, and others need a registry), and a second
implementation of each verb in bash (the two became different).

A message to the script consists of a kind, the number of words, and the words, each followed by a NUL byte. ``say``
prints a text and has no answer. ``run`` is answered by ``CODE``. ``output`` is answered by one line,
``CODE OUTPUT ERRORS``, with the two texts in base64.
"""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

PIPED = "PARITY_HANDS"


@dataclass(frozen=True)
class Output:
    """The output and exit code of a command. Code 127: there is no such command."""

    code: int
    text: str
    errors: str


class Hands(Protocol):
    """Runs commands. ``env`` is added to the command's environment."""

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> int:
        """Run with the output on the terminal. Returns the exit code; 127 if there is no such command."""

    def output(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float | None = None) -> Output:
        """Run and return the output. The exit code is 124 after ``timeout_s`` seconds."""


class LocalHands:
    """Runs commands as child processes."""

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> int:
        sys.stdout.flush()
        try:
            return subprocess.run(argv, env={**os.environ, **env}, stdin=subprocess.DEVNULL, check=False).returncode
        except FileNotFoundError:
            return 127

    def output(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float | None = None) -> Output:
        try:
            done = subprocess.run(
                argv,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError:
            return Output(127, "", f"there is no {argv[0]} command")
        except subprocess.TimeoutExpired:
            return Output(124, "", f"`{' '.join(argv)}` did not answer within {timeout_s:.0f} s")
        return Output(done.returncode, done.stdout, done.stderr)


class PipedHands:
    """Sends commands to ``scripts/stack``, which runs them."""

    def __init__(self, to_script: BinaryIO, from_script: BinaryIO) -> None:
        self._to, self._from = to_script, from_script

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> int:
        return int(self._ask("run", _with_env(argv, env)))

    def output(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float | None = None) -> Output:
        limited = ["timeout", f"{timeout_s:g}", *_with_env(argv, env)] if timeout_s else _with_env(argv, env)
        # An empty text is an empty field, so the line is split at single spaces.
        code, text, errors = self._ask("output", limited).split(" ")
        return Output(int(code), _decoded(text), _decoded(errors))

    def say(self, text: str) -> None:
        self._send("say", [text])

    def _ask(self, kind: str, words: Sequence[str]) -> str:
        self._send(kind, words)
        line = self._from.readline()
        if not line.endswith(b"\n"):
            raise EOFError("scripts/stack has ended")
        return line[:-1].decode()

    def _send(self, kind: str, words: Sequence[str]) -> None:
        fields = [kind, str(len(words)), *words]
        self._to.write(b"".join(field.encode("utf-8", "replace").replace(b"\0", b"") + b"\0" for field in fields))
        self._to.flush()


class SaidText(io.RawIOBase):
    """A standard output whose text the script prints, because the real one carries the messages to the script."""

    def __init__(self, hands: PipedHands) -> None:
        self._hands = hands

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # what a text wrapper passes on
        if data:
            self._hands.say(bytes(data).decode("utf-8", "replace"))
        return len(data)


def _with_env(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in env.items()), *argv] if env else list(argv)


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "replace")


_hands: Hands | None = None


def hands() -> Hands:
    """How this process runs commands. With ``PARITY_HANDS=pipe`` it sends them to ``scripts/stack``."""
    global _hands
    if _hands is None:
        if os.environ.get(PIPED) == "pipe":
            piped = PipedHands(sys.stdout.buffer, sys.stdin.buffer)
            sys.stdout = io.TextIOWrapper(SaidText(piped), encoding="utf-8", write_through=True)
            _hands = piped
        else:
            _hands = LocalHands()
    return _hands
