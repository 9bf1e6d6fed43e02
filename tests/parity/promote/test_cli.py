from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from parity.config.project import Project
from parity.promote import cli
from parity.report.identity import Identity
from parity.report.identity import configuration_hashes as hashes
from parity.report.ran import Ran, RanImage
from parity.report.receipt import ReceiptResult, write_receipt

ROOT = Path(__file__).parents[3]
DIGEST = "sha256:" + "c" * 64


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a promotion reads of a checkout; its image and commit are given."""
    shutil.copy(ROOT / "parity.toml", tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "src").symlink_to(ROOT / "src")
    monkeypatch.setenv("PARITY_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "no-tools"))

    monkeypatch.setattr(cli, "current_identity", identity)
    engine_has(monkeypatch, DIGEST)
    return tmp_path


def identity(project: Project, image_digest: str | Ran | None = None) -> Identity:
    """``demo`` names the checked image, unless a test says otherwise."""
    return Identity("demo", image_digest if isinstance(image_digest, str) else DIGEST, "c0ffee", False, hashes(project))


def engine_has(monkeypatch: pytest.MonkeyPatch, *digests: str) -> None:
    monkeypatch.setattr(cli, "local_image", lambda _, digest: digest if digest in digests else "")


@pytest.fixture
def receipt(checkout: Path) -> Callable[[], Path]:
    """Write a receipt that matches."""

    def write() -> Path:
        project = Project.load()
        path = project.settings.state_dir / "receipts" / "latest.json"
        write_receipt(
            path,
            target="local",
            driver="docker",
            identity=identity(project),
            ran=Ran((RanImage(DIGEST, "c0ffee", False),), str(checkout)),
            results=[ReceiptResult("a", "A", "A", "passed")],
            known=["a"],
            tools={},
        )
        return path

    return write


def promote(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.promote, list(arguments))
    return result.exit_code, result.output


def test_a_dry_run_with_a_matching_receipt_prints_every_command(receipt: Callable[[], Path]) -> None:
    receipt()
    code, output = promote("staging", "--dry-run")
    assert code == 0
    for command in (
        "config validate --strict",
        "image push",
        "imagetools inspect --raw",
        "--ha=false",
        "--target staging",
    ):
        assert command in output
    assert DIGEST in output


def test_without_a_receipt_nothing_is_promoted_and_the_way_is_told(checkout: Path) -> None:
    code, output = promote("staging", "--dry-run")
    assert code == 1
    assert "there is no receipt of the checks" in output
    assert "make check" in output


def test_a_configuration_changed_after_the_checks_is_named(receipt: Callable[[], Path], checkout: Path) -> None:
    receipt()
    path = checkout / "deploy" / "fly.staging.toml"
    path.write_text(path.read_text().replace('DEBUG = "false"', 'DEBUG = "true"'))
    code, output = promote("staging", "--dry-run")
    assert code == 1
    assert "deploy/fly.staging.toml: the receipt is for sha256:" in output


def checked_other(path: Path) -> str:
    """Make the receipt speak for another image than the one that has the name now."""
    data = json.loads(path.read_text())
    data["identity"]["image_digest"] = other = "sha256:" + "d" * 64
    data["ran"]["images"][0]["digest"] = other
    path.write_text(json.dumps(data))
    return other


def test_an_image_that_is_no_longer_here_is_not_replaced_by_what_has_its_name(receipt: Callable[[], Path]) -> None:
    checked_other(receipt())
    code, output = promote("staging", "--dry-run")
    assert code == 1
    assert "image: the receipt is for sha256:dddd" in output


def test_the_checked_image_is_promoted_after_its_name_has_moved_to_another(
    receipt: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = checked_other(receipt())
    engine_has(monkeypatch, DIGEST, other)
    code, output = promote("staging", "--dry-run")
    assert code == 0
    assert f"docker image tag {other} registry.fly.io/" in output
    assert DIGEST not in output


def test_a_target_that_parity_toml_does_not_name_is_refused(receipt: Callable[[], Path]) -> None:
    receipt()
    code, output = promote("production")
    assert code == 1
    assert "no such target" in output


def test_a_target_of_another_app_is_refused(receipt: Callable[[], Path], checkout: Path) -> None:
    path = checkout / "parity.toml"
    path.write_text(path.read_text().replace("https://reel-ballers-api-staging.fly.dev", "https://other.fly.dev"))
    receipt()
    code, output = promote("staging", "--dry-run")
    assert code == 1
    assert "other.fly.dev" in output


def test_the_real_run_without_flyctl_says_so(receipt: Callable[[], Path]) -> None:
    receipt()
    code, output = promote("staging")
    assert code == 1
    assert "docker: this command is not on PATH" in output


def test_the_script_passes_its_arguments_on() -> None:
    script = ROOT / "deploy" / "promote.sh"
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout


def test_a_rehearsal_goes_to_the_stand_ins_registry_and_leaves_modal_and_the_public_url_alone(
    receipt: Callable[[], Path], checkout: Path
) -> None:
    receipt()
    code, output = promote("staging", "--dry-run", "--rehearse")
    assert code == 0, output
    settings = Project.load().settings
    registry = settings.admin_url.removeprefix("http://")
    assert f"docker image push {registry}/reel-ballers-api-staging:" in output
    assert f"{settings.api_url}/api/status reports commit c0ffee" in output
    assert "modal" not in output
    assert "--target" not in output


def test_a_promotion_asserts_the_commit_and_deploys_the_gpu_functions(receipt: Callable[[], Path]) -> None:
    receipt()
    code, output = promote("staging", "--dry-run")
    assert code == 0
    assert "https://reel-ballers-api-staging.fly.dev/api/status reports commit c0ffee" in output
    assert "modal app history reel-ballers-video --json" in output


def test_the_receipts_path_is_the_callers(receipt: Callable[[], Path], tmp_path: Path) -> None:
    path = receipt()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(path, elsewhere / "mine.json")
    script = str(ROOT / "deploy" / "promote.sh")

    def told(*arguments: str) -> str:
        environ = {**os.environ, "PATH": os.defpath}
        command = [script, *arguments, "--dry-run"]
        return subprocess.run(command, cwd=elsewhere, env=environ, capture_output=True, text=True, check=False).stderr

    assert "no such target" in told("nowhere", "--receipt", "mine.json")
    assert "none.json: there is no receipt" in told("staging", "--receipt", "none.json")
    assert "the receipt does not match" in told("staging", "--receipt", "mine.json")
