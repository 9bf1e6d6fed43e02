"""The backend as a process: uvicorn as the image starts it, on local files."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.backend.connect import connect
from websockets.exceptions import InvalidStatus

from app.settings import from_environment

ROOT = Path(__file__).parents[3]
BACKEND = ROOT / "src" / "backend"
USER = {"X-User-ID": "alice"}
WHO = ("reel-ballers", "user.alice", "profile.main")


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "ENV": "development", "USER_DATA_DIR": str(folder), **changes}


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app.main:app", "--fd", str(listener.fileno())],
            cwd=BACKEND,
            env=environment(tmp_path, LOCAL_STORAGE_URL=f"http://127.0.0.1:{port}", **getattr(request, "param", {})),
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.communicate()


def test_what_stays_as_long_as_the_process_is_no_work_for_the_garbage_collector(tmp_path: Path) -> None:
    script = """
import gc
from app.main import app
from app.settings import load
from app.storage.s3_client import make_client
served = len(gc.get_objects())
client = make_client(load(), 1)
assert app and client
print(served, len(gc.get_objects()), gc.get_freeze_count())
"""
    store = {"R2_ENDPOINT": "https://r2.example", "R2_ACCESS_KEY_ID": "a", "R2_SECRET_ACCESS_KEY": "b"}
    environ = environment(tmp_path, **store, R2_BUCKET="bucket")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=BACKEND, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    served, with_client, frozen = map(int, done.stdout.split())
    assert served < 1000
    assert with_client < 1000
    assert frozen > 50_000


def test_it_stops_cleanly_on_sigterm_and_keeps_what_it_acknowledged(
    backend: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    url, process = backend
    with httpx.Client(base_url=url, timeout=60) as client:
        client.post("/api/profiles", json={"name": "Main", "id": "main"}, headers=USER).raise_for_status()
        changed = client.patch("/api/settings", json={"theme": "dark"}, headers={**USER, "X-Profile-ID": "main"})
        assert changed.headers["x-sync-status"] == "synced"
    process.send_signal(signal.SIGTERM)
    log = process.communicate(timeout=60)[0]
    # uvicorn ends cleanly, then raises the signal again for its parent to see.
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in log
    assert list((tmp_path / ".objects/objects/dev/users/alice/profiles/main/database/0000").glob("*.ltx"))
    assert not (tmp_path / "alice/profiles/main/database.sqlite").exists()


async def test_the_log_names_no_person_of_a_websocket(backend: tuple[str, subprocess.Popen[str]]) -> None:
    url, process = backend
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        made = await client.post("/api/profiles", json={"name": "Main", "id": "main"}, headers=USER)
        made.raise_for_status()
    feeds = f"{url.replace('http', 'ws')}/ws/extractions"
    async with connect(feeds, subprotocols=WHO) as feed:
        assert json.loads(await feed.recv())["type"]
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{feeds}?user_id=alice&profile_id=main")
    assert "sub-protocol user.ID" in str(refused.value.response.body)
    process.send_signal(signal.SIGTERM)
    log = (await asyncio.to_thread(process.communicate, timeout=60))[0]
    assert log.count('"WebSocket /ws/extractions" ') == 2
    assert "alice" not in log


ENDLESS = (
    b"POST /api/profiles HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
    b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
)


@pytest.mark.parametrize("backend", [{"MAX_BODY_SECONDS": "0.5"}], indirect=True)
def test_a_body_that_does_not_arrive_is_answered_and_its_connection_closed(
    backend: tuple[str, subprocess.Popen[str]],
) -> None:
    url, _ = backend
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1])), timeout=60) as slow:
        slow.sendall(ENDLESS)
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.5 s (1 bytes did)" in answer


@pytest.mark.parametrize(
    "backend",
    [{"MAX_BODY_SECONDS": "600", "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": "1"}, {"MAX_BODY_SECONDS": "1"}],
    ids=["by the server's deadline", "by the deadline of bodies"],
    indirect=True,
)
def test_a_body_that_never_ends_does_not_keep_the_shutdown_from_running(
    backend: tuple[str, subprocess.Popen[str]],
) -> None:
    url, process = backend
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1])), timeout=60) as slow:
        slow.sendall(ENDLESS)
        # The answer of a later request shows that this one has been read.
        httpx.get(f"{url}/api/health", timeout=60).raise_for_status()
        process.send_signal(signal.SIGINT)
        log = process.communicate(timeout=60)[0]
    assert "INFO app.lifecycle: stopped" in log
    assert "Application shutdown complete" in log


def test_the_deadlines_of_a_stop_fit_into_flys_kill_timeout() -> None:
    fly = tomllib.loads((ROOT / "deploy" / "fly.staging.toml").read_text())
    settings = from_environment({})
    command = server_command()
    graceful = float(command[command.index("--timeout-graceful-shutdown") + 1])
    assert settings.max_body_seconds <= graceful
    # What remains is for uploads of databases that are under way.
    assert graceful + settings.shutdown_seconds <= float(fly["kill_timeout"].removesuffix("s")) - 10


def test_machines_without_docker_start_the_server_as_the_image_does() -> None:
    command = tomllib.loads((ROOT / "parity.toml").read_text())["app"]["process"]["command"]
    placed = {"{host}": "0.0.0.0", "{port}": "8080"}
    assert [placed.get(word, word) for word in command[2:]] == server_command()


def server_command() -> list[str]:
    """The image's CMD."""
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    command: list[str] = json.loads(re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)[-1])
    return command


def test_wrong_settings_stop_the_start_with_every_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "19101"],
        cwd=BACKEND,
        env=environment(tmp_path, ENV="staging", DEBUG="perhaps", R2_ENABLED="true"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    for name in (
        "DEBUG: expected true or false",
        "R2_ENDPOINT",
        "R2_ACCESS_KEY_ID",
        "R2_SECRET_ACCESS_KEY",
        "R2_BUCKET",
    ):
        assert name in done.stderr


def test_nothing_heavy_is_imported_before_the_first_request() -> None:
    code = (
        "import sys; from app.main import create_app; from app.settings import from_environment;"
        "create_app(from_environment({'R2_ENABLED':'true','R2_ENDPOINT':'https://r2.example','R2_BUCKET':'bucket',"
        "'R2_ACCESS_KEY_ID':'a','R2_SECRET_ACCESS_KEY':'b'}));"
        "print([name for name in ('boto3','botocore','modal','PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=BACKEND, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_presigned_urls_of_the_local_store_carry_a_file_there_and_back(
    backend: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    url, _ = backend
    headers = {**USER, "X-Profile-ID": "main"}
    path = tmp_path / ".objects/objects/dev/users/alice/profiles/main/exports/x.mp4"
    with httpx.Client(base_url=url, timeout=60) as client:
        client.post("/api/profiles", json={"name": "Main", "id": "main"}, headers=USER).raise_for_status()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0123456789")
        made = client.get("/api/storage/url", params={"key": "exports/x.mp4", "filename": "r.mp4"}, headers=headers)
        signed = made.json()["url"]
        answer = client.get(signed, headers={"Range": "bytes=2-4"})
        assert (answer.status_code, answer.content) == (206, b"234")
        assert 'filename="r.mp4"' in client.get(signed).headers["content-disposition"]
        assert client.get(signed.replace("x.mp4", "y.mp4")).status_code == 403
        assert client.put(signed, content=b"over it").status_code == 403
        assert path.read_bytes() == b"0123456789"
        several = client.post(
            "/api/storage/urls", json={"keys": ["exports/x.mp4", "exports/no.mp4", "../x"]}, headers=headers
        ).json()
        assert [item["key"] for item in several["urls"]] == ["exports/x.mp4"]
        assert several["unknown"] == ["exports/no.mp4", "../x"]


@pytest.mark.parametrize(
    ("user", "origin", "status"),
    [
        ("alice", "https://evil.example", 403),
        ("a.x", "http://localhost:5173", 400),
        ("alice, user.bob", "http://localhost:5173", 400),
    ],
)
async def test_a_websocket_of_a_stranger_or_with_a_bad_id_is_refused(
    backend: tuple[str, subprocess.Popen[str]], user: str, origin: str, status: int
) -> None:
    url, _ = backend
    await asyncio.to_thread(lambda: httpx.get(f"{url}/api/health", timeout=60).raise_for_status())
    with pytest.raises(InvalidStatus) as caught:
        await connect(
            f"{url.replace('http://', 'ws://')}/ws/extractions",
            additional_headers={"Origin": origin, "Sec-WebSocket-Protocol": f"user.{user}, profile.main"},
        )
    assert caught.value.response.status_code == status
