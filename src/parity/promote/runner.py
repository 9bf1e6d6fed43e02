"""Takes the steps of a promotion in order, and rolls back if the deploy or a later step fails.

``--dry-run`` prints the commands of the same list of steps that a run executes. Every step is idempotent, so an
interrupted promotion is run again from its first step; the journal keeps the rollback image that the first run found.
``acts`` has the function of each step.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parity.promote import acts, commands, machines
from parity.promote.commands import Argv, Promotion
from parity.promote.interrupt import Interrupted
from parity.promote.machines import AfterFailure, UnreadableAnswer
from parity.promote.run import BEFORE, KNOWN, SAVED, SLEEPING, Ended, Refused, Run
from parity.promote.shell import CommandFailed


@dataclass(frozen=True)
class Step:
    """One step. ``commands`` are printed by a dry run; ``act`` executes the step. ``when`` is its condition, if any."""

    name: str
    why: str
    commands: Callable[[Run], list[Argv]]
    act: Callable[[Run], None]
    when: str = ""
    changes: bool = False


def steps(p: Promotion) -> list[Step]:
    """Every step in order. ``ROLL_BACK`` follows if the deploy or a later step fails."""
    found = [
        Step(
            "validate", "refuse misspelt keys, which a deploy would ignore",
            lambda r: [commands.validate_config(r.p)], acts.validate,
        ),
        Step("secrets", "compare the names of the secrets", lambda r: [commands.list_secrets(r.p)], acts.secrets),
        Step(
            "way back", "find the last good image and its configuration",
            lambda r: [
                commands.list_machines(r.p),
                commands.list_releases(r.p),
                commands.save_config(r.p, Path(SAVED)),
            ],
            acts.find_way_back,
        ),
        Step("login", "log in to the registry", lambda r: [commands.log_in_to_registry(r.p)], acts.login),
        *([Step(
            "consent", "ask both images whether the release can be taken back",
            lambda r: [commands.ask_what_is_known(r.p, f"{r.p.repository}@{BEFORE}"),
                       commands.ask_for_way_back(r.p, KNOWN)],
            acts.consent, when="there is an image to go back to",
        )] if p.way_back else []),
        Step("tag", "tag the image that was checked", lambda r: [commands.tag_image(r.p)], acts.tag),
        Step("push", "push it", lambda r: [commands.push_image(r.p)], acts.push),
        Step(
            "manifest", f"assert that its config digest is {p.config_digest}",
            lambda r: [commands.read_manifest(r.p, r.p.tagged)], acts.compare_manifest,
        ),
    ]  # fmt: skip
    if p.cors_file:
        found.append(
            Step(
                "cors",
                "apply the bucket's CORS policy",
                lambda r: [commands.apply_bucket_cors(r.p)],
                acts.apply_cors,
                changes=True,
            )
        )
    if p.gpu:
        found += [
            Step("gpu version", "compare the deployed GPU functions with the checked ones",
                 lambda r: [commands.gpu_history(r.p)], acts.compare_gpu),
            Step("gpu", "deploy the GPU functions first", lambda r: [commands.gpu_deploy(r.p)], acts.deploy_gpu,
                 when="they are of another version", changes=True),
        ]  # fmt: skip
    wake = [commands.start_machine(p, SLEEPING)]
    return [
        *found,
        Step("wake", "wake it: a stopped Machine is updated without being started", lambda _: wake, acts.wake,
             when="a Machine sleeps"),
        Step("still the same", "assert that no other deploy changed the Machines meanwhile",
             lambda r: [commands.list_machines(r.p)], acts.assert_nobody_deployed),
        Step("deploy", "deploy by digest", lambda r: [commands.deploy(r.p, r.reference)], acts.deploy, changes=True),
        Step("wake again", "wake it again", lambda _: wake, acts.wake, when="a Machine sleeps"),
        Step("verify", "assert the running image_ref.digest and the checks of each Machine",
             lambda r: [commands.list_machines(r.p)], acts.verify_pushed),
        *([Step("commit", f"assert that {p.version_url} reports commit {p.commit}", lambda _: [], acts.assert_commit)]
          if p.version_url else []),
        *([Step("live checks", "run the live-safe checks against the public URL",
                lambda r: [commands.live_checks(r.p)], acts.check_live)] if p.live else []),
    ]  # fmt: skip


ROLL_BACK: tuple[Step, ...] = (
    Step(
        "roll back", "roll back, with the configuration of that image",
        lambda r: [commands.deploy(r.p, f"{r.p.repository}@{BEFORE}", Path(SAVED))],
        acts.roll_back, when="the deploy or what follows it fails", changes=True,
    ),
    Step(
        "verify the roll back", "assert that the earlier image runs", lambda r: [commands.list_machines(r.p)],
        acts.verify_back, when="it was rolled back",
    ),
)  # fmt: skip


def plan_lines(run: Run) -> list[str]:
    """The steps as shell commands. Text in angle brackets stands for values that only a run finds out."""
    lines = []
    for number, step in enumerate([*steps(run.p), *ROLL_BACK], 1):
        condition = f" (only when {step.when})" if step.when else ""
        lines.append(f"# {number}. {step.why}{condition}")
        lines += [" ".join(w if "<" in w else shlex.quote(w) for w in argv) for argv in step.commands(run)]
    return lines


def promote(run: Run) -> Ended:
    """Take all steps and print the outcome with ``run.shell.say``. ``Interrupted`` is handled, not raised."""
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
        back = (
            f"\nto go back: {shlex.join(commands.deploy(run.p, run.back.image, acts.config_of_way_back(run)))}"
            if run.back
            else ""
        )
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
            return _recover(run, step.name)
    run.journal.keep_config(run.pushed, run.p.config)
    run.journal.end("promoted", good=run.pushed)
    run.shell.say(f"Promoted: {run.p.app} runs {run.reference}, config digest {run.p.config_digest}")
    return Ended.PROMOTED


_BEFORE_DEPLOY = frozenset(
    {"validate", "secrets", "way back", "login", "consent", "tag", "push", "manifest", "cors", "gpu version", "gpu"}
    | {"wake", "still the same"}
)


def _recover(run: Run, failed: str) -> Ended:
    back = run.back
    try:
        present = acts.present_machines(run)
        others = acts.deployed_by_others(run, present, failed == "deploy")
        left = machines.after_failed_deploy(present, back.image if back else None, run.pushed, others)
        if left is AfterFailure.REPLACED:
            run.shell.say(f"Not promoted: {left.value}.")
            run.journal.end("replaced by another deploy")
            return Ended.NOTHING_CHANGED if failed == "deploy" else Ended.NEEDS_A_PERSON
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
