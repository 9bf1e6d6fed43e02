import sys
from pathlib import Path

import pytest

from parity.config.errors import ConfigError
from parity.config.project import Project, machine_environment

PARITY = """
[app]
fly_config = "fly.toml"
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
    with pytest.raises(ConfigError, match="would replace a value that is set on Fly"):
        load(checkout)


@pytest.mark.parametrize(
    ("file", "old", "new", "where"),
    [
        ("parity.toml", "cors.json", "none.json", "r2.cors"),
        ("parity.toml", "https://page.example", "https://page.example/", "app.frontend_origin"),
        ("parity.toml", '"{port}"', '"8080"', "app.process"),
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
    assert {"r2.example", "box.r2.example", "*.r2.example", "box.localhost"} <= set(project.certificate_names)
    (checkout / "secrets.env").write_text("R2_ENDPOINT=${PARITY_R2_URL}\n")
    without = Project.load({"PARITY_ROOT": str(checkout), "PARITY_R2_HOST": "r2.example"})
    assert [name for name in without.certificate_names if name.endswith("r2.example")] == ["r2.example", "*.r2.example"]


MINIMAL_FLY = 'app = "api"\n[http_service]\n[[http_service.checks]]\npath = "/up"\n'


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    """A backend that has neither page, GPU functions nor a CORS file."""
    (tmp_path / "parity.toml").write_text('[secrets]\nfile = "s.env"\n')
    (tmp_path / "fly.toml").write_text(MINIMAL_FLY)
    (tmp_path / "s.env").write_text("R2_BUCKET=box\n")
    return tmp_path


def test_only_what_a_backend_has_must_be_declared(minimal: Path) -> None:
    project = load(minimal)
    assert project.image == project.settings.image
    assert (project.health_path, project.frontend_hostname) == ("/up", "")
    assert project.parity.gpu is None
    assert "" not in project.certificate_names


def test_a_process_is_wanted_only_where_machines_are_processes(minimal: Path) -> None:
    with pytest.raises(ConfigError, match="how a Machine starts as a process"):
        _ = load(minimal).process


def test_the_interpreter_is_the_repositorys_own_where_it_has_one(checkout: Path) -> None:
    assert load(checkout).python == Path(sys.executable)
    own = checkout / ".venv/bin/python"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert load(checkout).python == own


def test_a_value_is_found_under_the_name_that_the_app_has_for_it(minimal: Path) -> None:
    (minimal / "parity.toml").write_text('[secrets]\nfile = "s.env"\n[secrets.names]\nR2_BUCKET = "S3_BUCKET_NAME"\n')
    (minimal / "s.env").write_text("S3_BUCKET_NAME=box\n")
    assert load(minimal).bucket == "box"
    (minimal / "s.env").write_text("R2_BUCKET=box\n")
    with pytest.raises(ConfigError, match="S3_BUCKET_NAME is missing"):
        _ = load(minimal).bucket


def test_all_that_r2_lacks_is_told_at_once(minimal: Path) -> None:
    with pytest.raises(ConfigError) as found:
        _ = load(minimal).r2
    names = ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")
    assert [error.problem for error in found.value.errors] == [f"{name} is missing" for name in names]


def test_every_mistake_of_every_file_is_told_in_one_run(checkout: Path) -> None:
    (checkout / "parity.toml").write_text(PARITY.replace("entry =", "entri =").replace("cors =", "corse ="))
    (checkout / "fly.toml").write_text(FLY + "force_http = true\n")
    with pytest.raises(ConfigError) as found:
        load(checkout)
    places = [error.where.partition(": ")[2] for error in found.value.errors]
    assert places == ["r2.corse", "gpu.entry", "gpu.entri", "http_service.force_http"]
    assert "is it entry?" in str(found.value)
    assert "is it force_https?" in str(found.value)


def test_mistakes_of_references_are_told_with_those_of_names(checkout: Path) -> None:
    (checkout / "parity.toml").write_text(PARITY.replace("MODAL_SERVER_URL =", "ENV ="))
    (checkout / "secrets.env").write_text("R2_ENDPOINT=${NOWHERE}\n")
    with pytest.raises(ConfigError) as found:
        load(checkout)
    assert [error.where.rpartition("/")[2] for error in found.value.errors] == [
        "secrets.env:1",
        "parity.toml: standin.env.ENV",
    ]


OVERRIDE = '[standin.override.ENV]\nvalue = "here"\nreason = "staging sends mail to people"\n'


def test_an_override_replaces_a_value_of_fly_and_says_why(checkout: Path) -> None:
    (checkout / "parity.toml").write_text(PARITY + OVERRIDE)
    assert machine_environment(load(checkout))["ENV"] == "here"


def test_an_override_of_what_fly_does_not_have_is_refused(checkout: Path) -> None:
    (checkout / "parity.toml").write_text(PARITY + OVERRIDE.replace("override.ENV", "override.ENVY"))
    with pytest.raises(ConfigError, match="replaces nothing"):
        load(checkout)


def test_a_service_and_a_stub_have_addresses_to_refer_to(minimal: Path) -> None:
    (minimal / "parity.toml").write_text(
        '[secrets]\nfile = "s.env"\n[services.data-base]\nport = 5432\naddress = "postgres:5432"\n'
        '[stubs."api.pay.example"]\nanswers = {"POST /v1/charges" = {json = {id = 1}}}\n'
    )
    (minimal / "s.env").write_text("DB=pg://${PARITY_SERVICE_DATA_BASE}/x\nPAY=${PARITY_STUB_API_PAY_EXAMPLE}/v1\n")
    secrets = load(minimal, PARITY_SERVICE_HOST="fly").secrets
    assert secrets == {"DB": "pg://fly:5432/x", "PAY": "http://fly:9095/api.pay.example/v1"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[services.db]\nport = 1\n", "services.db: expected command"),
        ('[services.db]\nport = 1\ncommand = ["x"]\n', "services.db.command: {port} is missing"),
        ('[services.db]\nport = 1\ncommand = ["{prt}"]\n', "services.db.command: unknown placeholder {prt}"),
        ('[services.db]\nport = 1\naddress = "db"\n', "services.db.address: expected host:port"),
        ('[services.db]\nport = 1\naddress = "db:1"\nporto = 1\n', "services.db.porto: unknown key"),
        ('[stubs."a.b"]\nanswers = {"/x" = {}}\n', "expected METHOD /path"),
        ('[promotion]\nknows = ["x"]\n', "promotion: only one of knows and way_back"),
        ('[promotion]\nknows = ["x"]\nway_back = ["x"]\n', "promotion: {knows} is missing"),
        ('[standin.override.X]\nvalue = ""\nreason = ""\n', "standin.override.X.reason"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_place(minimal: Path, text: str, problem: str) -> None:
    (minimal / "parity.toml").write_text(text)
    with pytest.raises(ConfigError) as found:
        load(minimal)
    assert problem in str(found.value)


def test_each_further_process_group_says_how_it_starts_without_docker(minimal: Path) -> None:
    (minimal / "fly.toml").write_text(
        MINIMAL_FLY.replace("vice]\n", 'vice]\nprocesses = ["app"]\n')
        + '[processes]\napp = "serve"\nworker = "python -m work"\n'
    )
    with pytest.raises(ConfigError, match=r"processes\.worker: it is missing; fly\.toml runs 'python -m work'"):
        _ = load(minimal).group_commands
    given = '[secrets]\nfile = "s.env"\n[processes.worker]\ncommand = ["{python}", "-m", "work"]\n'
    (minimal / "parity.toml").write_text(given)
    assert load(minimal).group_commands == {"worker": ("{python}", "-m", "work")}
    (minimal / "parity.toml").write_text(given.replace("processes.worker", "processes.workr"))
    with pytest.raises(ConfigError, match="is it worker"):
        _ = load(minimal).group_commands
