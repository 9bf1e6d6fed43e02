"""``--rehearse``: complete promotions of good and bad images to the Fly stand-in.

Each takes the steps of a real promotion. It uses flyctl if PATH has it, else ``parity.flyctl``, which makes flyctl's
recorded calls. The bad images are built from the checkout's image, so the app needs nothing extra for a rehearsal.
"""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from parity.config.errors import ConfigError
from parity.promote import commands, machines
from parity.promote.commands import Promotion
from parity.promote.run import Ended
from parity.promote.shell import Shell

# How long to wait for an image that never becomes healthy, in seconds.
SICK_WAIT_S = 30
# A commit that no image reports.
OTHER_COMMIT = "0" * 40


@dataclass(frozen=True)
class Checked:
    """An image: its name in the Docker engine, and its config digest."""

    name: str
    config_digest: str


@dataclass(frozen=True)
class Images:
    """``good`` is the checkout's image; ``next`` and ``odd`` work too; ``sick`` never passes its health checks."""

    good: Checked
    next: Checked
    sick: Checked
    odd: Checked


@dataclass(frozen=True)
class Act:
    """One promotion of a rehearsal: the image, how it must end, and the image that must run afterwards."""

    why: str
    image: Checked
    ended: Ended
    serves: Checked
    commit: str = ""  # asserted instead of the image's own
    wait_timeout_s: int = 0


def acts(images: Images, *, reports_commit: bool) -> list[Act]:
    """The promotions in order. ``reports_commit``: the app reports its commit, so a wrong commit can be detected."""
    good, following, sick = images.good, images.next, images.sick
    found = [
        Act("a first deploy", good, Ended.PROMOTED, good),
        Act("a second deploy", following, Ended.PROMOTED, following),
        Act("an image that never turns healthy", sick, Ended.ROLLED_BACK, following, wait_timeout_s=SICK_WAIT_S),
        Act("the same image again: a rollback of a rollback", sick, Ended.ROLLED_BACK, following,
            wait_timeout_s=SICK_WAIT_S),
    ]  # fmt: skip
    if reports_commit:
        why = "an image that reports another commit than the one that was checked"
        found.append(Act(why, images.odd, Ended.ROLLED_BACK, following, commit=OTHER_COMMIT))
    return found


Promote = Callable[[Promotion], Ended]


def rehearse(promotion: Promotion, images: Images, shell: Shell, promote: Promote) -> bool:
    """Run every promotion and print how it ended. Returns whether all ended as expected."""
    _empty(promotion, shell)
    all_acts = acts(images, reports_commit=bool(promotion.version_url))
    wrong = []
    for number, act in enumerate(all_acts, 1):
        shell.say(f"\n== Act {number} of {len(all_acts)}: {act.why}")
        problem = _act(promotion, act, shell, promote)
        shell.say(f"== {problem or 'as it must be'}")
        if problem:
            wrong.append(f"act {number}, {act.why}: {problem}")
    shell.say("\n" + ("\n".join(wrong) if wrong else f"The rehearsal went as it must: {len(all_acts)} promotions."))
    return not wrong


def _act(promotion: Promotion, act: Act, shell: Shell, promote: Promote) -> str:
    """Run one promotion. Returns what is wrong afterwards; empty if it ended as expected."""
    own = replace(
        promotion,
        image=act.image.name,
        config_digest=act.image.config_digest,
        tag=act.image.config_digest.removeprefix("sha256:")[:12],
        commit=act.commit or promotion.commit,
        wait_timeout_s=act.wait_timeout_s or promotion.wait_timeout_s,
    )
    ended = promote(own)
    if ended is not act.ended:
        return f"ended as {ended.name.lower().replace('_', ' ')}, not as {act.ended.name.lower().replace('_', ' ')}"
    found = machines.parse_machines(shell.capture(commands.list_machines(own)).decode())
    digests = {_config_digest(own, machine.image, shell) for machine in found}
    if digests != {act.serves.config_digest}:
        return f"Machines run {', '.join(sorted(digests)) or 'nothing'}, not {act.serves.config_digest}"
    return _silent(own) if own.version_url else ""


def _config_digest(promotion: Promotion, image: str, shell: Shell) -> str:
    manifest = json.loads(shell.capture(commands.read_manifest(promotion, image)))
    return str(manifest["config"]["digest"])


def _silent(promotion: Promotion) -> str:
    """Why the app's URL does not answer; empty if it answers."""
    trust = ssl.create_default_context(cafile=str(promotion.ca)) if promotion.ca else None
    try:
        urllib.request.urlopen(promotion.version_url, timeout=60, context=trust).close()
    except (urllib.error.URLError, TimeoutError) as error:
        return f"{promotion.version_url} does not answer: {error}"
    return ""


def _empty(promotion: Promotion, shell: Shell) -> None:
    """Destroy every Machine, so that the app is as before its first deploy."""
    for machine in machines.parse_machines(shell.capture(commands.list_machines(promotion)).decode()):
        shell.show(commands.destroy_machine(promotion, machine.id))


def with_flyctl(environ: Mapping[str, str], folder: Path, source: Path) -> tuple[dict[str, str], str]:
    """An environment with ``fly`` on PATH, and a description of that ``fly``.

    If PATH has none, a script that runs ``parity.flyctl`` is written into ``folder``. ``source`` is the folder that
    this package is imported from.
    """
    found = shutil.which("fly", path=environ.get("PATH", ""))
    if found:
        done = subprocess.run([found, "version"], env=dict(environ), capture_output=True, text=True, check=False)
        return dict(environ), f"{found}: {(done.stdout or done.stderr).strip()}"
    folder.mkdir(parents=True, exist_ok=True)
    double = folder / "fly"
    double.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m parity.flyctl "$@"\n', "utf-8")
    double.chmod(0o755)
    path = f"{folder}:{environ.get('PATH', '')}"
    return {**environ, "PATH": path}, "the harness's double of flyctl, because PATH has no fly"


def require_images(admin_url: str) -> None:
    """Raises ``ConfigError`` unless a stack runs whose Machines are containers of images."""
    try:
        with urllib.request.urlopen(f"{admin_url}/fly/release", timeout=60) as answer:
            release = json.load(answer)
    except (urllib.error.URLError, ValueError) as error:
        raise ConfigError(admin_url, f"no Fly stand-in answers: {error}", fix="parity up --driver docker") from None
    if not release.get("digest"):
        problem = "this stack runs processes; a rehearsal deploys images"
        raise ConfigError(admin_url, problem, fix="parity up --driver docker")


def restore(admin_url: str) -> None:
    """Deploy the configured image to the stand-in again. Raises ``ConfigError``."""
    try:
        with urllib.request.urlopen(f"{admin_url}/fly/machines", timeout=60) as answer:
            present = json.load(answer)
        calls: Sequence[tuple[str, bytes]] = [("/fly/releases", b"{}")] if present else [("/fly/machines", b"")]
        for path, body in calls:
            request = urllib.request.Request(admin_url + path, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=300).close()
    except (urllib.error.URLError, ValueError) as error:
        raise ConfigError(
            admin_url, f"the configured image cannot be deployed again: {error}", fix="make down up"
        ) from None
