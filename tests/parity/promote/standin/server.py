"""The app of an image: its commit and its health are the image's own."""

import json
import pathlib
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

image = json.loads((pathlib.Path(__file__).parent / "image.json").read_text())
while "gate" in image and not pathlib.Path(image["gate"]).exists():
    time.sleep(0.02)
if "exit_code" in image:
    sys.exit(image["exit_code"])


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        data = json.dumps({"commit": image["commit"]}).encode()
        self.send_response(image.get("health", 200) if self.path == "/health" else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), App).serve_forever()
