"""Runs the Fly stand-in in front of a small app, and prints both addresses as one line of JSON.

It runs until its standard input ends. Usage: ``python -m parity.bench.edge_child FOLDER``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from parity.certs import ensure_certificates
from parity.config.fly_toml import load_fly_config
from parity.fly.machines.process import ProcessDriver
from parity.fly.server import loopback_peers, standin
from parity.fly.settings import load_fly_settings

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})
"""
# No load reaches this limit, so that no request waits for a Machine.
FLY_TOML = """
app = "bench"
[http_service]
internal_port = 8080
[http_service.concurrency]
type = "requests"
soft_limit = 10000
"""
SERVER = ["{python}", "-m", "uvicorn", "app:app", "--host", "{host}", "--port", "{port}", "--log-level", "warning"]


async def serve(folder: Path) -> None:
    """Serve the app directly and behind the edge. Raises what the stand-in raises."""
    (folder / "app").mkdir()
    (folder / "app/app.py").write_text(APP)
    (folder / "fly.toml").write_text(FLY_TOML)
    edge_peer, check_peer, host = loopback_peers()
    driver = ProcessDriver(folder, "app", [*SERVER, "--no-access-log"], folder / "state", host)
    certificates = ensure_certificates(folder / "ca", folder / "trust", ["localhost", "127.0.0.1"])
    config, settings = load_fly_config(folder / "fly.toml"), load_fly_settings({})
    peers = (edge_peer, check_peer)
    async with standin(config, settings, driver, {}, certificates, "127.0.0.1", 0, 0, peers) as fly:
        (machine,) = fly.fleet.machines.values()
        await fly.fleet.until_healthy(machine, 60)
        assert machine.address is not None
        bare = "http://{}:{}".format(*machine.address)
        found = {"edge": f"https://localhost:{fly.ports.https}", "bare": bare, "ca": str(certificates.ca)}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
