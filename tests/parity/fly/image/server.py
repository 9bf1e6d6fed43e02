"""What a container Machine runs in these tests: the standard library alone."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EAT = "b = bytearray(400 * 1024 * 1024); b[::4096] = b'x' * len(b[::4096])"


DIALLED: list[http.client.HTTPConnection] = []


def ask(connection: http.client.HTTPConnection) -> bool:
    """Whether an answer comes over this very connection."""
    connection.auto_open = 0 if connection.sock else 1
    try:
        connection.request("GET", "/env")
        connection.getresponse().read()
    except OSError:
        return False
    return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        answer: dict[str, object] = {}
        if path == "/env":
            answer = dict(os.environ)
        elif path == "/headers":
            answer = {"headers": list(self.headers.items()), "peer": self.client_address[0]}
        elif path == "/write":
            file = Path(query or "written")
            existed = file.exists()
            file.write_text("x")
            answer = {"existed": existed}
        elif path == "/read":
            answer = {"text": Path(query).read_text(), "uid": os.getuid()}
        elif path == "/pid1":
            answer = {"command": Path("/proc/1/cmdline").read_text().split("\0")[0], "pid": os.getpid()}
        elif path == "/eat":
            exec(EAT)
        elif path == "/eat-child":
            done = subprocess.run([sys.executable, "-c", EAT], check=False)
            answer = {"code": done.returncode}
        elif path == "/spin":
            until = time.monotonic() + 60
            while time.monotonic() < until:
                pass
        elif path == "/dial":
            host, _, port = query.partition(":")
            DIALLED.append(http.client.HTTPConnection(host, int(port), timeout=60))
            answer = {"answered": ask(DIALLED[-1])}
        elif path == "/dialled":
            # Of a connection that is dead no answer ever comes, so the wait for it is short.
            if DIALLED[-1].sock:
                DIALLED[-1].sock.settimeout(float(query or 2))
            answer = {"answered": ask(DIALLED[-1])}
        elif path == "/die":
            os.kill(os.getpid(), signal.SIGKILL)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def leave(number: int, _frame: object) -> None:
    sys.stdout.write(f"signal {signal.Signals(number).name}\n")
    if not os.environ.get("STUBBORN"):
        sys.exit(0)


for wanted in (signal.SIGINT, signal.SIGTERM):
    signal.signal(wanted, leave)
sys.stdout.write("listening\n")
ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
