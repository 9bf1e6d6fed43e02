"""The interpreter of functions that need packages which the harness does not have."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from parity.config.compose_env import HOME, NO_PACKAGES
from parity.config.errors import ConfigError
from parity.modal.worker.packages import interpreter

WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """A file that names one package, a wheel beside it."""
    wheel = tmp_path / "only_here-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("only_here.py", "ANSWER = 42\n")
        archive.writestr("only_here-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: only-here\nVersion: 1\n")
        archive.writestr("only_here-1.dist-info/WHEEL", WHEEL)
        archive.writestr("only_here-1.dist-info/RECORD", "")
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n./{wheel.name}\n")
    return file


async def test_without_requirements_functions_run_as_the_harness_does(tmp_path: Path) -> None:
    assert await interpreter(None, tmp_path) == sys.executable


async def test_what_the_file_names_and_what_the_harness_has_can_be_imported(requirements: Path, tmp_path: Path) -> None:
    python = await interpreter(requirements, tmp_path / "work")
    code = "import modal, only_here; print(only_here.ANSWER)"
    process = await asyncio.create_subprocess_exec(python, "-c", code, stdout=PIPE, stderr=PIPE, cwd="/")
    assert await process.communicate() == (b"42\n", b"")
    made = Path(python).parents[1].stat().st_mtime
    assert await interpreter(requirements, tmp_path / "work") == python
    assert Path(python).parents[1].stat().st_mtime == made


async def test_what_pip_cannot_get_is_told_with_its_own_words(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("--no-index\nno-such-package-at-all\n")
    with pytest.raises(ConfigError, match="no-such-package-at-all"):
        await interpreter(file, tmp_path / "work")
    assert not list((tmp_path / "work").glob("*/.complete"))


async def test_in_the_workers_image_the_packages_are_those_of_the_build(requirements: Path, tmp_path: Path) -> None:
    built = tmp_path / "functions"
    built.mkdir()
    made_for = built / ".requirements"
    made_for.write_text(f"{hashlib.sha256(requirements.read_bytes()).hexdigest()}  -\n")
    assert await interpreter(requirements, tmp_path / "work", built) == str(built / "bin/python")
    made_for.write_text("of another file  -\n")
    with pytest.raises(ConfigError, match=r"was built without the packages of .*requirements.txt as it is now"):
        await interpreter(requirements, tmp_path / "work", built)
    assert await interpreter(None, tmp_path / "work", built) == sys.executable


@pytest.mark.docker
@pytest.mark.timeout(600)
async def test_the_build_of_the_workers_image_installs_them(requirements: Path, tmp_path: Path) -> None:
    """Beside what the harness has, and for this content of the file; without the file the folder is empty."""
    image, listing = functions_image(requirements), ["ls", "-A", "/opt/functions"]
    code = "import modal, only_here; print(only_here.ANSWER)"
    assert docker("run", "--rm", "--network", "none", image, "/opt/functions/bin/python", "-c", code) == "42\n"
    made_for = docker("run", "--rm", "--network", "none", image, "cat", "/opt/functions/.requirements")
    assert made_for.split()[0] == hashlib.sha256(requirements.read_bytes()).hexdigest()
    assert docker("run", "--rm", functions_image(NO_PACKAGES), *listing) == ""


def functions_image(requirements: Path) -> str:
    """The id of the image that the Dockerfile's part for these packages makes, as compose.yaml builds it."""
    if shutil.which("docker") is None or subprocess.run(["docker", "version"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers")
    file = HOME / "src/parity/Dockerfile"
    folders = {
        "gpu": requirements.parent,
        "requirements": HOME / "requirements",
        "container": HOME / "src/parity/container",
    }
    contexts = [word for name, folder in folders.items() for word in ("--build-context", f"{name}={folder}")]
    names = ("PARITY_CA_FILE", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    ca = next((os.environ[name] for name in names if os.environ.get(name)), "")
    secret = ["--secret", f"id=ca,src={ca}"] if ca else []
    given = ["--build-arg", f"GPU_REQUIREMENTS={requirements.name}", "--target", "functions", "--file", str(file)]
    return docker("build", "--quiet", *given, *contexts, *secret, str(HOME)).strip()


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
