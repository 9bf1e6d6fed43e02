"""``parity init`` on repositories: what it writes is right, and what is missing is told."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from parity.checks.loading import load_contract
from parity.cli.main import main
from parity.config.parity_toml import ParityConfig
from parity.config.project import Project
from parity.init.find import Findings, look
from parity.init.openapi import Route, routes
from parity.init.write import compose_yaml, contract, parity_toml, secrets_env

BACKENDS = Path(__file__).parents[2] / "backends"


def initialised(root: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Project:
    monkeypatch.setenv("PARITY_ROOT", str(root))
    with pytest.raises(SystemExit) as ended:
        main(["--root", str(root), "init", *options])
    assert ended.value.code == 0
    secrets = root / "parity.secrets.env"
    secrets.write_text(secrets.read_text().replace("=TODO\n", "=decided\n"))
    return Project.load({"PARITY_ROOT": str(root)})


def _files(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def sideline(tmp_path: Path) -> Path:
    """The second backend, before anybody described it."""
    return _without_description(tmp_path, "sideline")


def _without_description(tmp_path: Path, name: str) -> Path:
    root = tmp_path / name
    shutil.copytree(BACKENDS / name, root)
    for file in ("parity.toml", "secrets.env", "contract.py"):
        (root / file).unlink()
    return root


def test_what_it_writes_describes_the_second_backend(sideline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = initialised(sideline, monkeypatch)
    assert project.process.command[:4] == ["{python}", "-m", "uvicorn", "sideline.main:app"]
    assert project.parity.app.frontend_origin == "https://sideline-staging.example"
    assert project.parity.r2.cors == "bucket.cors.json"
    assert project.r2.bucket == project.secrets["FILMS_BUCKET"]
    assert project.variable("R2_ENDPOINT") == "S3_URL"
    assert project.parity.dev.mounts == {"sideline": "/srv/sideline"}
    assert load_contract(sideline / project.parity.checks.contract).keeps.prefix == "staging/"  # type: ignore[union-attr]


def test_the_contracts_guesses_come_from_the_apps_openapi_document(
    sideline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialised(sideline, monkeypatch)
    written = (sideline / "parity_contract.py").read_text()
    assert 'await self.api.call("POST", "/login", {"coach": self.api.user}, expect=201)' in written
    assert 'await self.api.call("POST", "/journal/entries/", {"body": text}, expect=201)' in written
    assert "PATCH  /card" in written


@pytest.mark.parametrize("path", ["/join", "/v1/register", "/signup", "/sign-up", "/sessions", "/auth/token"])
def test_the_route_at_which_someone_new_begins_is_guessed(path: str) -> None:
    routes = [Route("POST", "/notes", ("text",), 201), Route("POST", path, ("name",), 201), Route("GET", "/notes")]
    assert f'"POST", "{path}", {{"name": self.api.user}}, expect=201' in contract(Findings(), routes)


def test_who_is_new_registers_before_they_sign_in() -> None:
    routes = [Route("POST", path, ("name",)) for path in ("/sessions", "/rooms/joined", "/register")]
    assert '"POST", "/register"' in contract(Findings(), routes)


def test_programs_other_than_boto3_trust_the_stand_in_for_r2_too(
    sideline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = initialised(sideline, monkeypatch).standin_env
    assert given["SSL_CERT_FILE"] == given["AWS_CA_BUNDLE"] != ""


@pytest.mark.parametrize("store", ["OBJECTS", "S3", "R2"])
def test_the_names_of_a_store_are_known(tmp_path: Path, store: str) -> None:
    names = [f"{store}_{name}" for name in ("URL", "KEY", "SECRET", "BUCKET")]
    source = "import os\n" + "".join(f'X = os.environ["{name}"]\n' for name in names)
    ours = ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET")
    assert look(_files(tmp_path, {"app.py": source})).r2 == dict(zip(ours, names, strict=True))


def test_an_app_that_looks_at_its_endpoint_is_imported_and_its_short_environment_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of S3 refuse an endpoint that is no URL as soon as they are made."""
    files = {
        "fly.toml": 'app = "x"\n[env]\nAPP_ENV = "stg"\n[http_service]\n',
        "Dockerfile": "FROM a\nCMD uvicorn app:app --host 0.0.0.0 --port 8080\n",
        "app.py": "import os\nfrom urllib.parse import urlsplit\nfrom fastapi import FastAPI\n"
        'client = dict(endpoint_url=os.environ["S3_API"])\nassert urlsplit(client["endpoint_url"]).scheme\n'
        'app = FastAPI()\n\n@app.get("/notes")\ndef notes(): return []\n',
    }
    initialised(_files(tmp_path, files), monkeypatch)
    written = (tmp_path / "parity_contract.py").read_text()
    assert "    GET    /notes\n" in written
    assert 'keeps = InBucket("stg/")' in written


def test_postgres_a_worker_and_a_release_command_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = initialised(_without_description(tmp_path, "league"), monkeypatch)
    assert project.parity.services["postgres"].migrate == ["{python}", "-m", "league.migrate"]
    assert project.parity.processes["worker"].command == ["{python}", "-m", "league.worker"]
    assert "{host}:{port}" in project.process.command
    assert project.secrets["DATABASE_URL"].startswith("postgresql://")
    assert project.variable("R2_ACCESS_KEY_ID") == "AWS_ACCESS_KEY_ID"


def test_the_compose_file_names_the_harness_and_the_apps_dockerfile(
    sideline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialised(sideline, monkeypatch)
    text = (sideline / "compose.yaml").read_text()
    assert "dockerfile: Dockerfile\n" in text
    (path,) = [line.partition(": ")[2] for line in text.splitlines() if "- path:" in line]
    assert (sideline / path).resolve() == BACKENDS.parents[1] / "src/parity/compose.yaml"


def test_a_compose_file_of_another_name_is_kept_and_not_doubled(
    sideline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sideline / "docker-compose.yml").write_text("services: {}\n")
    initialised(sideline, monkeypatch)
    assert not (sideline / "compose.yaml").exists()
    assert "kept     docker-compose.yml" in capsys.readouterr().out


def test_files_that_are_there_are_kept_unless_told_otherwise(
    sideline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    initialised(sideline, monkeypatch)
    kept = (sideline / "parity.toml").read_text() + "# mine\n"
    (sideline / "parity.toml").write_text(kept)
    initialised(sideline, monkeypatch)
    assert "kept     parity.toml" in capsys.readouterr().out
    assert (sideline / "parity.toml").read_text() == kept
    initialised(sideline, monkeypatch, "--force")
    assert (sideline / "parity.toml").read_text() != kept


def test_an_empty_folder_is_told_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARITY_ROOT", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["init"])
    told = capsys.readouterr().out
    for lacking in (
        "there is no fly.toml",
        "there is no Dockerfile",
        "no variable for R2_BUCKET",
        "names no application",
    ):
        assert lacking in told


def test_sources_in_a_folder_and_the_modal_app_are_found(tmp_path: Path) -> None:
    files = {
        "deploy/fly.staging.toml": 'app = "x"\n[build]\ndockerfile = "../api/Dockerfile"\n[http_service]\n',
        "api/Dockerfile": 'FROM a\nCMD ["uvicorn", "web.main:app", "--host", "0.0.0.0", "--port", "8080"]\n',
        "api/web/main.py": 'import os\nimport modal\nKEY = os.environ["STRIPE_KEY"]\nos.getenv("SENTRY_DSN")\n',
        "gpu/video.py": 'app = modal.App("video-jobs")\nsecrets = [modal.Secret.from_name("bucket")]\n',
        "tests/test_x.py": 'os.environ["ONLY_IN_TESTS"]\n',
    }
    found = look(_files(tmp_path, files))
    assert (found.fly_config, found.dockerfile, found.directory) == ("deploy/fly.staging.toml", "api/Dockerfile", "api")
    assert (found.gpu_app, found.gpu_entry, found.gpu_secrets) == ("video-jobs", "gpu/video.py", ["bucket"])
    assert (found.secrets, found.optional) == (["STRIPE_KEY"], ["SENTRY_DSN"])


def test_the_required_texts_of_a_body_are_its_fields() -> None:
    schema = {"required": ["name", "size"], "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}}}
    document = {
        "paths": {"/things": {"post": {"requestBody": body, "responses": {"201": {}, "422": {}}}}},
        "components": {"schemas": {"New": schema}},
    }
    assert routes(document) == [Route("POST", "/things", ("name",), 201)]


def test_a_contract_without_routes_can_be_loaded_too(tmp_path: Path) -> None:
    file = tmp_path / "contract.py"
    file.write_text(contract(look(tmp_path), []))
    assert load_contract(file).__name__ == "Contract"
    assert str(file) not in sys.modules


def test_a_backend_with_objects_mail_and_folders_of_its_own_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _without_description(tmp_path, "scout")
    project = initialised(root, monkeypatch)
    told = capsys.readouterr().out
    assert "to do    parity.secrets.env: stand-in values for JWT_SECRET, MAIL_API_URL\n" in told
    assert "to do    parity.toml: MAIL_API_URL looks like an address" in told
    assert (project.parity.app.fly_config, project.process.directory) == ("deploy/fly.staging.toml", "api")
    assert load_contract(root / "parity_contract.py").keeps.prefix == "staging/"  # type: ignore[union-attr]
    written = (root / "parity_contract.py").read_text()
    assert '{"email": f"{self.api.user}@example.com", "password": f"password of {self.api.user}"}' in written


@pytest.mark.parametrize("name", ["sideline", "league", "scout"])
def test_what_stands_in_comments_can_be_used_as_it_stands(name: str) -> None:
    lines = parity_toml(look(BACKENDS / name)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("# What else"))
    uncommented = [*lines[:start], *(re.sub("^# ?", "", line) for line in lines[start + 1 :])]
    found = ParityConfig.model_validate(tomllib.loads("\n".join(uncommented)))
    assert {*found.services} == {"postgres", "redis"}
    assert found.stubs
    assert found.targets["staging"].url
    assert found.gpu is not None


def test_what_is_in_doubt_stands_in_comments_with_its_reason(tmp_path: Path) -> None:
    found = look(_files(tmp_path, {"fly.toml": 'app = "x"\n[http_service]\n', "Dockerfile": "FROM a\nCOPY . /app\n"}))
    written = parity_toml(found)
    assert ParityConfig.model_validate(tomllib.loads(written)).dev.mounts == {}
    assert '# in doubt: "." = "/app": it would hide files that the image' in written


def test_why_an_app_cannot_be_asked_for_its_routes_is_told(
    sideline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sideline / "sideline/main.py").write_text("import nothing_of_that_name\n")
    initialised(sideline, monkeypatch)
    assert re.search(
        r"to do    parity_contract.py: its routes are to be written by hand, as sideline.main:app cannot be imported by"
        r" .*: ModuleNotFoundError: No module named 'nothing_of_that_name'",
        capsys.readouterr().out,
    )


def test_where_data_lies_is_left_open_where_nothing_says_it(tmp_path: Path) -> None:
    assert 'keeps = InBucket("") # TODO' in contract(look(tmp_path), [])
    files = {
        "fly.toml": 'app = "x"\n[env]\nRELEASE_STAGE = "qa-2"\n[http_service]\n',
        "Dockerfile": 'FROM a\nCMD ["litestream", "replicate", "-exec", "uvicorn a:app"]\n',
    }
    assert 'keeps = InBucket("qa-2/", within_s=5)' in contract(look(_files(tmp_path, files)), [])
    assert "keeps = Elsewhere()" in contract(look(BACKENDS / "league"), [])


def test_services_stand_in_the_compose_file_under_the_names_of_their_addresses() -> None:
    found = look(BACKENDS / "league")
    services = yaml.safe_load(compose_yaml(found, "../parity"))["services"]
    address = ParityConfig.model_validate(tomllib.loads(parity_toml(found))).services["postgres"].address
    assert services[address.partition(":")[0]]["networks"] == ["public"]


def test_the_images_folders_become_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "fly.toml": 'app = "x"\n[env]\nWORKERS = "3"\n[http_service]\n',
        "Dockerfile": "FROM a\nWORKDIR /app\nENV DATA_DIR=/data DB_FILE=/data/app.db MODELS=/app/models UNREAD=1\n"
        "CMD exec gunicorn app:app -w ${WORKERS:-2} -b 0.0.0.0:8080\n",
        "app.py": 'import os\nDATA, CACHE = os.getenv("DATA_DIR", "/tmp/albums"), "/tmp/kiosk"\n'
        'MODELS, DB = os.environ["MODELS"], os.environ["DB_FILE"]\n',
    }
    project = initialised(_files(tmp_path, files), monkeypatch)
    assert project.process.env == {"DATA_DIR": "data/", "DB_FILE": "data/app.db", "MODELS": "models"}
    assert project.process.command[5:] == ["3", "-b", "{host}:{port}"]
    told = capsys.readouterr().out
    assert "to do    app.py names /tmp/kiosk: without Docker all Machines share this path" in told
    assert "/tmp/albums" not in told, "the default of a variable that the Dockerfile sets"


@pytest.mark.parametrize("line", ["import os, boto3", "import boto3 as s3", "from aiobotocore.session import Any"])
def test_who_imports_boto3_in_any_way_has_its_credentials_by_their_usual_names(tmp_path: Path, line: str) -> None:
    found = look(_files(tmp_path, {"app.py": f"{line}\n"}))
    assert found.r2["R2_ACCESS_KEY_ID"] == "AWS_ACCESS_KEY_ID"
    assert "R2_ACCESS_KEY_ID" not in look(_files(tmp_path, {"app.py": "# no import of boto3\n"})).r2


def test_what_a_function_reads_is_of_its_modal_secret_and_no_secret_of_fly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("LENS_S3", "LENS_KEY", "LENS_SECRET", "LENS_BUCKET", "SEED")
    reads = "\n".join(f'    os.environ["{name}"]' for name in names)
    files = {
        "fly.toml": 'app = "x"\n[http_service]\n',
        "Dockerfile": 'FROM a\nCMD ["uvicorn", "svc.main:app"]\n',
        "svc/main.py": 'import os\nfor name in ("A",): os.environ["LENS_S3_ENDPOINT"], os.environ["LENS_S3_KEY"],'
        ' os.environ["LENS_S3_SECRET"], os.environ["LENS_BUCKET"]\n',
        "gpu/jobs.py": 'import modal, os\napp = modal.App("jobs")\nsecret = modal.Secret.from_name("lens")\n'
        f"def f():\n{reads}\n",
        "gpu/requirements.txt": "tabulate\n",
        "requirements.txt": "modal\n",
    }
    gpu = initialised(_files(tmp_path, files), monkeypatch).parity.gpu
    assert gpu is not None
    assert (gpu.app, gpu.entry, gpu.requirements) == ("jobs", "gpu/jobs.py", "gpu/requirements.txt")
    assert gpu.secrets["lens"] == {
        "LENS_BUCKET": "${LENS_BUCKET}",
        "LENS_KEY": "${LENS_S3_KEY}",
        "LENS_S3": "${LENS_S3_ENDPOINT}",
        "LENS_SECRET": "${LENS_S3_SECRET}",
        "SEED": "TODO",
    }
    assert "LENS_KEY" not in (tmp_path / "parity.secrets.env").read_text()


def test_a_function_that_leaves_its_credentials_to_boto3_is_given_them(tmp_path: Path) -> None:
    source = 'import boto3, modal, os\napp = modal.App("jobs")\nos.environ["S3_BUCKET"]\n'
    files = {"app.py": 'import boto3, os\nos.environ["S3_BUCKET"]\n', "gpu/jobs.py": source}
    found = look(_files(tmp_path, files))
    assert found.gpu_reads == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_BUCKET"]
    assert found.meant_by("AWS_SECRET_ACCESS_KEY") == "AWS_SECRET_ACCESS_KEY"
    given = source + 'boto3.client("s3", aws_access_key_id=os.environ["WHO"])\n'
    (tmp_path / "gpu/jobs.py").write_text(given)
    assert look(tmp_path).gpu_reads == ["S3_BUCKET", "WHO"]


def test_a_service_whose_address_the_app_need_not_have_is_given_it(tmp_path: Path) -> None:
    found = look(_files(tmp_path, {"app.py": 'import os\nREDIS = os.environ.get("REDIS_URL")\n'}))
    assert "[services.redis]" in parity_toml(found)
    assert "\nREDIS_URL=redis://${PARITY_SERVICE_REDIS}/0\n" in secrets_env(found)


def test_what_boto3_is_given_says_more_than_the_names_of_the_variables(tmp_path: Path) -> None:
    source = (
        'import boto3, os\nfrom app.config import settings\ns3 = boto3.client("s3", endpoint_url=os.environ["VAULT"],\n'
        '    aws_access_key_id=os.getenv("WHO"), aws_secret_access_key=settings.who_secret)\n'
        'MAIL = os.environ["MAIL_SECRET"]\ns3.head_bucket(Bucket=os.environ.get("PLACE"))\n'
        'X = os.environ["WHO_SECRET"]\n'
    )
    assert look(_files(tmp_path, {"app.py": source})).r2 == {
        "R2_ENDPOINT": "VAULT",
        "R2_ACCESS_KEY_ID": "WHO",
        "R2_SECRET_ACCESS_KEY": "WHO_SECRET",
        "R2_BUCKET": "PLACE",
    }


OLDER = """
app = "x"
[[services]]
  internal_port = 9000
  protocol = "tcp"
  [[services.ports]]
    port = 443
    handlers = ["tls", "http"]
  [[services.http_checks]]
    path = "/live"
"""


def test_a_server_that_reads_its_port_is_told_it_by_that_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "fly.toml": OLDER,
        "Dockerfile": 'FROM a\nCMD ["python", "-m", "server"]\n',
        "server.py": 'import os\nserve(os.environ.get("HOST"), int(os.environ["PORT"]))\n',
    }
    process = initialised(_files(tmp_path, files), monkeypatch).process
    assert (process.command, process.env) == (["{python}", "-m", "server"], {"PORT": "{port}", "HOST": "{host}"})
    assert "http_service" not in capsys.readouterr().out


def test_a_start_script_is_looked_into_and_its_entrypoint_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "fly.toml": OLDER.replace("[[services]]", '[[services]]\n  processes = ["app"]')
        + '[processes]\n  app = "./start.sh"\n  queue = "sh entry.sh python -m jobs"\n',
        "Dockerfile": "FROM a\n",
        "start.sh": "#!/bin/sh\nset -e\nalembic upgrade head\n"
        "exec uvicorn web:app \\\n  --host 0.0.0.0 --port ${PORT:-9000}\n",
        "web.py": "",
    }
    project = initialised(_files(tmp_path, files), monkeypatch)
    assert project.process.command == ["{python}", "-m", "uvicorn", "web:app", "--host", "{host}", "--port", "{port}"]
    assert project.parity.processes["queue"].command == ["{python}", "-m", "jobs"]
