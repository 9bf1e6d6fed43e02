"""What really ran, as the Fly stand-in tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from parity.config.errors import ConfigError
from parity.report import ran
from parity.report.ran import Ran, RanImage, images_that_ran, release_newer_build

IMAGES = [
    {"ref": "app@sha256:a", "digest": "sha256:a", "commit": "c0ffee", "variant": False},
    {"ref": "app@sha256:b", "digest": "sha256:b", "commit": "c0ffee", "variant": True},
    {"ref": "process:/src", "digest": "", "commit": "", "variant": False},
]


class Admin:
    """The two answers that matter, and what was asked."""

    newer: Any = None
    status = 201

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        if path.startswith("/fly/images"):
            return 200, {"checkout": "/src/mine", "images": IMAGES}
        if path == "/fly/release":
            return 200, {"image_ref": "app@sha256:a", "env": {"A": "1"}, "newer_build": self.newer}
        return self.status, {"detail": "not healthy"}


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Admin, str]]:
    state = Admin()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null")
            status, answer = state.answer(self.command, self.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(ran, "_config_digest", lambda digest: digest)
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_images_of_a_run_are_listed_and_variants_told_apart(admin: tuple[Admin, str]) -> None:
    state, url = admin
    found = images_that_ran(url, 12.5)
    assert found == Ran((RanImage("sha256:a", "c0ffee", False), RanImage("sha256:b", "c0ffee", True)), "/src/mine")
    assert [image.digest for image in found.tested] == ["sha256:a"]
    assert state.asked == [("GET", "/fly/images?since=12.5", None)]


def test_a_newer_build_is_released_with_the_environment_of_the_release(admin: tuple[Admin, str]) -> None:
    state, url = admin
    state.newer = {"ref": "app@sha256:n", "digest": "sha256:n", "commit": "decaf", "variant": False}
    line = release_newer_build(url)
    assert "app@sha256:n" in line
    assert "app@sha256:a" in line
    assert state.asked[-1] == ("POST", "/fly/releases", {"env": {"A": "1"}})


def test_nothing_is_released_where_the_newest_build_runs(admin: tuple[Admin, str]) -> None:
    state, url = admin
    assert release_newer_build(url) == ""
    assert [method for method, _, _ in state.asked] == ["GET"]


def test_a_release_that_fails_is_an_error_with_the_reason(admin: tuple[Admin, str]) -> None:
    state, url = admin
    state.newer, state.status = {"ref": "x", "digest": "x", "commit": "", "variant": False}, 504
    with pytest.raises(ConfigError, match="not healthy"):
        release_newer_build(url)


def test_a_stand_in_that_does_not_answer_is_named() -> None:
    with pytest.raises(ConfigError, match="does not answer"):
        images_that_ran("http://127.0.0.1:9", 0)
