"""``--rehearse``: whole promotions to the Fly stand-in, good and bad ones, each by the steps of a real one.

With flyctl where PATH has one, else with the double that makes its recorded calls. The images are made of the one that
was checked, so nothing is shipped and nothing of the app is needed beyond what a promotion needs.
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

# How long a deploy of an image that never turns healthy is waited for, in seconds.
SICK_WAIT_S = 30
# The commit that an act asserts when the deployed app has to report another one.
OTHER_COMMIT = "0" * 40


@dataclass(frozen=True)
class Checked:
    """An image: what the engine knows it by, and its config digest."""

    name: str
    config_digest: str


@dataclass(frozen=True)
class Images:
    """``good`` is the checked one, ``next`` another that works, ``sick`` never passes its checks, ``odd`` is one more
    that works."""

    good: Checked
    next: Checked
    sick: Checked
    odd: Checked


@dataclass(frozen=True)
class Act:
    """One promotion of a rehearsal: of which image, how it must end, and which image serves afterwards."""

    why: str
    image: Checked
    ended: Ended
    serves: Checked
    commit: str = ""  # asserted instead of the image's own
    wait_timeout_s: int = 0


def acts(images: Images, *, reports_commit: bool) -> list[Act]:
    """The acts in order. ``reports_commit``: the app says its commit, so that a wrong one can be noticed."""
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
    """Walk every act; says what each was and how it ended. Returns whether all went as they must."""
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
    """What is wrong after one act; empty when nothing is."""
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
    """Why the app's URL does not answer; empty when it does."""
    trust = ssl.create_default_context(cafile=str(promotion.ca)) if promotion.ca else None
    try:
        urllib.request.urlopen(promotion.version_url, timeout=60, context=trust).close()
    except (urllib.error.URLError, TimeoutError) as error:
        return f"{promotion.version_url} does not answer: {error}"
    return ""


def _empty(promotion: Promotion, shell: Shell) -> None:
    """Take every Machine away: an app before its first deploy."""
    for machine in machines.parse_machines(shell.capture(commands.list_machines(promotion)).decode()):
        shell.show(commands.destroy_machine(promotion, machine.id))


def with_flyctl(environ: Mapping[str, str], folder: Path, source: Path) -> tuple[dict[str, str], str]:
    """The environment with a ``fly`` on PATH, and what that is: PATH's own, else the double, written into ``folder``.

    ``source`` is where this package is imported from.
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
    return {**environ, "PATH": path}, "the double of flyctl that comes with the harness: PATH has no fly"


def require_images(admin_url: str) -> None:
    """Raises ``ConfigError`` unless a stack is up whose Machines run images."""
    try:
        with urllib.request.urlopen(f"{admin_url}/fly/release", timeout=60) as answer:
            release = json.load(answer)
    except (urllib.error.URLError, ValueError) as error:
        raise ConfigError(admin_url, f"no Fly stand-in answers: {error}", fix="parity up --driver docker") from None
    if not release.get("digest"):
        problem = "this stack runs processes; a rehearsal deploys images"
        raise ConfigError(admin_url, problem, fix="parity up --driver docker")


def restore(admin_url: str) -> None:
    """Put the stand-in's configured release back, on one Machine. Raises ``ConfigError``."""
    try:
        with urllib.request.urlopen(f"{admin_url}/fly/machines", timeout=60) as answer:
            present = json.load(answer)
        calls: Sequence[tuple[str, bytes]] = [("/fly/releases", b"{}")] if present else [("/fly/machines", b"")]
        for path, body in calls:
            request = urllib.request.Request(admin_url + path, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=300).close()
    except (urllib.error.URLError, ValueError) as error:
        raise ConfigError(
            admin_url, f"the configured release cannot be put back: {error}", fix="make down up"
        ) from None
