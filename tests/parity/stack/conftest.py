import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_ports

from parity.config.project import Project

PARITY = """
[app]
fly_config = "fly.toml"
frontend_origin = "https://page.example"
frontend_dir = "page"
[app.process]
directory = "backend"
command = ["{python}", "-m", "uvicorn", "--port", "{port}"]
[secrets]
file = "secrets.env"
[r2]
cors = "cors.json"
[gpu]
app = "gpu"
entry = "gpu.py"
secret = "r2"
[targets.staging]
url = "https://api.fly.dev"
frontend_origin = "https://page.example"
"""
SECRETS = "R2_BUCKET=box\nR2_ACCESS_KEY_ID=id\nR2_SECRET_ACCESS_KEY=it's\nMODAL_TOKEN_ID=ak\nMODAL_TOKEN_SECRET=as\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("page", "backend"):
        (tmp_path / name).mkdir()
    files = {
        "parity.toml": PARITY,
        "fly.toml": 'app = "api"\n[http_service]\n',
        "secrets.env": SECRETS,
        "cors.json": '{"CORSRules": []}',
        "gpu.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def project(checkout: Path) -> Project:
    return Project.load({"PARITY_ROOT": str(checkout)})


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def free_port() -> int:
    return free_ports(1)[0]
