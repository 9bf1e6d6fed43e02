"""The interpreter of the functions: the harness's own, or one with the packages of ``[gpu] requirements``."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sys
from pathlib import Path

from parity.config.errors import ConfigError

_LINES = 15
# Where the worker's image has them: containers have no way out, so the build installs them (src/parity/Dockerfile).
BUILT = Path("/opt/functions")


async def interpreter(requirements: Path | None, work_dir: Path, built: Path = BUILT) -> str:
    """The Python that runs functions. With requirements a virtual environment, made once for each content of the file;
    what the harness has (the Modal SDK) is seen in it too, so that only the rest is installed.

    Raises ``ConfigError`` with pip's last lines, or where the worker's image has the packages of another content.
    """
    if requirements is None:
        return sys.executable
    if built.is_dir():
        return str(_in_image(requirements, built))
    folder = work_dir.resolve() / f"packages-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin/python"
    if (folder / ".complete").exists():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    work_dir.mkdir(parents=True, exist_ok=True)
    await _run(requirements, sys.executable, "-m", "venv", "--without-pip", str(folder))
    for site in folder.glob("lib/python*/site-packages"):
        # Not with --system-site-packages: the harness runs in a virtual environment, and would show what is below it.
        own = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        (site / "parity.pth").write_text("".join(f"{path}\n" for path in own), "utf-8")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(python))
    await _run(requirements, *pip, "install", "-r", str(requirements))
    (folder / ".complete").touch()
    return str(python)


def _in_image(requirements: Path, built: Path) -> Path:
    """The interpreter that the build made. Raises ``ConfigError`` where it was made for another content."""
    made_for, wanted = built / ".requirements", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if made_for.exists() and wanted in made_for.read_text("utf-8"):
        return built / "bin/python"
    if not requirements.read_bytes():
        return Path(sys.executable)
    raise ConfigError(
        "parity.toml: gpu.requirements",
        f"the image of the worker was built without the packages of {requirements} as it is now",
        "an image that was built from this file",
        "`parity config write`, then `parity up --driver docker`, which builds it",
    )


async def _run(requirements: Path, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=requirements.parent,  # pip takes a wheel's relative path from there
    )
    output, _ = await process.communicate()
    if process.returncode:
        lines = output.decode("utf-8", "replace").splitlines()[-_LINES:]
        raise ConfigError(
            "parity.toml: gpu.requirements",
            "\n    ".join([f"{requirements} cannot be installed:", *lines]),
            "packages that pip can get from here",
        )
