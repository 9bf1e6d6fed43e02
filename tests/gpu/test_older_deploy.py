"""A backend whose GPU functions were deployed by an older release: real SDK, real processes, what is in the bucket."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.backend.conftest import PATIENT
from tests.gpu.conftest import start_gpu
from tests.parity.modal.support import CHECKOUT, Stack, until
from tests.ports import free_ports

from reel.tools import Tools

# What makes a release older, as replacements in a copy of its sources.
Edit = tuple[str, str, str]
NO_PREVIEWS: tuple[Edit, ...] = (
    ("reel/payloads.py", "    max_bytes: int = 0\n", "    max_bytes: ClassVar[int] = 0\n"),
)
NO_SQUARES: tuple[Edit, ...] = (("reel/payloads.py", '"9:16", "1:1", "4:5"]', '"9:16", "4:5"]'),)
NO_ANSWER: tuple[Edit, ...] = (("video_app.py", "async def describe()", "async def describe_not_yet()"),)
CLASS_VARIABLES: Edit = ("reel/payloads.py", "from typing import Any", "from typing import ClassVar, Any")


def older(folder: Path, edits: tuple[Edit, ...]) -> tuple[Path, list[Path]]:
    """The entry and the import folders of the GPU app as an older release had it."""
    for source, name in (("backend/reel", "reel"), ("gpu/video_jobs", "video_jobs")):
        shutil.copytree(CHECKOUT / "src" / source, folder / name)
    shutil.copy(CHECKOUT / "src/gpu/video_app.py", folder)
    for name, was, became in (CLASS_VARIABLES, *edits):
        text = (folder / name).read_text()
        assert text.count(was) == 1, f"{name} does not have {was!r} once"
        (folder / name).write_text(text.replace(was, became))
    return folder / "video_app.py", [folder]


class Backend:
    """The API of a running backend, as one person with a profile."""

    def __init__(self, address: str, log: Path) -> None:
        self.log = log
        self._http = httpx.Client(base_url=address, trust_env=False, timeout=240, headers={"X-User-ID": "u1"})

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._http.close()

    def sign_in(self, ca: Path) -> None:
        self._ca = ca
        self._http.headers["X-Profile-ID"] = self.call("POST", "/api/profiles", {"name": "P"})["id"]

    def upload(self, video: bytes) -> str:
        wanted = {"name": "A", "filename": "a.mp4", "content_type": "video/mp4", "size": len(video)}
        prepared = self.call("POST", "/api/games/prepare-upload", wanted)
        upload = prepared["upload"]
        with httpx.Client(trust_env=False, timeout=60, verify=ssl.create_default_context(cafile=self._ca)) as r2:
            assert r2.put(upload["url"], content=video, headers=upload["headers"]).status_code == 200
        self.call("POST", f"/api/games/{prepared['game_id']}/finalize-upload", {"parts": []})
        return str(prepared["game_id"])

    def exported(self, game: str, **options: str) -> Any:
        """An export of half a second, when it is over."""
        clip = self.call("POST", "/api/clips", {"game_id": game, "name": "c", "start": 0, "end": 0.5})["id"]
        body = {"name": "R", "clip_ids": [clip], "options": {"quality": "draft", **options}}
        project = self.call("POST", "/api/projects", body)["id"]
        made = self.call("POST", "/api/exports", {"project_id": project})["id"]
        return self.over(lambda: self.call("GET", f"/api/exports/{made}"))

    def previewed(self, game: str) -> Any:
        self.call("POST", f"/api/games/{game}/preview")
        return self.over(lambda: self.call("GET", f"/api/games/{game}")["preview"])

    def over(self, look: Callable[[], Any]) -> Any:
        end = time.monotonic() + 300
        while (job := look())["status"] in ("pending", "processing"):
            assert time.monotonic() < end, job
            time.sleep(0.1)
        return job

    def detail(self) -> str:
        """What /api/status says of Modal."""
        found = self.call("GET", "/api/status")["modal"]
        assert found["reachable"] is True
        return str(found["detail"] or "")


@contextmanager
def backend(gpu: Stack, folder: Path, first_seconds: float) -> Iterator[Backend]:
    """A backend on the stand-ins; it asks the GPU functions ``first_seconds`` after its start."""
    (port,) = free_ports(1)
    ca = gpu.root / ".parity" / "trust" / "ca.pem"
    secrets = dict(
        line.split("=", 1) for line in (CHECKOUT / "deploy/standin.secrets.env").read_text().splitlines() if "=" in line
    )
    environ = {
        **{name: os.environ[name] for name in ("HOME",) if name in os.environ},
        "PATH": gpu.environ["PATH"],
        "PYTHONPATH": str(CHECKOUT / "src/backend"),
        **{name: secrets[name] for name in ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")},
        **{"ENV": "staging", "APP_ENV": "staging", "R2_ENABLED": "true", "R2_BUCKET": "reel-ballers-users"},
        "R2_ENDPOINT": f"https://localhost:{gpu.ports['R2_PORT']}",
        "AWS_CA_BUNDLE": str(ca),
        "USER_DATA_DIR": str(folder / "data"),
        **{"MODAL_ENABLED": "true", "MODAL_TOKEN_ID": "ak-standin", "MODAL_TOKEN_SECRET": "as-standin"},
        "MODAL_SERVER_URL": gpu.url,
        # A busy machine may need longer than the product waits by default.
        **PATIENT,
        "STATUS_PROBE_SECONDS": "30",
    }
    start = (
        "import uvicorn; from app.games import decoding, validation; from app.services import gpu_deploy;"
        " decoding.DECODE_SECONDS = validation.PROBE_SECONDS = 240;"
        f" gpu_deploy.FIRST_SECONDS = {first_seconds}; uvicorn.run('app.main:app', port={port}, log_level='warning')"
    )
    log = folder / "backend.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", start], env=environ, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{address}/api/health", trust_env=False, timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, 120)
        made = Backend(address, log)
        made.sign_in(ca)
        yield made
        made.close()
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def video(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=1")
    encoder = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    subprocess.run([tools.ffmpeg, "-v", "error", *picture, *encoder, str(path)], check=True)
    return path.read_bytes()


def ran(gpu: Stack, function: str) -> int:
    """How many calls of a function Modal has seen."""
    return sum(1 for call in gpu.admin.get("/calls").json() if call["function"] == function)


def size_in_bucket(gpu: Stack, key: str) -> int:
    """Of the one object whose key ends so."""
    url = f"http://127.0.0.1:{gpu.ports['R2_ADMIN_PORT']}/r2/objects"
    (found,) = [
        item for item in httpx.get(url, trust_env=False, timeout=60).json()["objects"] if item["key"].endswith(key)
    ]
    return int(found["size"])


@pytest.mark.parametrize(
    ("edits", "first_seconds", "says", "calls"),
    [
        (NO_PREVIEWS + NO_SQUARES, 0.0, "do not know ExtractClip.max_bytes, RenderOptions.aspect=1:1.", (1, 0)),
        (NO_PREVIEWS + NO_SQUARES + NO_ANSWER, 0.0, "cannot report which payloads they accept", (2, 1)),
        # It asks when a payload is refused, and calls no more for what it learns is missing.
        (NO_PREVIEWS + NO_SQUARES, 3600.0, "", (2, 0)),
    ],
    ids=["tells-what-it-takes", "from-before-the-question", "not-asked-yet"],
)
def test_what_an_older_deploy_cannot_do_is_done_on_the_machine(
    tools: Tools,
    video: bytes,
    tmp_path: Path,
    edits: tuple[Edit, ...],
    first_seconds: float,
    says: str,
    calls: tuple[int, int],
) -> None:
    entry, imports = older(tmp_path / "older", edits)
    with (
        start_gpu(tmp_path / "stack", tools, entry, imports) as gpu,
        backend(gpu, tmp_path, first_seconds) as machine,
    ):
        if says:
            until(lambda: says in machine.detail(), 300)
            assert says in machine.log.read_text()
        game = machine.upload(video)
        plain = machine.exported(game)
        assert (plain["status"], ran(gpu, "render_reel")) == ("complete", 1), "the older form loses nothing here"
        square = machine.exported(game, aspect="1:1")
        until(machine.detail, 300)
        preview = machine.previewed(game)
        for job in (square, preview):
            assert job["status"] == "complete", job
        assert size_in_bucket(gpu, square["key"]) == square["size"]
        assert size_in_bucket(gpu, preview["key"]) > 0
        assert (ran(gpu, "render_reel"), ran(gpu, "extract_clip")) == calls


def test_functions_of_the_same_release_do_all_of_it(tools: Tools, video: bytes, tmp_path: Path) -> None:
    imports = [CHECKOUT / "src/backend", CHECKOUT / "src/gpu"]
    with (
        start_gpu(tmp_path / "stack", tools, CHECKOUT / "src/gpu/video_app.py", imports) as gpu,
        backend(gpu, tmp_path, 0.0) as machine,
    ):
        until(lambda: ran(gpu, "describe"), 300)
        game = machine.upload(video)
        assert machine.exported(game, aspect="1:1")["status"] == "complete"
        assert machine.previewed(game)["status"] == "complete"
        assert (ran(gpu, "render_reel"), ran(gpu, "extract_clip")) == (1, 1)
        assert machine.detail() == ""
