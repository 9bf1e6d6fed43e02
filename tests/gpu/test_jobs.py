"""Progress, pins and the bucket's own errors."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
from tests.parity.modal.support import CHECKOUT

from video_jobs import jobs
from video_jobs.bucket import Bucket
from video_jobs.progress import INTERVAL_S, ProgressReport


async def test_progress_is_written_at_a_change_of_phase_and_twice_a_second_at_most() -> None:
    now, written = [100.0], []

    async def put(key: str, value: dict[str, object]) -> None:
        written.append((key, value["phase"], value["progress"]))

    report = ProgressReport("e1", put, clock=lambda: now[0])
    await report(0.1, "encode")
    await report(0.2, "encode")
    now[0] += INTERVAL_S
    await report(0.3, "encode")
    await report(0.9, "join")
    assert written == [("e1", "encode", 0.1), ("e1", "encode", 0.3), ("e1", "join", 0.9)]


def test_a_secret_that_lacks_a_value_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="R2_BUCKET"):
        Bucket.from_environment({"R2_ENDPOINT": "https://r2", "R2_ACCESS_KEY_ID": "a", "R2_SECRET_ACCESS_KEY": "b"})


async def test_a_bucket_that_does_not_answer_is_a_connection_error(tmp_path: Path) -> None:
    environ = {
        "R2_ENDPOINT": "https://127.0.0.1:1",
        "R2_ACCESS_KEY_ID": "a",
        "R2_SECRET_ACCESS_KEY": "b",
        "R2_BUCKET": "c",
    }
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(ConnectionError, match="staging/x"):
        await Bucket.from_environment(environ).upload(tmp_path / "x", "staging/x", "video/mp4")


def test_the_image_pins_the_versions_of_the_backend() -> None:
    text = (CHECKOUT / "src/gpu/video_app.py").read_text()
    pins = re.findall(r'"([a-z0-9]+==[0-9.]+)"', text)
    locked = (CHECKOUT / "src/backend/requirements.prod.txt").read_text()
    assert pins
    assert all(f"\n{pin} " in locked for pin in pins)


def test_the_image_installs_each_package_that_its_modules_import() -> None:
    """The stand-in builds no image: its worker has the packages of the harness, so it finds what Modal would lack."""
    pins = re.findall(r'"([a-z0-9-]+)==[0-9.]+"', (CHECKOUT / "src/gpu/video_app.py").read_text())
    required = [line for pin in pins for line in importlib.metadata.requires(pin) or () if "extra ==" not in line]
    needs = {re.split(r"[^A-Za-z0-9_-]", line)[0].lower() for line in required}
    given = {*sys.stdlib_module_names, "modal", "reel", "video_jobs"}
    imported: set[str] = set()
    for path in [*(CHECKOUT / "src/gpu").rglob("*.py"), *(CHECKOUT / "src/backend/reel").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    owners = importlib.metadata.packages_distributions()
    packages = {owner.lower() for name in imported - given for owner in owners[name]}
    assert "pillow" in packages
    assert packages <= {*pins, *needs}


@pytest.mark.parametrize("error", [ConnectionError("PUT staging/x: 503"), TimeoutError("PUT staging/x: 503")])
def test_a_bucket_that_refuses_an_output_ends_the_call_as_failed(error: Exception) -> None:
    """Either error would mean something else to the backend: Modal cannot be reached, or the call is not over."""
    with pytest.raises(RuntimeError, match="PUT staging/x: 503"), jobs._plain_errors():
        raise error
