"""What the page's tests run against: the real backend with local storage, and the page on a server of its own."""

from __future__ import annotations

import json
import mimetypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from reel.tools import find_tools

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src/frontend"
MIB = 1024 * 1024
RATE = 30


@dataclass(frozen=True)
class Site:
    """Where page and API are. ``page`` is an origin that the API knows, ``strange`` shows the same page on another."""

    page: str
    strange: str
    api: str


class _Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, api: str, *arguments: Any) -> None:
        self.api = api
        super().__init__(*arguments)

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].strip("/") or "index.html"
        file = PAGE / name
        found = name == "config.json" or file.is_file()
        data = json.dumps({"api": self.api}).encode() if name == "config.json" else file.read_bytes() if found else b""
        kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "text/plain"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: the browser's console has it."""


class _Server(ThreadingHTTPServer):
    # A page asks for some 25 files at once; what does not fit into the queue is tried again a second later.
    request_queue_size = 128


@contextmanager
def page_server(port: int, api: str) -> Iterator[None]:
    """The page on this port of every local name, with a config.json that names ``api``."""
    server = _Server(("127.0.0.1", port), partial(_Files, api))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def backend(port: int, folder: Path, **settings: str) -> Iterator[str]:
    """The backend without R2 and Modal, as a process; its address."""
    address = f"http://localhost:{port}"
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(ROOT / "src/backend"),
        "ENV": "staging",
        "APP_ENV": "staging",
        "R2_ENABLED": "false",
        "MODAL_ENABLED": "false",
        "USER_DATA_DIR": str(folder),
        "LOCAL_STORAGE_URL": address,
        "MULTIPART_THRESHOLD_BYTES": str(5 * MIB),
        "PART_BYTES": str(5 * MIB),
        **settings,
    }
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(port)]
    log = folder.with_suffix(".log")
    with (
        log.open("wb") as output,
        subprocess.Popen([*command, "--log-level", "warning"], env=environ, stdout=output, stderr=output) as process,
    ):
        try:
            _wait_for(f"{address}/api/health", process, log)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path, within_s: float = 180) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, trust_env=False, timeout=60).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the backend did not start:\n{log.read_text()[-2000:]}")


class Api:
    """The API as a person of a test uses it behind the page's back."""

    def __init__(self, address: str, user: str) -> None:
        self.user = user
        self.profile = ""
        self.http = httpx.Client(base_url=address, trust_env=False, timeout=60)

    def call(self, method: str, path: str, body: Any = None, expect: int | None = None) -> Any:
        headers = {"X-User-ID": self.user, **({"X-Profile-ID": self.profile} if self.profile else {})}
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.is_success if expect is None else answer.status_code == expect, answer.text
        return answer.json() if answer.content else None

    def new_profile(self, name: str = "Main") -> str:
        """Makes it and is in it."""
        made: str = self.call("POST", "/api/profiles", {"name": name})["id"]
        self.profile = made
        return made

    def upload(self, video: Path, name: str = "Match") -> str:
        data = video.read_bytes()
        wanted = {"name": name, "filename": video.name, "content_type": "video/mp4", "size": len(data)}
        prepared = self.call("POST", "/api/games/prepare-upload", wanted)
        upload = prepared["upload"]
        assert upload["method"] == "single"
        sent = httpx.put(upload["url"], content=data, headers=upload["headers"], trust_env=False, timeout=60)
        assert sent.status_code == 200, sent.text
        self.call("POST", f"/api/games/{prepared['game_id']}/finalize-upload", {"parts": []})
        return str(prepared["game_id"])

    def clip(self, game: str, name: str, start: float = 0.5, end: float = 1.5) -> str:
        body = {"game_id": game, "name": name, "start": start, "end": end}
        return str(self.call("POST", "/api/clips", body)["id"])

    def reel(self, name: str, clips: list[str]) -> str:
        body = {"name": name, "clip_ids": clips, "options": {"quality": "draft"}}
        return str(self.call("POST", "/api/projects", body)["id"])

    def exported(self, reel: str) -> str:
        """An export that is complete."""
        job = self.call("POST", "/api/exports", {"project_id": reel})["id"]
        end = time.monotonic() + 60
        while (state := self.call("GET", f"/api/exports/{job}"))["status"] != "complete":
            assert time.monotonic() < end, state
            time.sleep(0.1)
        return str(job)


def make_video(path: Path, *codec: str, seconds: float = 3, size: str = "640x360", pad_to: int = 0) -> Path:
    """A moving picture with sound; ``pad_to`` bytes, by a box at the end that players pass over."""
    encoder = codec or ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "15", "-c:a", "aac")
    command = [
        *(find_tools().ffmpeg, "-v", "error", "-y"),
        *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={RATE}:duration={seconds}"),
        *("-f", "lavfi", "-i", f"sine=duration={seconds}", *encoder, "-threads", "1"),
    ]
    subprocess.run([*command, str(path)], check=True)
    missing = pad_to - path.stat().st_size
    if missing > 8:
        with path.open("ab") as file:
            file.write(missing.to_bytes(4) + b"free" + os.urandom(missing - 8))
    return path
