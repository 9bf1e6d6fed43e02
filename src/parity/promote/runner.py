"""Takes the steps of a promotion in order; goes back to the last good image when what follows the deploy fails.

The steps are one list: ``--dry-run`` prints their commands, a run executes them. A step that is repeated does no harm,
so an interrupted promotion is simply run again; the journal remembers the way back, which the first try knew.
"""

from __future__ import annotations

import json
import shlex
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from parity.promote import commands, machines, manifest, preflight, releases
from parity.promote.commands import Argv, Promotion
from parity.promote.interrupt import Interrupted
from parity.promote.journal import Journal
from parity.promote.machines import AfterFailure, Machine, UnreadableAnswer
from parity.promote.releases import WayBack
from parity.promote.shell import CommandFailed, Shell

PUSHED = "<digest of the pushed manifest>"
BEFORE = "<digest of the last good image>"
SLEEPING = "<id of each sleeping Machine>"
KNOWN = "<what that release printed>"
SAVED = "<configuration of the last good image>"


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


@dataclass
class Run:
    """What a run knows. In a dry run the placeholders stand for what only a run can learn."""

    p: Promotion
    shell: Shell
    journal: Journal
    patience: Patience
    secrets: Sequence[str] = ()
    secrets_file: str = ""
    pushed: str = PUSHED
    back: WayBack | None = None
    saved_config: Path | None = None
    gpu_outdated: bool = True
    no_way_back: bool = False  # the person agreed that there may be none
    changing: bool = field(default=False)  # something outside of this machine may have changed

    @property
    def reference(self) -> str:
        return f"{self.p.repository}@{self.pushed}"


@dataclass(frozen=True)
class Step:
    """One step. ``commands`` shows what it runs, ``act`` runs it; ``when`` is empty for one that is always taken."""

    name: str
    why: str
    commands: Callable[[Run], list[Argv]]
    act: Callable[[Run], None]
    when: str = ""
    changes: bool = False


def steps(p: Promotion) -> list[Step]:
    """Every step in order. The last two are taken only when one that ``changes`` Fly, or one after it, fails."""
    found = [
        Step(
            "validate", "refuse misspelt keys, which a deploy would take",
            lambda r: [commands.validate_config(r.p)], _validate,
        ),
        Step("secrets", "compare the names of the secrets", lambda r: [commands.list_secrets(r.p)], _secrets),
        Step(
            "way back", "find the last good image and its configuration",
            lambda r: [
                commands.list_machines(r.p),
                commands.list_releases(r.p),
                commands.save_config(r.p, Path(SAVED)),
            ],
            _find_way_back,
        ),
        Step("login", "log in to the registry", lambda r: [commands.log_in_to_registry(r.p)], _login),
        *([Step(
            "consent", "ask both images whether the release can be taken back",
            lambda r: [commands.ask_what_is_known(r.p, f"{r.p.repository}@{BEFORE}"),
                       commands.ask_for_way_back(r.p, KNOWN)],
            _consent, when="there is an image to go back to",
        )] if p.way_back else []),
        Step("tag", "name the image that was checked", lambda r: [commands.tag_image(r.p)], _tag),
        Step("push", "push it", lambda r: [commands.push_image(r.p)], _push),
        Step(
            "manifest", f"assert that its config digest is {p.config_digest}",
            lambda r: [commands.read_manifest(r.p, r.p.tagged)], _manifest,
        ),
    ]  # fmt: skip
    if p.cors_file:
        found.append(
            Step(
                "cors",
                "apply the bucket's CORS policy",
                lambda r: [commands.apply_bucket_cors(r.p)],
                _cors,
                changes=True,
            )
        )
    if p.gpu:
        found += [
            Step("gpu version", "compare the deployed GPU functions with the checked ones",
                 lambda r: [commands.gpu_history(r.p)], _gpu_version),
            Step("gpu", "deploy the GPU functions first", lambda r: [commands.gpu_deploy(r.p)], _gpu_deploy,
                 when="they are of another version", changes=True),
        ]  # fmt: skip
    wake = [commands.start_machine(p, SLEEPING)]
    return [
        *found,
        Step("wake", "wake it: a stopped Machine is updated without being started", lambda _: wake, _wake,
             when="a Machine sleeps"),
        Step("deploy", "deploy by digest", lambda r: [commands.deploy(r.p, r.reference)], _deploy, changes=True),
        Step("wake again", "wake it again", lambda _: wake, _wake, when="a Machine sleeps"),
        Step("verify", "assert the running image_ref.digest and the checks of each Machine",
             lambda r: [commands.list_machines(r.p)], _verify_pushed),
        *([Step("commit", f"assert that {p.version_url} reports commit {p.commit}", lambda _: [], _commit)]
          if p.version_url else []),
        *([Step("live checks", "run the live-safe checks against the public URL",
                lambda r: [commands.live_checks(r.p)], _live)] if p.live else []),
    ]  # fmt: skip


ROLL_BACK: tuple[Step, ...] = (
    Step(
        "roll back", "roll back, with the configuration of that image",
        lambda r: [commands.deploy(r.p, f"{r.p.repository}@{BEFORE}", Path(SAVED))],
        lambda r: _roll_back(r), when="the deploy or what follows it fails", changes=True,
    ),
    Step(
        "verify the roll back", "assert that the earlier image runs", lambda r: [commands.list_machines(r.p)],
        lambda r: _verify_back(r), when="it was rolled back",
    ),
)  # fmt: skip


def plan_lines(run: Run) -> list[str]:
    """The steps as text that can be pasted, but for the angle brackets."""
    lines = []
    for number, step in enumerate([*steps(run.p), *ROLL_BACK], 1):
        condition = f" (only when {step.when})" if step.when else ""
        lines.append(f"# {number}. {step.why}{condition}")
        lines += [" ".join(w if "<" in w else shlex.quote(w) for w in argv) for argv in step.commands(run)]
    return lines


def promote(run: Run) -> Ended:
    """Promote; everything is told by ``run.shell.say``. An interruption is told too, never raised."""
    unfinished = run.journal.begin(run.p.config_digest)
    if unfinished:
        run.shell.say(f"An earlier promotion of this image stopped at {unfinished.step!r}; this one takes its place.")
    try:
        return _promote(run)
    except Interrupted as stopped:
        assert run.journal.current is not None
        at = f"{stopped.signal} during {run.journal.current.step!r}"
        if not run.changing:
            run.shell.say(f"Interrupted: {at}; nothing on Fly was replaced. Run it again to go on.")
            run.journal.end("interrupted")
            return Ended.NOTHING_CHANGED
        back = f"\nto go back: {shlex.join(commands.deploy(run.p, run.back.image, _config(run)))}" if run.back else ""
        run.shell.say(f"Interrupted: {at}; Fly may run either image. Run it again to go on.{back}")
        return Ended.NEEDS_A_PERSON


def _promote(run: Run) -> Ended:
    for step in steps(run.p):
        run.journal.at(step.name)
        run.changing = run.changing or step.changes
        try:
            step.act(run)
        except (CommandFailed, UnreadableAnswer, Refused, OSError) as error:
            if step.name in _BEFORE_DEPLOY:
                run.shell.say(f"Not promoted; no Machine was replaced.\n{error}")
                run.journal.end("nothing changed")
                return Ended.NOTHING_CHANGED
            run.shell.say(f"Failed at {step.name!r}: {error}")
            return _recover(run)
    run.journal.keep_config(run.pushed, run.p.config)
    run.journal.end("promoted", good=run.pushed)
    run.shell.say(f"Promoted: {run.p.app} runs {run.reference}, config digest {run.p.config_digest}")
    return Ended.PROMOTED


_BEFORE_DEPLOY = frozenset(
    {"validate", "secrets", "way back", "login", "consent", "tag", "push", "manifest", "cors", "gpu version", "gpu"}
    | {"wake"}
)


def _validate(run: Run) -> None:
    run.shell.show(commands.validate_config(run.p))


def _secrets(run: Run) -> None:
    found = preflight.parse_secret_names(run.shell.capture(commands.list_secrets(run.p)).decode())
    optional = run.p.optional_secrets
    problems = preflight.secret_differences(run.p.app, run.secrets, found, run.secrets_file, optional)
    if problems:
        raise Refused("\n".join(problems))
    if missing := sorted(set(optional) - set(found)):
        run.shell.say(f"WARNING: Fly has no {', '.join(missing)}, which parity.toml calls optional")
    staged = sorted(name for name, status in found.items() if status == "Staged")
    if staged:
        run.shell.say(f"This deploy also puts the staged secrets in force: {', '.join(staged)}")


def _find_way_back(run: Run) -> None:
    assert run.journal.current is not None
    present = _machines(run)
    listed = releases.parse_releases(run.shell.capture(commands.list_releases(run.p)).decode())
    bad = set(run.journal.bad)
    earlier = run.journal.current
    if earlier.back_to and {m.digest for m in present} <= {earlier.pushed, earlier.back_to.rpartition("@")[2]}:
        # An interrupted try knew it before it may have replaced what ran, and nobody deployed since.
        run.back = WayBack(run.journal.current.back_to, "an interrupted promotion would have gone back to it")
    else:
        run.back = releases.way_back(present, listed, run.journal.good, bad, lambda image: _digest_of(run, image))
    run.journal.current.back_to = run.back.image if run.back else ""
    run.shell.say(
        f"To go back to: {run.back.image} ({run.back.why})" if run.back else "There is nothing to go back to."
    )
    if run.back:
        _save_config(run, run.back, present)


def _save_config(run: Run, back: WayBack, present: Sequence[Machine]) -> None:
    """The configuration of the way back: as this checkout promoted it, else as Fly has it while that image runs."""
    kept = run.journal.config_of(back.digest)
    if kept.exists():
        run.saved_config = kept
        return
    if any(machine.digest != back.digest for machine in present):
        run.shell.say("A rollback would use today's configuration: that of the last good image is not known.")
        return
    try:
        run.shell.show(commands.save_config(run.p, kept))
    except CommandFailed as error:
        run.shell.say(f"A rollback would use today's configuration: {error}")
        return
    run.saved_config = kept if kept.exists() else None


def _digest_of(run: Run, image: str) -> str:
    """The digest of an image by tag, as the registry has it now; empty when it has none."""
    try:
        return manifest.read(run.shell.capture(commands.read_manifest(run.p, image))).digest
    except (CommandFailed, UnreadableAnswer):
        return ""


def _login(run: Run) -> None:
    run.shell.show(commands.log_in_to_registry(run.p))


def _consent(run: Run) -> None:
    """Refuse a release that cannot be taken back, unless the person agreed to that."""
    if run.back is None:
        return
    problem = f"{run.back.image} does not say what it can work with, so nothing is known of the way back"
    try:
        known = run.shell.capture(commands.ask_what_is_known(run.p, run.back.image)).decode().strip()
        problem = f"this release closes the way back to {run.back.image}"
        run.shell.show(commands.ask_for_way_back(run.p, known))
    except CommandFailed as error:
        if not run.no_way_back:
            raise Refused(f"{problem}: {error}\n  to promote it all the same: --consent-no-way-back") from None
        run.shell.say(f"WARNING: {problem}; --consent-no-way-back was given")


def _tag(run: Run) -> None:
    run.shell.show(commands.tag_image(run.p))


def _push(run: Run) -> None:
    run.shell.show(commands.push_image(run.p))


def _manifest(run: Run) -> None:
    """Learn the pushed image's digest, once the registry's copy is known to be the checked one."""
    p, shell = run.p, run.shell
    found = manifest.read(shell.capture(commands.read_manifest(p, p.tagged)))
    if found.image:
        found = manifest.read(shell.capture(commands.read_manifest(p, f"{p.repository}@{found.image}")))
    if found.config_digest != p.config_digest:
        raise Refused(
            f"{p.tagged} holds another image than the one that was checked\n"
            f"  config digest there: {found.config_digest}\n  in the receipt:      {p.config_digest}"
        )
    assert run.journal.current is not None
    run.pushed = run.journal.current.pushed = found.digest
    shell.say(f"The registry holds the checked image as {found.digest}")


def _cors(run: Run) -> None:
    run.shell.show(commands.apply_bucket_cors(run.p))


def _gpu_version(run: Run) -> None:
    assert run.p.gpu is not None
    try:
        text = run.shell.capture(commands.gpu_history(run.p)).decode()
        deployed = str(json.loads(text)[0].get("Tag") or "")
    except (CommandFailed, ValueError, IndexError, KeyError, TypeError, AttributeError):
        deployed = ""
    run.gpu_outdated = deployed != run.p.gpu.version
    what = "as checked" if not run.gpu_outdated else f"of version {deployed or 'unknown'}, not {run.p.gpu.version}"
    run.shell.say(f"The GPU functions of {run.p.gpu.app} are {what}")


def _gpu_deploy(run: Run) -> None:
    if run.gpu_outdated:
        run.shell.show(commands.gpu_deploy(run.p))


def _wake(run: Run) -> None:
    for machine_id in machines.asleep(_machines(run)):
        run.shell.show(commands.start_machine(run.p, machine_id))


def _deploy(run: Run) -> None:
    run.shell.show(commands.deploy(run.p, run.reference))


def _verify_pushed(run: Run) -> None:
    _verify(run, run.pushed)


def _commit(run: Run) -> None:
    """The public URL answers with the commit that was checked."""
    p, deadline = run.p, time.monotonic() + run.patience.deadline_s
    while True:
        try:
            trust = ssl.create_default_context(cafile=str(p.ca)) if p.ca else None
            with urllib.request.urlopen(p.version_url, timeout=30, context=trust) as answer:
                said = json.load(answer)
            reported = str(said.get(p.version_key, "")) if isinstance(said, dict) else ""
            problem = "" if reported == p.commit else f"reports {p.version_key} {reported!r}"
        except (urllib.error.URLError, TimeoutError, ValueError) as error:
            problem = f"does not answer: {error}"
        if not problem:
            run.shell.say(f"{p.version_url} reports commit {p.commit}")
            return
        if time.monotonic() > deadline:
            raise Refused(f"{p.version_url} {problem}, not {p.commit!r}")
        time.sleep(run.patience.every_s)


def _live(run: Run) -> None:
    run.shell.show(commands.live_checks(run.p))


def _recover(run: Run) -> Ended:
    back = run.back
    try:
        left = machines.after_failed_deploy(_machines(run), back.image if back else None, run.pushed)
        if left is AfterFailure.UNTOUCHED:
            run.shell.say(f"Not promoted: {left.value}.")
            run.journal.end("nothing changed")
            return Ended.NOTHING_CHANGED
        if left is AfterFailure.NOTHING_BEFORE:
            run.shell.say(f"Not promoted, and not rolled back: {left.value}. Look: fly logs --app {run.p.app}")
            run.journal.end("needs a person", bad=run.pushed)
            return Ended.NEEDS_A_PERSON
        for step in ROLL_BACK:
            run.journal.at(step.name)
            step.act(run)
    except (CommandFailed, UnreadableAnswer, Refused) as error:
        run.shell.say(f"THE ROLLBACK FAILED: {error}\nLook: fly status --app {run.p.app}; fly logs --app {run.p.app}")
        run.journal.end("needs a person", bad=run.pushed)
        return Ended.NEEDS_A_PERSON
    assert back is not None
    run.shell.say(f"Not promoted: rolled back to {back.image}")
    run.journal.end("rolled back", good=back.digest, bad=run.pushed)
    return Ended.ROLLED_BACK


def _config(run: Run) -> Path:
    return run.saved_config or run.p.config


def _roll_back(run: Run) -> None:
    assert run.back is not None
    run.shell.say(f"Rolling back to {run.back.image}, with {_config(run)}")
    run.shell.show(commands.deploy(run.p, run.back.image, _config(run)))


def _verify_back(run: Run) -> None:
    assert run.back is not None
    _wake(run)
    _verify(run, run.back.digest)


def _machines(run: Run) -> list[Machine]:
    return machines.parse_machines(run.shell.capture(commands.list_machines(run.p)).decode())


def _verify(run: Run, digest: str) -> None:
    """See every Machine healthy with ``digest``. Raises ``Refused`` with what is not so."""
    deadline = time.monotonic() + run.patience.deadline_s
    while True:
        current = _machines(run)
        wrong = machines.not_running(current, digest)
        if wrong:
            raise Refused("; ".join(wrong))
        sick = machines.not_healthy(current)
        if not sick:
            run.shell.say(f"Every Machine runs {digest} and is healthy")
            return
        if time.monotonic() > deadline:
            raise Refused("; ".join(sick))
        time.sleep(run.patience.every_s)
