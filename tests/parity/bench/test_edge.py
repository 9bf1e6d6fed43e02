"""The measure of the edge runs, by h2load and by httpx, on the smallest sizes; no time is asserted."""

from __future__ import annotations

import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from parity.bench import edge

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("tool", ["h2load", "httpx"])
def test_each_protocol_is_compared_with_the_app_alone(monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    if tool == "h2load" and shutil.which("h2load") is None:
        pytest.skip("h2load is not installed")
    monkeypatch.setattr(edge, "tool_of_path", lambda: tool)
    monkeypatch.setattr(edge, "CLIENTS", (1,))
    figures = edge.run(1, 0)  # each client sends at least one request, whenever it begins
    assert [figure.name for figure in figures] == ["HTTP/1.1 over TLS, 1 client", "HTTP/2 over TLS, 1 client"]
    assert all(figure.value > 0 and figure.bar and tool in figure.note for figure in figures)


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
def test_an_answer_that_is_an_error_is_no_measure() -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(edge.LoadFailed, match="not every response was 2xx"):
            edge.by_h2load(f"http://127.0.0.1:{server.server_port}/", 1, 1, http2=False)
        server.shutdown()
