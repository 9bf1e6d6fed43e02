"""The Fly image holds the product and what it runs on, and nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import botocore
import certifi
import pytest
from tests.image.conftest import REVISION, Inside

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]  # the first build compiles ffmpeg

BASE = "python:3.11-slim-bookworm"


def test_only_the_application_lies_in_app(files: dict[str, int]) -> None:
    assert {Path(path).parts[2] for path in files if path.startswith("/app/")} == {"app", "reel"}


def test_no_test_no_harness_and_no_build_tool_is_in_it(files: dict[str, int]) -> None:
    unwanted = re.compile(
        r"/(tests?|parity|\.git|moto|pytest|playwright|hypothesis)/|/(gcc|nasm|fly.*\.toml|Dockerfile)$"
    )
    system = re.compile(r"^/(usr/lib/python3|usr/share|usr/local/lib/python3|var/lib/dpkg)")
    assert [path for path in files if unwanted.search(path) and not system.search(path)] == []


def test_no_file_that_holds_secrets_is_in_it(files: dict[str, int]) -> None:
    named = re.compile(
        r"(^|/)(\.env[^/]*|[^/]*\.key|id_[a-z0-9]+|\.modal\.toml|credentials|secrets?(\.(env|json|toml|ya?ml|txt))?)$"
    )
    assert [
        path for path in files if named.search(path) and not path.startswith(("/usr/lib/python3", "/usr/local/lib"))
    ] == []


def test_the_build_s_ca_is_in_no_layer(image: str, build_ca: Path | None) -> None:
    if build_ca is None:
        pytest.skip("this machine gives builds no CA")
    body = re.compile(r"-----BEGIN CERTIFICATE-----\s+(.+?)-----END", re.DOTALL)
    # What the base and two packages bring are public roots; what else the build was given is this network's own.
    search = "grep -rlI 'BEGIN CERTIFICATE' /etc /usr | xargs cat"
    argv = ["docker", "run", "--rm", "--network", "none", BASE, "sh", "-c", search]
    known = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    known += Path(certifi.where()).read_text() + (Path(botocore.__file__).parent / "cacert.pem").read_text()
    # A line of the signature: those before it may stand in another certificate of the same issuer.
    added = {found.split()[-2] for found in set(body.findall(build_ca.read_text())) - set(body.findall(known))}
    if not added:
        pytest.skip("the CA that builds are given is one of the public roots")
    saved = subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout
    assert [line for line in added if line.encode() in saved] == []


def test_it_runs_as_a_user_who_owns_the_cache_and_not_the_code(metadata: dict[str, Any], inside: Inside) -> None:
    assert metadata["Config"]["User"] == "10001:10001"
    inside("sh", "-c", "touch /user_data/a /tmp/a && ! touch /app/a 2>/dev/null && ! touch /opt/venv/a 2>/dev/null")


def test_it_starts_as_the_specification_says(metadata: dict[str, Any]) -> None:
    config = metadata["Config"]
    # The options that follow are held equal to those of parity.toml elsewhere.
    assert config["Cmd"][:6] == ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8080"]
    assert config.get("Entrypoint") is None
    assert config["WorkingDir"] == "/app"
    assert (metadata["Os"], metadata["Architecture"]) == ("linux", "amd64")


def test_it_says_which_commit_it_is(metadata: dict[str, Any]) -> None:
    config = metadata["Config"]
    assert config["Labels"]["org.opencontainers.image.revision"] == REVISION
    assert f"GIT_COMMIT={REVISION}" in config["Env"]


def test_it_adds_at_most_170_mb_to_its_base(metadata: dict[str, Any], base_size: int) -> None:
    assert metadata["Size"] - base_size <= 170_000_000


@pytest.fixture
def base_size() -> int:
    argv = ["docker", "image", "inspect", "--format", "{{.Size}}", BASE]
    return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def test_everything_it_imports_has_bytecode(inside: Inside) -> None:
    script = """
import pathlib, sys
import app.main, uvicorn.protocols.http.httptools_impl, uvicorn.protocols.websockets.websockets_impl
import apsw, asyncio, boto3, concurrent.futures, email.mime.text, http.client, modal, sqlite3, ssl, PIL.Image
keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
boto3.client("s3", region_name="auto", endpoint_url="https://r2.example", **keys)
for module in list(sys.modules.values()):
    spec = getattr(module, "__spec__", None)
    if spec and spec.origin and spec.origin.endswith(".py") and not pathlib.Path(spec.cached).exists():
        print(spec.name)
"""
    assert inside("python", "-", script=script) == ""
