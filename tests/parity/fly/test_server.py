"""``python -m parity.fly serve``, as a process of its own on a project of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.parity.fly.support import FLY_TOML, SOURCE, until
from tests.ports import free_ports

CHECKOUT = Path(__file__).parents[3]

PARITY_TOML = """
[app]
fly_config = "fly.toml"
frontend_origin = "https://tiny.pages.dev"
frontend_dir = "source"
process = {{ directory = "source", command = [
  "{{python}}", "-m", "uvicorn", "echo:app", "--host", "{{host}}", "--port", "{{port}}"
] }}
[secrets]
file = "secrets.env"
[standin.env]
AWS_CA_BUNDLE = "${{PARITY_CA_PATH}}"
[r2]
cors = "cors.json"
[gpu]
app = "tiny"
entry = "source/echo.py"
secret = "tiny"
"""


@dataclass
class Project:
    root: Path
    ports: list[int]

    @property
    def environment(self) -> dict[str, str]:
        names = ("PARITY_API_PORT", "PARITY_API_HTTP_PORT", "PARITY_ADMIN_PORT", "PARITY_R2_ADMIN_PORT")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PARITY_")}
        ports = {name: str(port) for name, port in zip(names, self.ports, strict=True)}
        return {**kept, **ports, "PARITY_ROOT": str(self.root), "PYTHONPATH": str(CHECKOUT / "src")}

    async def serve(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "parity.fly",
            "serve",
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    def machines(self) -> list[Path]:
        return list((self.root / ".parity" / "machines").glob("*"))

    async def healthy(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                return (await client.get(f"http://127.0.0.1:{self.ports[2]}/fly/healthz")).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "source").symlink_to(SOURCE)
    (tmp_path / "parity.toml").write_text(PARITY_TOML.format())
    (tmp_path / "fly.toml").write_text(
        FLY_TOML.format(memory=256, soft=5, hard=9, autostop="off", checks="", force_https="true")
    )
    (tmp_path / "secrets.env").write_text("R2_BUCKET=b\nR2_SECRET_ACCESS_KEY=from the stand-in\n")
    (tmp_path / "cors.json").write_text("[]")
    return Project(tmp_path, free_ports(4))


async def test_it_serves_the_app_with_secrets_and_trust_and_leaves_nothing_behind(project: Project) -> None:
    process = await project.serve()
    await until(project.healthy, "healthy")
    ca = project.root / ".parity" / "trust" / "ca.pem"
    async with httpx.AsyncClient(
        verify=ssl.create_default_context(cafile=str(ca)), trust_env=False, timeout=60
    ) as client:
        environment = (await client.get(f"https://localhost:{project.ports[0]}/show")).json()["env"]
    assert environment["R2_SECRET_ACCESS_KEY"] == "from the stand-in"
    assert environment["AWS_CA_BUNDLE"] == str(ca)
    assert len(project.machines()) == 1
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert project.machines() == []


async def test_the_gateway_says_which_stand_in_does_not_answer(project: Project) -> None:
    process = await project.serve()
    await until(project.healthy, "healthy")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.get(f"http://127.0.0.1:{project.ports[2]}/r2/objects")
    assert (answer.status_code, "r2" in answer.json()["title"]) == (502, True)
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_taken_port_is_named_and_nothing_is_left_running(project: Project, which: int) -> None:
    with socket.create_server(("127.0.0.1", project.ports[which])):
        process = await project.serve()
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    assert process.returncode == 2
    named = ["PARITY_API_PORT", "PARITY_API_HTTP_PORT", "PARITY_ADMIN_PORT"][which]
    assert f"{named}: cannot listen on 127.0.0.1 port {project.ports[which]}" in errors.decode()
    assert f"set {named}" in errors.decode()
    assert project.machines() == []


async def test_a_wrong_setting_is_refused_before_anything_starts(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "fly.toml").write_text("app = 'x'\n[http_service]\ninternal_prot = 1\n")
    process = await project.serve()
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert "internal_prot" in errors.decode()
    assert not (project.root / ".parity").exists()
