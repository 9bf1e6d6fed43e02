import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
from tests.ports import free_ports

ROOT = Path(__file__).parents[3]


def test_the_page_is_served_over_http_and_tls_until_sigterm(tmp_path: Path) -> None:
    plain, tls = free_ports(2)
    settings = {"PARITY_FRONTEND_PORT": str(plain), "PARITY_FRONTEND_TLS_PORT": str(tls)}
    env = {
        **os.environ, **settings, "PARITY_ROOT": str(ROOT), "PARITY_STATE_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT / "src"),
    }  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "parity.frontend", "serve"], env=env) as server:
        try:
            wait_for(f"http://127.0.0.1:{plain}/healthz")
            trust = ssl.create_default_context(cafile=str(tmp_path / "trust/ca.pem"))
            answer = httpx.get(f"https://localhost:{tls}/", verify=trust, trust_env=False, timeout=60)
            assert "<title>Reel Ballers</title>" in answer.text
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def wait_for(url: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False, timeout=60).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError(url)
