"""What the two build contexts let through: the files themselves, as the builder receives them."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("engine")]

# Each of these has been in somebody's image, or would give something away.
DECOYS = (
    ".env", ".git/config", ".parity/build/ca.pem", ".venv/bin/python", "README.md", "tests/test_app.py",
    "deploy/promote.sh", "src/backend/.env", "src/backend/tests/test_app.py", "src/backend/app/.env.local",
    "src/backend/app/tls.key", "src/backend/app/ca.pem", "src/backend/app/__pycache__/main.cpython-311.pyc",
    "src/backend/user_data/u/profiles/p/database.sqlite", "src/backend/app/left.sqlite-wal",
)  # fmt: skip
# Of git only what names the commit.
REVISION = (".git/HEAD", ".git/packed-refs", ".git/refs/heads/main")
PRODUCT = ("src/backend/app/main.py", "src/backend/reel/payloads.py", "src/backend/requirements.prod.txt")
HARNESS = ("parity.toml", "deploy/fly.staging.toml", "src/parity/cli/main.py", "src/gpu/app.py", "src/frontend/a.html")


def received(context: Path, dockerfile: Path) -> set[str]:
    """Every file that the builder gets of ``context`` under the ignore file that belongs to ``dockerfile``."""
    built = subprocess.run(
        ["docker", "build", "--quiet", "--file", str(dockerfile), "--output", "type=tar,dest=-", str(context)],
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(built.stdout)) as archive:
        return {member.name for member in archive if member.isfile()}


@pytest.fixture
def context(tmp_path: Path, root: Path) -> Path:
    for name in (*DECOYS, *PRODUCT, *REVISION, *HARNESS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for name in (".dockerignore", "src/parity/Dockerfile.dockerignore"):
        shutil.copy(root / name, tmp_path / name)
    for name in ("Dockerfile", "src/parity/Dockerfile"):
        (tmp_path / name).write_text("FROM scratch\nCOPY . /\n")
    return tmp_path


def test_the_fly_image_is_built_from_the_product_and_nothing_else(context: Path) -> None:
    assert received(context, context / "Dockerfile") == {*PRODUCT, *REVISION}


def test_the_harness_is_built_without_the_backend_s_application(context: Path) -> None:
    files = received(context, context / "src/parity/Dockerfile")
    assert files == {*HARNESS, *PRODUCT} - {"src/backend/app/main.py"}
