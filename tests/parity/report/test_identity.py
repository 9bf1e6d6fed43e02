from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from parity.config.project import Project
from parity.report import identity
from parity.report.engine import config_digest_of_archive
from parity.report.identity import configuration_hashes, git_state, hash_tree


def git(root: Path, *arguments: str) -> str:
    names = ("-c", "user.name=t", "-c", "user.email=t@example.test")
    return subprocess.run(["git", "-C", root, *names, *arguments], capture_output=True, text=True, check=True).stdout


def test_a_commit_is_dirty_once_a_file_differs_or_is_new(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert git_state(tmp_path, {}) == (commit, False)
    (tmp_path / "b").write_text("new")
    assert git_state(tmp_path, {}) == (commit, True)


def test_without_git_the_baked_commit_speaks(tmp_path: Path) -> None:
    assert git_state(tmp_path, {"GIT_COMMIT": "abc"}) == ("abc", False)
    assert git_state(tmp_path, {"GIT_COMMIT": "abc-dirty"}) == ("abc", True)
    assert git_state(tmp_path, {"GIT_COMMIT": "unknown"}) == ("", None)
    assert git_state(tmp_path, {}) == ("", None)


def test_a_trees_hash_follows_contents_and_names_of_its_sources(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    first = hash_tree(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert hash_tree(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert hash_tree(tmp_path) != first


def archive(config: str) -> bytes:
    content = json.dumps([{"Config": config}]).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_the_config_digest_is_read_from_both_layouts_of_a_saved_image() -> None:
    assert config_digest_of_archive(archive("blobs/sha256/abc")) == "sha256:abc"
    assert config_digest_of_archive(archive("abc.json")) == "sha256:abc"


@pytest.mark.parametrize(
    ("images", "digest", "name"),
    [
        ({"demo": "sha256:new", "sha256:old": "sha256:old"}, "sha256:old", "sha256:old"),  # the name has moved
        ({"demo": "sha256:old"}, "sha256:old", "demo"),  # the engine knows no image by its config digest
        ({"demo": "sha256:new"}, "sha256:old", ""),
        ({"demo": "sha256:new"}, "", ""),
        ({}, "", ""),
    ],
)
def test_an_image_is_found_by_its_digest_before_its_name_and_never_another(
    monkeypatch: pytest.MonkeyPatch, images: dict[str, str], digest: str, name: str
) -> None:
    monkeypatch.setattr(identity, "local_config_digest", lambda asked: images.get(asked, ""))
    assert identity.local_image("demo", digest) == name


def test_the_app_s_own_contract_and_checks_are_part_of_the_identity(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "fly.toml").write_text('app = "demo"\n[http_service]\ninternal_port = 8080\n')
    (tmp_path / "own").mkdir()
    contract, check = tmp_path / "contract.py", tmp_path / "own" / "test_own.py"
    for path in (contract, check):
        path.write_text("1\n")
    (tmp_path / "parity.toml").write_text(
        '[app]\nfly_config = "deploy/fly.toml"\n[checks]\ncontract = "contract.py"\nfolder = "own"\n'
    )
    before = configuration_hashes(Project.load({"PARITY_ROOT": str(tmp_path)}))
    for path, name in ((contract, "contract.py"), (check, "own")):
        path.write_text("2\n")
        after = configuration_hashes(Project.load({"PARITY_ROOT": str(tmp_path)}))
        assert {key for key in after if after[key] != before[key]} == {name}
        before = after
