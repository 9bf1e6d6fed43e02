"""Runs commands for a promotion: prints each, shows or keeps its output, and gives flyctl a folder of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parity.config.errors import ConfigError
from parity.promote.commands import Argv

Say = Callable[[str], None]
# How long a child may take to end after SIGTERM, in seconds.
END_WAIT_S = 10.0


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
        with self._child(argv, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            for raw in process.stdout:
                line = raw.decode(errors="replace")
                kept.append(line)
                self.say(f"  {line.rstrip()}")
            process.wait()
        if process.returncode:
            raise CommandFailed(argv, process.returncode, "".join(kept))

    def capture(self, argv: Argv) -> bytes:
        """Run and return what it wrote to stdout. Raises ``CommandFailed`` with what it wrote to stderr."""
        self.say(f"$ {shlex.join(argv)}")
        with self._child(argv, stderr=subprocess.PIPE) as process:
            output, errors = process.communicate()
        if process.returncode:
            raise CommandFailed(argv, process.returncode, errors.decode(errors="replace"))
        return output

    @contextmanager
    def _child(self, argv: Argv, *, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
        """A child in a process group of its own, which ends with the block whatever ends that."""
        process = subprocess.Popen(
            argv, env=dict(self.environ), stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                _end_group(process)
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM for the child and what it started, SIGKILL when that does not help."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(END_WAIT_S)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            pass
        process.wait()
        return


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
def private_fly_environment(environ: Mapping[str, str], state: Path) -> Iterator[dict[str, str]]:
    """An environment whose ``FLY_CONFIG_DIR`` is new, private and removed afterwards.

    It lies in ``state``, so that one which a kill left behind is removed by the next promotion.

    flyctl writes secrets in plain text into ``logs/`` there. The login goes along: ``FLY_API_TOKEN`` if set, else the
    person's ``config.yml``.
    """
    home = Path(environ.get("FLY_CONFIG_DIR") or Path(environ.get("HOME", "~")).expanduser() / ".fly")
    state.mkdir(parents=True, exist_ok=True)
    for left in state.glob("flyctl-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="flyctl-", dir=state))
    try:
        if not environ.get("FLY_API_TOKEN") and (home / "config.yml").is_file():
            shutil.copy(home / "config.yml", folder / "config.yml")
            (folder / "config.yml").chmod(0o600)
        yield {**environ, "FLY_CONFIG_DIR": str(folder), "FLY_NO_UPDATE_CHECK": "1", "FLY_SEND_METRICS": "0"}
    finally:
        shutil.rmtree(folder)
