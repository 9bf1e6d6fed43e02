"""Runs the commands of a promotion. Each is printed, and its output is shown or returned.

flyctl gets a temporary configuration folder, because it writes secrets into its logs.
"""

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
    """A command ended with an exit code other than 0."""

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
        """Run a command and print its output as it arrives. Raises ``CommandFailed`` with that output."""
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
        """Start a child in its own process group. The group is ended when the block ends, also by an exception."""
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
    """Send SIGTERM to the child and its descendants, and SIGKILL if it does not end within ``END_WAIT_S``."""
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
    """Raises ``ConfigError`` for the first command that is not on PATH."""
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
    """Yield an environment whose ``FLY_CONFIG_DIR`` is a temporary folder, removed afterwards.

    The folder is needed because flyctl writes secrets in plain text into its ``logs/``. It lies in ``state``; if a
    promotion is killed, the next one removes it. The login is ``FLY_API_TOKEN`` if that is set, else a copy of the
    developer's ``config.yml``.
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
