"""The promotion as a list of steps, for ``--dry-run``; ``runner`` takes the same commands in the same order."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from parity.promote import commands
from parity.promote.commands import Argv, Promotion

PUSHED = "<digest of the pushed manifest>"
BEFORE = "<digest that ran before>"
SLEEPING = "<id of each sleeping Machine>"


@dataclass(frozen=True)
class Step:
    """One command and what it is for. ``when`` is empty for a step that is always taken."""

    why: str
    argv: Argv
    when: str = ""


def promotion_plan(p: Promotion) -> list[Step]:
    """Every command in order; what only a run can know stands in angle brackets."""
    pushed, before = f"{p.repository}@{PUSHED}", f"{p.repository}@{BEFORE}"
    steps = [
        Step("refuse misspelt keys, which a deploy would take", commands.validate_config(p)),
        Step("compare the names of the secrets", commands.list_secrets(p)),
        Step("remember the image that runs now", commands.list_machines(p)),
        Step("log in to the registry", commands.log_in_to_registry(p)),
        Step("name the image that was checked", commands.tag_image(p)),
        Step("push it", commands.push_image(p)),
        Step(f"assert that its config digest is {p.config_digest}", commands.read_manifest(p, p.tagged)),
    ]
    if p.cors_file:
        steps.append(Step("apply the bucket's CORS policy", commands.apply_bucket_cors(p)))
    wake = commands.start_machine(p, SLEEPING)
    verify = Step("assert the running image_ref.digest and the checks of each Machine", commands.list_machines(p))
    return [
        *steps,
        Step("wake it: a stopped Machine is updated without being started", wake, "a Machine sleeps"),
        Step("deploy by digest", commands.deploy(p, pushed)),
        Step("wake it again", wake, "a Machine sleeps"),
        verify,
        Step("run the live-safe checks against the public URL", commands.live_checks(p)),
        Step("roll back", commands.deploy(p, before), "the deploy or what follows it fails"),
        Step("assert that the earlier image runs", commands.list_machines(p), "it was rolled back"),
    ]


def plan_lines(steps: list[Step]) -> list[str]:
    """The plan as text that can be pasted, but for the angle brackets."""
    lines = []
    for number, step in enumerate(steps, 1):
        condition = f" (only when {step.when})" if step.when else ""
        lines += [f"# {number}. {step.why}{condition}", _pasteable(step.argv)]
    return lines


def _pasteable(argv: Argv) -> str:
    return " ".join(word if "<" in word else shlex.quote(word) for word in argv)
