"""Takes the steps of a promotion; goes back to the image from before when what follows the deploy fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from parity.promote import commands, machines, manifest, preflight
from parity.promote.commands import Promotion
from parity.promote.machines import AfterFailure, Machine, UnreadableAnswer
from parity.promote.shell import CommandFailed, Shell


class Ended(IntEnum):
    """The exit code of a promotion."""

    PROMOTED = 0
    NOTHING_CHANGED = 1
    ROLLED_BACK = 2
    NEEDS_A_PERSON = 3


class Refused(Exception):
    """Something does not hold; nothing on Fly was changed by it."""


@dataclass(frozen=True)
class Patience:
    """How long the Machines may take to report healthy after a wake or deploy, and how often to ask; seconds."""

    deadline_s: float = 120.0
    every_s: float = 2.0


def promote(p: Promotion, shell: Shell, secrets: Sequence[str], secrets_file: str, patience: Patience) -> Ended:
    """Promote ``p``; everything is told by ``shell.say``."""
    try:
        previous = _before(p, shell, secrets, secrets_file)
        reference = _push(p, shell)
        if p.cors_file:
            shell.show(commands.apply_bucket_cors(p))
        _wake(p, shell)
    except (CommandFailed, UnreadableAnswer, Refused) as error:
        shell.say(f"Not promoted; nothing on Fly was replaced.\n{error}")
        return Ended.NOTHING_CHANGED
    try:
        return _deploy(p, shell, reference, previous, patience)
    except KeyboardInterrupt:
        back = f"to go back: fly deploy --app {p.app} --image {previous} …" if previous else "no earlier image"
        shell.say(f"Interrupted while deploying; Fly may run either image. {back}")
        raise


def _before(p: Promotion, shell: Shell, secrets: Sequence[str], secrets_file: str) -> str | None:
    shell.show(commands.validate_config(p))
    found = preflight.parse_secret_names(shell.capture(commands.list_secrets(p)).decode())
    problems = preflight.secret_differences(p.app, secrets, found, secrets_file)
    if problems:
        raise Refused("\n".join(problems))
    staged = sorted(name for name, status in found.items() if status == "Staged")
    if staged:
        shell.say(f"This deploy also puts the staged secrets in force: {', '.join(staged)}")
    previous = machines.previous_image(_machines(p, shell))
    shell.say(f"Runs now: {previous or 'nothing, this is the first deploy'}")
    return previous


def _push(p: Promotion, shell: Shell) -> str:
    """Push the image and return its reference by digest, once the registry's copy is known to be the checked one."""
    shell.show(commands.log_in_to_registry(p))
    shell.show(commands.tag_image(p))
    shell.show(commands.push_image(p))
    pushed = manifest.read(shell.capture(commands.read_manifest(p, p.tagged)))
    if pushed.image:
        by_digest = f"{p.repository}@{pushed.image}"
        pushed = manifest.read(shell.capture(commands.read_manifest(p, by_digest)))
    if pushed.config_digest != p.config_digest:
        raise Refused(
            f"{p.tagged} holds another image than the one that was checked\n"
            f"  config digest there: {pushed.config_digest}\n  in the receipt:      {p.config_digest}"
        )
    shell.say(f"The registry holds the checked image as {pushed.digest}")
    return f"{p.repository}@{pushed.digest}"


def _deploy(p: Promotion, shell: Shell, reference: str, previous: str | None, patience: Patience) -> Ended:
    digest = reference.rpartition("@")[2]
    try:
        shell.show(commands.deploy(p, reference))
        _verify(p, shell, digest, patience)
        shell.show(commands.live_checks(p))
    except (CommandFailed, UnreadableAnswer, Refused) as error:
        shell.say(f"Failed: {error}")
        return _recover(p, shell, previous, digest, patience)
    shell.say(f"Promoted: {p.app} runs {reference}, config digest {p.config_digest}")
    return Ended.PROMOTED


def _recover(p: Promotion, shell: Shell, previous: str | None, digest: str, patience: Patience) -> Ended:
    try:
        left = machines.after_failed_deploy(_machines(p, shell), previous, digest)
        if left is AfterFailure.UNTOUCHED:
            shell.say(f"Not promoted: {left.value}.")
            return Ended.NOTHING_CHANGED
        if left is AfterFailure.NOTHING_BEFORE or previous is None:
            shell.say(f"Not promoted, and not rolled back: {left.value}. Look: fly logs --app {p.app}")
            return Ended.NEEDS_A_PERSON
        shell.say(f"Rolling back to {previous}")
        shell.show(commands.deploy(p, previous))
        _verify(p, shell, previous.rpartition("@")[2], patience)
    except (CommandFailed, UnreadableAnswer, Refused) as error:
        shell.say(f"THE ROLLBACK FAILED: {error}\nLook: fly status --app {p.app}; fly logs --app {p.app}")
        return Ended.NEEDS_A_PERSON
    shell.say(f"Not promoted: rolled back to {previous}")
    return Ended.ROLLED_BACK


def _machines(p: Promotion, shell: Shell) -> list[Machine]:
    return machines.parse_machines(shell.capture(commands.list_machines(p)).decode())


def _wake(p: Promotion, shell: Shell) -> None:
    for machine_id in machines.asleep(_machines(p, shell)):
        shell.show(commands.start_machine(p, machine_id))


def _verify(p: Promotion, shell: Shell, digest: str, patience: Patience) -> None:
    """Wake what sleeps, then see every Machine healthy with ``digest``. Raises ``Refused`` with what is not so."""
    _wake(p, shell)
    deadline = time.monotonic() + patience.deadline_s
    while True:
        current = _machines(p, shell)
        wrong = machines.not_running(current, digest)
        if wrong:
            raise Refused("; ".join(wrong))
        sick = machines.not_healthy(current)
        if not sick:
            shell.say(f"Every Machine runs {digest} and is healthy")
            return
        if time.monotonic() > deadline:
            raise Refused("; ".join(sick))
        time.sleep(patience.every_s)
