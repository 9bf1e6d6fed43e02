import json
import shutil
from pathlib import Path

import pytest

from parity.cli.main import main
from parity.cli.usable import cors_rules
from parity.config.errors import ConfigError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``config check`` reads of this checkout, to break."""
    shutil.copy(ROOT / "parity.toml", tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "src").symlink_to(ROOT / "src")
    monkeypatch.setenv("PARITY_ROOT", str(tmp_path))
    return tmp_path


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(str(ended.value.code))


def test_this_checkouts_files_are_right(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("config", "check") == 0
    assert "app reel-ballers-api-staging, port 8080" in capsys.readouterr().out


def test_a_misspelt_key_of_fly_toml_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = checkout / "deploy/fly.staging.toml"
    file.write_text(file.read_text().replace("force_https", "force_http"))
    assert code_of("config", "check") == 2
    assert "fly.staging.toml: http_service.force_http: unknown key" in capsys.readouterr().err


def test_a_bucket_that_the_page_may_not_read_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"AllowedOrigins": ["http://localhost:5173"], "AllowedMethods": ["GET"]}
    (checkout / "deploy/r2.cors.json").write_text(json.dumps({"CORSRules": [rule]}))
    assert code_of("config", "check") == 2
    assert "no rule allows https://reel-ballers-staging.pages.dev" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Expecting property name"),
        ('{"rule": []}', 'expected {"CORSRules"'),
        ('{"CORSRules": [{"AllowedMethods": ["GET"]}]}', "rule 1: AllowedOrigins"),
        ('{"CORSRules": [{"AllowedOrigins": ["https://x.example"]}]}', "rule 1: .*AllowedMethods are required"),
    ],
)
def test_a_wrong_cors_file_is_refused_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "cors.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        cors_rules(file)


@pytest.mark.parametrize(
    "text",
    [
        '{"CORSRules": [{"AllowedOrigins": ["https://x.example"], "AllowedMethods": ["PUT"]}]}',
        '[{"AllowedOrigins": ["https://x.example"], "AllowedMethods": ["PUT"], "MaxAgeSeconds": 60}]',
        '{"rules": [{"allowed": {"origins": ["https://x.example"], "methods": ["PUT"]}}]}',
    ],
    ids=["aws", "dashboard", "wrangler"],
)
def test_a_cors_file_may_have_each_form_that_the_stand_in_reads(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cors.json"
    file.write_text(text)
    (rule,) = cors_rules(file)
    assert (rule["AllowedOrigins"], rule["AllowedMethods"]) == (["https://x.example"], ["PUT"])


def test_diff_shows_exactly_the_declared_differences(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("diff", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown["only_here"]) == {"MODAL_SERVER_URL", "AWS_CA_BUNDLE"}
    assert "R2_ENDPOINT" in shown["other_values_here"]


def test_diff_prints_why_a_value_is_replaced(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    override = '\n[standin.override.DEBUG]\nvalue = "true"\nreason = "the log of a laptop may be long"\n'
    (checkout / "parity.toml").write_text((checkout / "parity.toml").read_text() + override)
    assert code_of("diff") == 0
    assert "because: the log of a laptop may be long" in capsys.readouterr().out


def test_another_repository_is_named_by_root(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARITY_ROOT", "/nowhere")
    assert code_of("--root", str(checkout), "config", "check") == 0
    assert "app reel-ballers-api-staging" in capsys.readouterr().out


def test_all_that_up_would_miss_is_told_in_one_run(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = checkout / "deploy/standin.secrets.env"
    kept = [line for line in secrets.read_text().splitlines() if not line.startswith(("R2_BUCKET", "MODAL_TOKEN_ID"))]
    secrets.write_text("\n".join(kept))
    assert code_of("config", "check") == 2
    told = capsys.readouterr().err
    assert "R2_BUCKET is missing" in told
    assert "MODAL_TOKEN_ID is missing" in told


def test_mistakes_of_all_files_are_told_in_one_run(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "src").unlink()
    (checkout / "mine").mkdir()
    (checkout / "mine/contract.py").write_text("class Contract:\n    async def sing_in(self): ...  # TODO\n")
    toml = (checkout / "parity.toml").read_text()
    (checkout / "parity.toml").write_text(toml.replace('"src/checks/contract.py"', '"mine/contract.py"'))
    secrets = checkout / "deploy/standin.secrets.env"
    secrets.write_text(secrets.read_text() + "STRIPE_KEY=TODO\nMAIL_URL=TODO\n")
    assert code_of("config", "check") == 2
    told = capsys.readouterr().err
    for mistake in (
        "STRIPE_KEY is still TODO",
        "MAIL_URL is still TODO",
        "app.process.directory: src/backend does not exist",
        "gpu.entry: src/gpu",
        "sing_in means nothing; is it sign_in?",
        "read is missing",
    ):
        assert mistake in told


def test_a_parity_toml_with_mistakes_hides_none_of_the_contracts(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "mine.py").write_text("import nothing_of_that_name\n")
    toml = (checkout / "parity.toml").read_text().replace('"src/checks/contract.py"', '"mine.py"')
    (checkout / "parity.toml").write_text(toml.replace("[app]", "[app]\nfrontend_orign = 1"))
    assert code_of("config", "check") == 2
    told = capsys.readouterr().err
    assert "frontend_orign" in told
    assert "it cannot be imported: ModuleNotFoundError" in told


def test_every_wrong_line_of_the_secrets_is_told(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = checkout / "deploy/standin.secrets.env"
    secrets.write_text(secrets.read_text() + "no assignment\nONE=${PARITY_NOTHING}\nTWO=${PARITY_NEITHER}\n")
    assert code_of("config", "check") == 2
    told = capsys.readouterr().err
    for mistake in ("not a NAME=value line", "${PARITY_NOTHING} is not known", "${PARITY_NEITHER} is not known"):
        assert mistake in told


def test_a_contract_in_which_something_is_still_open_is_no_contract(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = (ROOT / "src/checks/contract.py").read_text().replace('"/api/projects"', '"/TODO"', 1)
    (checkout / "mine.py").write_text(written)
    toml = (checkout / "parity.toml").read_text().replace('"src/checks/contract.py"', '"mine.py"')
    (checkout / "parity.toml").write_text(toml)
    assert code_of("config", "check") == 2
    assert "still has a TODO" in capsys.readouterr().err


def test_what_is_not_reproduced_is_printed_and_what_changes_the_meaning_comes_first(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = checkout / "deploy/fly.staging.toml"
    file.write_text(
        file.read_text() + '\n[metrics]\nport = 9\npath = "/m"\n[experimental]\nmachine_config = "m.json"\n'
    )
    assert code_of("config", "check") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "reproduced" in line.lower()]
    assert lines[0] == (
        "NOT REPRODUCED  experimental.machine_config: is the Machine's configuration, below the other keys"
    )
    assert [line.split()[2] for line in lines[1:]] == ["build:", "metrics:"]


def test_as_flyctl_reads_it_a_misspelt_key_is_dropped_and_told(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = checkout / "deploy/fly.staging.toml"
    file.write_text(file.read_text().replace("force_https", "force_http"))
    assert code_of("config", "check", "--as-flyctl") == 0
    assert "DROPPED by flyctl  http_service.force_http" in capsys.readouterr().out


def test_what_only_processes_can_do_is_told_before_an_image_is_built(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = (checkout / "parity.toml").read_text()
    service = '\n[services.queue]\nport = 16379\ncommand = ["sh", "-c", "serve {port}"]\n'
    (checkout / "parity.toml").write_text(toml + service)
    assert code_of("up", "--driver", "docker") == 2
    told = capsys.readouterr().err
    assert "services.queue.address: with Docker it must name a service of compose.yaml" in told
