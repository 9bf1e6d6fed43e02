"""Runs commands for a promotion: prints each, shows or keeps its output, and gives flyctl a folder of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parity.config.errors import ConfigError
from parity.promote.commands import Argv

Say = Callable[[str], None]


class CommandFailed(Exception):
    """A command ended with another code than 0."""

    def __init__(self, argv: Argv, code: int, output: str) -> None:
        self.argv, self.code, self.output = argv, code, output
        tail = "\n".join(output.strip().splitlines()[-5:])
        super().__init__(f"{shlex.join(argv)} ended with code {code}" + (f":\n{tail}" if tail else ""))


@dataclass(frozen=True)
class Shell:
    """``environ`` is the whole environment of the commands; ``say`` prints a line for the person."""

    environ: Mapping[str, str]
    say: Say

    def show(self, argv: Argv) -> None:
        """Run with its output passed on as it comes. Raises ``CommandFailed`` with that output."""
        self.say(f"$ {shlex.join(argv)}")
        kept = []
        with subprocess.Popen(
            argv, env=dict(self.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                kept.append(line)
                self.say(f"  {line.rstrip()}")
        if process.returncode:
            raise CommandFailed(argv, process.returncode, "".join(kept))

    def capture(self, argv: Argv) -> bytes:
        """Run and return what it wrote to stdout. Raises ``CommandFailed`` with what it wrote to stderr."""
        self.say(f"$ {shlex.join(argv)}")
        done = subprocess.run(argv, env=dict(self.environ), capture_output=True, check=False)
        if done.returncode:
            raise CommandFailed(argv, done.returncode, done.stderr.decode(errors="replace"))
        return done.stdout


def require_tools(names: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """Raises ``ConfigError`` for the first command that PATH does not have."""
    hints = {
        "fly": "install flyctl (https://fly.io/docs/flyctl/install/), then: fly auth login",
        "docker": "start where the image was built: a Docker engine with buildx",
        "aws": "install the aws CLI, or leave out --bucket-cors",
    }
    for name in names:
        if shutil.which(name, path=environ.get("PATH", os.defpath)) is None:
            raise ConfigError(name, "this command is not on PATH", fix=hints[name])


@contextmanager
def private_fly_environment(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """An environment whose ``FLY_CONFIG_DIR`` is new, private and removed afterwards.

    flyctl writes secrets in plain text into ``logs/`` there. The login goes along: ``FLY_API_TOKEN`` if set, else the
    person's ``config.yml``.
    """
    home = Path(environ.get("FLY_CONFIG_DIR") or Path(environ.get("HOME", "~")).expanduser() / ".fly")
    folder = Path(tempfile.mkdtemp(prefix="parity-fly-"))
    try:
        if not environ.get("FLY_API_TOKEN") and (home / "config.yml").is_file():
            shutil.copy(home / "config.yml", folder / "config.yml")
            (folder / "config.yml").chmod(0o600)
        yield {**environ, "FLY_CONFIG_DIR": str(folder), "FLY_NO_UPDATE_CHECK": "1", "FLY_SEND_METRICS": "0"}
    finally:
        shutil.rmtree(folder)
