from pathlib import Path

import pytest

from parity.config.errors import ConfigError
from parity.config.project import Project, machine_environment

PARITY = """
[app]
fly_config = "fly.toml"
image = "img:parity"
frontend_origin = "https://page.example"
frontend_dir = "page"
[app.process]
directory = "backend"
command = ["{python}", "-m", "uvicorn", "--host", "{host}", "--port", "{port}"]
[secrets]
file = "secrets.env"
[standin.env]
MODAL_SERVER_URL = "${PARITY_MODAL_URL}"
[r2]
cors = "cors.json"
[gpu]
app = "gpu"
entry = "gpu.py"
secret = "r2"
"""
FLY = 'app = "api"\n[env]\nENV = "staging"\nDEBUG = "false"\n[http_service]\n'
SECRETS = '# stand-ins\nR2_ENDPOINT=${PARITY_R2_URL}\nR2_BUCKET="box"\nDEBUG=true\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("page", "backend"):
        (tmp_path / name).mkdir()
    for name, text in (("parity.toml", PARITY), ("fly.toml", FLY), ("secrets.env", SECRETS), ("cors.json", "[]")):
        (tmp_path / name).write_text(text)
    (tmp_path / "gpu.py").write_text("")
    return tmp_path


def load(checkout: Path, **environ: str) -> Project:
    return Project.load({"PARITY_ROOT": str(checkout), **environ})


def test_a_machine_gets_fly_env_then_secrets_then_the_declared_differences(checkout: Path) -> None:
    assert machine_environment(load(checkout, PARITY_R2_PORT="7000")) == {
        "ENV": "staging",
        "DEBUG": "true",
        "R2_ENDPOINT": "https://localhost:7000",
        "R2_BUCKET": "box",
        "MODAL_SERVER_URL": "http://localhost:9900",
    }


def test_the_certificate_covers_the_public_names_of_api_and_page(checkout: Path) -> None:
    assert {"api.fly.dev", "page.example", "localhost", "r2.localhost"} <= set(load(checkout).certificate_names)


def test_a_difference_that_would_hide_a_value_of_fly_is_refused(checkout: Path) -> None:
    (checkout / "parity.toml").write_text(PARITY.replace("MODAL_SERVER_URL =", "ENV ="))
    with pytest.raises(ConfigError, match="would hide"):
        load(checkout)


@pytest.mark.parametrize(
    ("file", "old", "new", "where"),
    [
        ("parity.toml", "cors.json", "none.json", "r2.cors"),
        ("parity.toml", "https://page.example", "https://page.example/", "app.frontend_origin"),
        ("parity.toml", '"{port}"', '"8080"', "app.process.command"),
        ("parity.toml", '"{host}"', '"{hots}"', "app.process.command"),
        ("parity.toml", "PARITY_MODAL_URL", "PARITY_MODEL_URL", "standin.env.MODAL_SERVER_URL"),
        ("secrets.env", 'R2_BUCKET="box"', "R2_BUCKET", "secrets.env:3"),
        ("secrets.env", "DEBUG=true", "R2_BUCKET=b", "secrets.env:4"),
        ("secrets.env", "PARITY_R2_URL", "NOWHERE", "secrets.env:2"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(checkout: Path, file: str, old: str, new: str, where: str) -> None:
    path = checkout / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load(checkout)
    assert where in caught.value.where


def test_the_certificate_names_the_bucket_under_r2s_host(checkout: Path) -> None:
    project = Project.load({"PARITY_ROOT": str(checkout), "PARITY_R2_HOST": "r2.example"})
    assert {"r2.example", "box.r2.example"} <= set(project.certificate_names)
    (checkout / "secrets.env").write_text("R2_ENDPOINT=${PARITY_R2_URL}\n")
    without = Project.load({"PARITY_ROOT": str(checkout), "PARITY_R2_HOST": "r2.example"})
    assert [name for name in without.certificate_names if name.endswith("r2.example")] == ["r2.example"]
