"""The real GPU app, deployed to the Modal stand-in, on videos in the R2 stand-in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import modal
import pytest
from botocore.config import Config
from tests.parity.modal.support import CHECKOUT, Stack, until

from reel.tools import Tools, find_tools

BUCKET = "reel-ballers-users"
PREFIX = "staging/users/u1/profiles/p1"
SOURCE = f"{PREFIX}/games/g1/source.mp4"


@pytest.fixture(scope="session")
def tools() -> Tools:
    return find_tools()


@pytest.fixture(scope="session")
def gpu(tmp_path_factory: pytest.TempPathFactory, tools: Tools) -> Iterator[Stack]:
    folder = CHECKOUT / "src" / "gpu"
    imports = [CHECKOUT / "src/backend", folder]
    with start_gpu(tmp_path_factory.mktemp("gpu"), tools, folder / "video_app.py", imports) as running:
        yield running


@contextmanager
def start_gpu(root: Path, tools: Tools, entry: Path, imports: list[Path]) -> Iterator[Stack]:
    """The stand-ins of R2 and Modal as processes, with the GPU app of ``entry`` deployed."""
    running = Stack(root, entry, imports)
    running.environ["PATH"] = f"{Path(tools.ffmpeg).parent}{os.pathsep}{running.environ['PATH']}"
    trust = running.root / ".parity" / "trust" / "ca.pem"
    try:
        running.start("r2", "-m", "parity.r2", "serve")
        until(trust.exists)
        running.start("serve")
        running.start("worker")
        running.wait_until_ready()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="session")
def client(gpu: Stack) -> Iterator[modal.Client]:
    """Its own: the SDK keeps one for the whole process, and other tests talk to another control plane."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODAL_SERVER_URL", gpu.url)
        opened = modal.Client.from_credentials("ak-standin", "as-standin")
    with opened:
        yield opened


@pytest.fixture
def function(client: modal.Client) -> Callable[[str], Any]:
    return lambda name: modal.Function.from_name("reel-ballers-video", name, client=client)


@pytest.fixture(scope="session")
def bucket(gpu: Stack) -> Any:
    """The same bucket, with the stand-in's own credentials."""
    secrets = dict(
        line.split("=", 1) for line in (CHECKOUT / "deploy/standin.secrets.env").read_text().splitlines() if "=" in line
    )
    made = boto3.client(
        "s3",
        endpoint_url=f"https://localhost:{gpu.ports['R2_PORT']}",
        aws_access_key_id=secrets["R2_ACCESS_KEY_ID"],
        aws_secret_access_key=secrets["R2_SECRET_ACCESS_KEY"],
        verify=str(gpu.root / ".parity" / "trust" / "ca.pem"),
        config=Config(
            region_name="auto",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    yield made
    made.close()


@pytest.fixture(scope="session")
def source(bucket: Any, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A game of six seconds with sound: a light figure walks over a dark pitch; its full key."""
    path = tmp_path_factory.mktemp("game") / "source.mp4"
    figure = "color=c=white:size=24x64:rate=25:duration=6"
    pitch = "color=c=0x104020:size=640x360:rate=25:duration=6"
    subprocess.run(
        [
            *(tools.ffmpeg, "-v", "error", "-y"),
            *("-f", "lavfi", "-i", pitch, "-f", "lavfi", "-i", figure),
            *("-f", "lavfi", "-i", "sine=frequency=440:duration=6"),
            *("-filter_complex", "[0:v][1:v]overlay=x='40+80*t':y=150[v]", "-map", "[v]", "-map", "2:a"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)),
        ],
        check=True,
    )
    bucket.upload_file(str(path), BUCKET, SOURCE)
    return SOURCE
