"""Identifies what was checked: the image by its config digest, the commit, and the files that decide a deploy."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from parity.config.project import Project
from parity.report.engine import Engine, EngineError
from parity.report.ran import Ran

CHECKS_SOURCES = "src/parity/checks"


@dataclass(frozen=True)
class Identity:
    """What was checked. An empty text means unknown (no engine, or no git); so does ``dirty`` None."""

    image: str
    image_digest: str
    commit: str
    dirty: bool | None
    hashes: dict[str, str]

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def current_identity(project: Project, ran: Ran | str | None = None) -> Identity:
    """The identity of this checkout now.

    The image is the one that ``ran`` (empty when that was not exactly one), or the given config digest, or what the
    engine has under the image's name.
    """
    commit, dirty = git_state(project.settings.root)
    if isinstance(ran, Ran):
        digest = ran.tested[0].digest if len(ran.tested) == 1 else ""
    else:
        digest = local_config_digest(project.image) if ran is None else ran
    return Identity(project.image, digest, commit, dirty, configuration_hashes(project))


def configuration_hashes(project: Project) -> dict[str, str]:
    """SHA-256 of each file that decides what is deployed or what was checked, by path in the checkout."""
    parity, root = project.parity, project.settings.root
    files = ["parity.toml", parity.app.fly_config, parity.secrets.file if parity.secrets else "", parity.r2.cors]
    hashes = {name: _hash_file(root / name) for name in [*files, parity.checks.contract] if name}
    if parity.checks.folder:
        hashes[parity.checks.folder] = hash_tree(root / parity.checks.folder)
    return hashes | {CHECKS_SOURCES: hash_tree(Path(__file__).parents[1] / "checks")}


def hash_tree(folder: Path) -> str:
    """One hash of the Python files under ``folder``: of their relative paths and contents, in a fixed order."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(f"{path.relative_to(folder).as_posix()}\0{_hash_file(path)}\n".encode())
    return f"sha256:{total.hexdigest()}"


def _hash_file(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def git_state(root: Path, environ: Mapping[str, str] = os.environ) -> tuple[str, bool | None]:
    """Commit and whether tracked or new files differ from it.

    The harness's own image has no git repository. There the variable ``GIT_COMMIT``, set when the image was built,
    gives the commit; the suffix ``-dirty`` says that the tree had changes.
    """
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        if commit:
            return commit, bool(_git(root, "status", "--porcelain"))
    baked = environ.get("GIT_COMMIT", "")
    if baked in ("", "unknown"):
        return "", None
    return baked.removesuffix("-dirty"), baked.endswith("-dirty")


def _git(root: Path, *arguments: str) -> str:
    # safe.directory: a checkout mounted into a container belongs to another user.
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def local_config_digest(image: str) -> str:
    """Config digest of a local image; empty when there is no engine or no such image."""
    try:
        return Engine().config_digest(image)
    except EngineError:
        return ""


def local_image(image: str, digest: str) -> str:
    """By what name the engine has the image with this config digest; empty when it does not.

    The digest itself where the engine knows it, whatever ``image`` names now: the next build moves that name, and its
    labels alone (Compose's project, the commit) make another digest of the same code. An engine on containerd's store
    knows images by their manifests, so there only ``image`` can be asked.
    """
    for name in (digest, image):
        if digest and local_config_digest(name) == digest:
            return name
    return ""
