"""The function behind each step of a promotion, in the order of the steps.

Each may raise ``CommandFailed``, ``UnreadableAnswer`` or ``Refused``. Each is idempotent, so a promotion can be
repeated from its first step.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from parity.config.drift import drift
from parity.promote import commands, machines, manifest, preflight, releases
from parity.promote.machines import Machine, UnreadableAnswer
from parity.promote.releases import WayBack
from parity.promote.run import Refused, Run
from parity.promote.shell import CommandFailed

# What is compared with the Machines that run. Fly shows the other parts in other words than fly.toml.
SHOWN = ("guest", "mounts")


def validate(run: Run) -> None:
    run.shell.show(commands.validate_config(run.p))


def secrets(run: Run) -> None:
    found = preflight.parse_secret_names(run.shell.capture(commands.list_secrets(run.p)).decode())
    optional = run.p.optional_secrets
    problems = preflight.secret_differences(run.p.app, run.secrets, found, run.secrets_file, optional)
    if problems:
        raise Refused("\n".join(problems))
    if missing := sorted(set(optional) - set(found)):
        run.shell.say(f"WARNING: Fly has no {', '.join(missing)}, which parity.toml calls optional")
    staged = sorted(name for name, status in found.items() if status == "Staged")
    if staged:
        run.shell.say(f"This deploy also applies the staged secrets: {', '.join(staged)}")


def find_way_back(run: Run) -> None:
    assert run.journal.current is not None
    present = present_machines(run)
    _say_changes(run, present)
    run.seen = frozenset(machine.digest for machine in present)
    listed = releases.parse_releases(run.shell.capture(commands.list_releases(run.p)).decode())
    bad = set(run.journal.bad)
    earlier = run.journal.current
    if earlier.back_to and {m.digest for m in present} <= {earlier.pushed, earlier.back_to.rpartition("@")[2]}:
        # The Machines run only images of the interrupted promotion, so its rollback image is still the right one.
        run.back = WayBack(run.journal.current.back_to, "an interrupted promotion would have gone back to it")
    else:
        run.back = releases.way_back(present, listed, run.journal.good, bad, lambda image: _digest_of(run, image))
    run.journal.current.back_to = run.back.image if run.back else ""
    run.shell.say(
        f"To go back to: {run.back.image} ({run.back.why})" if run.back else "There is nothing to go back to."
    )
    if run.back:
        _save_config(run, run.back, present)


def _say_changes(run: Run, present: Sequence[Machine]) -> None:
    """Warn of what the deploy changes besides the image, such as the memory: a checkout may have an old fly.toml.

    It is no refusal, because a change of fly.toml is promoted in the same way.
    """
    shown = [{"id": machine.id, "config": machine.config} for machine in present if machine.config]
    for difference in drift(run.fly, shown, SHOWN) if run.fly and shown else []:
        run.shell.say(f"WARNING: {difference}. This deploy changes it")


def _save_config(run: Run, back: WayBack, present: Sequence[Machine]) -> None:
    """Find the configuration to roll back with.

    It is the one that this checkout promoted the image with. If there is none, and every Machine still runs the image,
    Fly's current configuration is saved.
    """
    kept = run.journal.config_of(back.digest)
    if kept.exists():
        run.saved_config = kept
        return
    if any(machine.digest != back.digest for machine in present):
        run.shell.say("A rollback would use today's configuration: that of the last good image is unknown.")
        return
    try:
        run.shell.show(commands.save_config(run.p, kept))
    except CommandFailed as error:
        run.shell.say(f"A rollback would use today's configuration: {error}")
        return
    run.saved_config = kept if kept.exists() else None


def _digest_of(run: Run, image: str) -> str:
    """The digest that the registry has for an image reference now; empty if it has none."""
    try:
        return manifest.read(run.shell.capture(commands.read_manifest(run.p, image))).digest
    except (CommandFailed, UnreadableAnswer):
        return ""


def login(run: Run) -> None:
    run.shell.show(commands.log_in_to_registry(run.p))


def consent(run: Run) -> None:
    """Refuse a release that cannot be rolled back, unless --consent-no-way-back was given.

    The old image says which data formats it knows; the new image says whether the old one can follow it.
    """
    if run.back is None:
        return
    problem = f"{run.back.image} does not say which data it can read, so a rollback to it may fail"
    try:
        known = run.shell.capture(commands.ask_what_is_known(run.p, run.back.image)).decode().strip()
        problem = f"after this release, a rollback to {run.back.image} is impossible"
        run.shell.show(commands.ask_for_way_back(run.p, known))
    except CommandFailed as error:
        if not run.no_way_back:
            raise Refused(f"{problem}: {error}\n  to promote it nevertheless: --consent-no-way-back") from None
        run.shell.say(f"WARNING: {problem}; --consent-no-way-back was given")


def tag(run: Run) -> None:
    run.shell.show(commands.tag_image(run.p))


def push(run: Run) -> None:
    run.shell.show(commands.push_image(run.p))


def compare_manifest(run: Run) -> None:
    """Check that the registry holds the checked image, and store the digest of the pushed manifest."""
    p, shell = run.p, run.shell
    found = manifest.read(shell.capture(commands.read_manifest(p, p.tagged)))
    if found.image:
        found = manifest.read(shell.capture(commands.read_manifest(p, f"{p.repository}@{found.image}")))
    if found.config_digest != p.config_digest:
        raise Refused(
            f"{p.tagged} is not the image that was checked\n"
            f"  config digest there: {found.config_digest}\n  in the receipt:      {p.config_digest}"
        )
    assert run.journal.current is not None
    run.pushed = run.journal.current.pushed = found.digest
    shell.say(f"The registry holds the checked image as {found.digest}")


def apply_cors(run: Run) -> None:
    run.shell.show(commands.apply_bucket_cors(run.p))


def compare_gpu(run: Run) -> None:
    assert run.p.gpu is not None
    try:
        text = run.shell.capture(commands.gpu_history(run.p)).decode()
        deployed = str(json.loads(text)[0].get("Tag") or "")
    except (CommandFailed, ValueError, IndexError, KeyError, TypeError, AttributeError):
        deployed = ""
    run.gpu_outdated = deployed != run.p.gpu.version
    what = "as checked" if not run.gpu_outdated else f"of version {deployed or 'unknown'}, not {run.p.gpu.version}"
    run.shell.say(f"The GPU functions of {run.p.gpu.app} are {what}")


def deploy_gpu(run: Run) -> None:
    if run.gpu_outdated:
        run.shell.show(commands.gpu_deploy(run.p))


def wake(run: Run) -> None:
    for machine_id in machines.asleep(present_machines(run)):
        run.shell.show(commands.start_machine(run.p, machine_id))


def assert_nobody_deployed(run: Run) -> None:
    """Another checkout may have promoted since: the way back that was found would take its image away."""
    running = {machine.digest for machine in present_machines(run)}
    if running != run.seen:
        was, now = (", ".join(sorted(found)) or "nothing" for found in (run.seen, running))
        raise Refused(f"another deploy changed {run.p.app} meanwhile: it ran {was}, and now {now}; run this again")


def deployed_by_others(run: Run, present: Sequence[Machine], deploy_failed: bool) -> set[str]:
    """Digests that run because of another promotion's deploy, from another checkout.

    A deploy that failed put no third image in force, so one that runs is another's. After a deploy that succeeded, the
    newest release tells it from a digest that Fly itself swapped.
    """
    unknown = {machine.digest for machine in present} - {run.pushed, *run.seen}
    if not unknown or deploy_failed:
        return unknown
    listed = releases.parse_releases(run.shell.capture(commands.list_releases(run.p)).decode())
    newest = releases.digest_of(listed[0], lambda image: _digest_of(run, image)) if listed else ""
    return unknown & {newest}


def deploy(run: Run) -> None:
    run.shell.show(commands.deploy(run.p, run.reference))


def verify_pushed(run: Run) -> None:
    _verify(run, run.pushed)


def assert_commit(run: Run) -> None:
    """Wait until the public URL reports the commit that was checked. Raises ``Refused`` after the deadline."""
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


def check_live(run: Run) -> None:
    run.shell.show(commands.live_checks(run.p))


def config_of_way_back(run: Run) -> Path:
    return run.saved_config or run.p.config


def roll_back(run: Run) -> None:
    assert run.back is not None
    run.shell.say(f"Rolling back to {run.back.image}, with {config_of_way_back(run)}")
    run.shell.show(commands.deploy(run.p, run.back.image, config_of_way_back(run)))


def verify_back(run: Run) -> None:
    assert run.back is not None
    wake(run)
    _verify(run, run.back.digest)


def present_machines(run: Run) -> list[Machine]:
    return machines.parse_machines(run.shell.capture(commands.list_machines(run.p)).decode())


def _verify(run: Run, digest: str) -> None:
    """Wait until every Machine runs ``digest`` and is healthy. Raises ``Refused`` naming the Machines that do not."""
    deadline = time.monotonic() + run.patience.deadline_s
    while True:
        current = present_machines(run)
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
