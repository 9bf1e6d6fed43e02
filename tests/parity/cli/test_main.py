import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from parity import __version__
from parity.cli.lazy import LazyGroup, Mount
from parity.cli.main import MOUNTS, hand_over, main, parity

ROOT = Path(__file__).parents[3]


def test_every_command_stands_in_the_manual_and_no_other() -> None:
    manual = (ROOT / "docs/cli.md").read_text()
    documented = {line.removeprefix("## parity ") for line in manual.splitlines() if line.startswith("## parity ")}
    assert documented >= set(parity.commands)
    assert documented <= {*parity.commands, *(mount.name for mount in MOUNTS)}


def test_every_mounted_command_is_named_in_the_manual() -> None:
    manual = (ROOT / "docs/cli.md").read_text()
    forms = ("`parity {}`", "## parity {}\n")
    assert [mount.name for mount in MOUNTS if not any(form.format(mount.name) in manual for form in forms)] == []


def test_a_command_that_cannot_be_imported_says_what_is_missing() -> None:
    group = LazyGroup("x", mounts=(Mount("gone", "parity.nothing.cli:group", "-"),))
    assert "gone" in CliRunner().invoke(group, ["--help"]).output
    used = CliRunner().invoke(group, ["gone"])
    assert used.exit_code == 1
    assert "parity gone cannot be used: No module named 'parity.nothing'" in used.output


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: mount.name)
def test_every_mounted_command_can_be_imported(mount: Mount) -> None:
    assert isinstance(mount.load(), click.Command)


@pytest.mark.parametrize("module", ["parity.cli.main", "parity.flyctl.cli"])
def test_a_command_starts_without_the_http_client_and_the_certificates(module: str) -> None:
    """Their imports take longer than most commands. Each command starts a new process, promotions some forty."""
    code = f"import sys, {module}; print(*{{'httpx', 'cryptography', 'rich'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True)
    assert (done.stdout.strip(), done.stderr, done.returncode) == (b"", b"", 0)


def test_version_and_commit_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"parity {__version__} (")


def test_a_room_is_imported_only_when_its_command_is_used() -> None:
    group = LazyGroup("x", mounts=(Mount("late", "parity.cli.main:parity", "a late one"),))
    assert "a late one" in CliRunner().invoke(group, ["--help"]).output
    assert group.get_command(click.Context(group), "late") is parity


def test_a_wrong_configuration_ends_with_2_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARITY_ROOT", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["config", "check"])
    assert ended.value.code == 2
    assert f"Error: {tmp_path / 'parity.toml'}: there is no such file" in capsys.readouterr().err


def test_a_stack_that_does_not_run_ends_with_1_and_says_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARITY_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PARITY_ROOT", str(ROOT))
    monkeypatch.setenv("PARITY_ADMIN_PORT", "1")
    with pytest.raises(SystemExit) as ended:
        main(["machine", "list"])
    assert ended.value.code == 1
    assert "start the stack: `parity up`" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that are not the developer's")
def test_what_root_made_in_a_developers_folder_is_given_to_the_developer(tmp_path: Path) -> None:
    (tmp_path / "receipts").mkdir()
    (tmp_path / "receipts/latest.json").touch()
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.chown(tmp_path, 12345, 23456)
    hand_over(tmp_path)
    found = {path.name: (path.lstat().st_uid, path.lstat().st_gid) for path in tmp_path.rglob("*")}
    assert found == dict.fromkeys(("receipts", "latest.json", "link"), (12345, 23456))
    assert Path("/etc/hostname").stat().st_uid == 0
