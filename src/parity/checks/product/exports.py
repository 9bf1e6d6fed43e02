"""A reel is rendered, by Modal or on the Machine, and is in the bucket before it is called complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parity.checks.kit.media import Probe
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, Need
from parity.checks.product.caller import new_profile, user_prefix
from parity.checks.product.journey import Cut, cut, download, start_export, until_over, upload

VIDEO_SECONDS = 30
CUTS = (Cut(2.0, 5.0), Cut(20.0, 22.5))
FRAME = (1280, 720)
SMALL_SECONDS, SMALL_CUTS = 6, (Cut(0.5, 2.0), Cut(3.0, 4.5))
RENDER_FUNCTION = "render_reel"
# How long a render of a few seconds may take on a shared CPU.
RENDER_S = 150.0
# Containers add codec padding at both ends of each clip.
TOLERANCE_S = 0.35


@dataclass(frozen=True)
class ExportObservation:
    """The job when it was first seen over, the bucket's keys at that moment, and the file."""

    job: Mapping[str, Any]
    key: str
    keys: list[str]
    probe: Probe | None
    seconds: float
    frame: tuple[int, int]
    modal_renders: int
    modal_wanted: bool


async def _modal_renders(tools: Tools) -> set[str]:
    return {call["id"] for call in await tools.admin.modal_calls() if call["function"].endswith(RENDER_FUNCTION)}


async def observe_modal(tools: Tools) -> ExportObservation:
    """The real thing: 30 s of 1280×720, two clips, an overlay."""
    video = await tools.media.video(VIDEO_SECONDS)
    before = await _modal_renders(tools)
    caller = await new_profile(tools)
    game = await upload(caller, video)
    clips = await cut(caller, game["id"], CUTS)
    export = await start_export(caller, clips, overlay="Parity 1:0", quality="standard")
    job = await until_over(caller, f"/api/exports/{export}", RENDER_S)
    keys = await tools.admin.keys(user_prefix(tools))
    probe = await download(tools, caller, job["key"]) if job["status"] == "complete" else None
    rendered = len(await _modal_renders(tools) - before)
    seconds = sum(one.seconds for one in CUTS)
    full = f"{user_prefix(tools)}profiles/{caller.profile}/{job['key']}"
    return ExportObservation(job, full, keys, probe, seconds, FRAME, rendered, True)


async def observe_local(tools: Tools) -> ExportObservation:
    """The same on the Machine, smaller: it has one shared CPU and 512 MB."""
    video = await tools.media.video(SMALL_SECONDS, "640x360")
    async with tools.stage.environment({"MODAL_ENABLED": "false"}):
        before = await _modal_renders(tools)
        caller = await new_profile(tools)
        game = await upload(caller, video)
        clips = await cut(caller, game["id"], SMALL_CUTS)
        export = await start_export(caller, clips, overlay="", quality="draft")
        job = await until_over(caller, f"/api/exports/{export}", RENDER_S)
        keys = await tools.admin.keys(user_prefix(tools))
        probe = await download(tools, caller, job["key"]) if job["status"] == "complete" else None
        rendered = len(await _modal_renders(tools) - before)
    seconds = sum(one.seconds for one in SMALL_CUTS)
    full = f"{user_prefix(tools)}profiles/{caller.profile}/{job['key']}"
    return ExportObservation(job, full, keys, probe, seconds, (854, 480), rendered, False)


def judge(seen: ExportObservation) -> list[str]:
    reasons = []
    if seen.job["status"] != "complete":
        reasons.append(f"the export is {seen.job['status']}: {seen.job.get('reason')}")
    elif seen.key not in seen.keys:
        reasons.append(f"the export is called complete, but the bucket has no {seen.key}")
    if seen.probe is not None:
        reasons += judge_file(seen.probe, seen.seconds, seen.frame)
        if seen.job.get("size") != seen.probe.size_bytes:
            reasons.append(f"the export says {seen.job.get('size')} bytes, the file has {seen.probe.size_bytes}")
    if seen.modal_wanted and not seen.modal_renders:
        reasons.append(f"no {RENDER_FUNCTION} ran on Modal: the Machine did the work itself")
    if not seen.modal_wanted and seen.modal_renders:
        reasons.append(f"{seen.modal_renders} × {RENDER_FUNCTION} ran on Modal though MODAL_ENABLED is false")
    return reasons


def judge_file(probe: Probe, seconds: float, frame: tuple[int, int]) -> list[str]:
    """A reel is H.264 with AAC, as long as its clips together, in the frame that was asked for."""
    reasons = []
    if (probe.video, probe.audio) != ("h264", "aac"):
        reasons.append(f"the reel is {probe.video}/{probe.audio or 'silent'}, h264/aac expected")
    if abs(probe.duration_s - seconds) > TOLERANCE_S:
        reasons.append(f"the reel lasts {probe.duration_s:.2f} s, its clips {seconds:.2f} s")
    if (probe.width, probe.height) != frame:
        reasons.append(f"the reel is {probe.width}×{probe.height}, {frame[0]}×{frame[1]} expected")
    return reasons


NEEDS = frozenset({Need.ADMIN, Need.FFMPEG})

WITH_MODAL: Check[ExportObservation] = Check(
    id="export-with-modal",
    title="A real video becomes a reel on Modal, in the bucket before it is called complete, right by ffprobe",
    capability="G",
    observe=observe_modal,
    judge=judge,
    broken=Broken("the app does not use Modal", Env({"MODAL_ENABLED": "false"})),
    needs=NEEDS,
    deadline_s=RENDER_S + 90,
)

MODAL_OFF: Check[ExportObservation] = Check(
    id="export-modal-off",
    title="With MODAL_ENABLED=false the Machine renders the reel itself",
    capability="L",
    observe=observe_local,
    judge=judge,
    broken=Broken("the switch is ignored", Env({"MODAL_ENABLED": "true"})),
    needs=NEEDS,
    deadline_s=RENDER_S + 120,
)


@dataclass(frozen=True)
class KeysObservation:
    """Keys that using the product added to the bucket; ``prefix`` is what each must begin with."""

    added: list[str]
    prefix: str


async def observe_keys(tools: Tools) -> KeysObservation:
    before = set(await tools.admin.keys())
    caller = await new_profile(tools)
    await caller.call("PATCH", "/api/settings", {"theme": "dark"})
    game = await upload(caller, await tools.media.video(SMALL_SECONDS, "640x360"))
    clips = await cut(caller, game["id"], SMALL_CUTS)
    extraction = await caller.call("POST", f"/api/clips/{clips[0]}/extract")
    export = await start_export(caller, clips, overlay="", quality="draft")
    await until_over(caller, f"/api/exports/{export}", RENDER_S)
    await until_over(caller, f"/api/extractions/{extraction['id']}", RENDER_S)
    return KeysObservation(
        added=sorted(set(await tools.admin.keys()) - before),
        prefix=f"{tools.project.fly.env.get('APP_ENV', '')}/",
    )


# What use leaves: parts of keys, each of which must be there, or the check would pass on an empty bucket.
KINDS = ("/profiles.json", "/database", "/games/", "/clips/", "/exports/")


def judge_keys(seen: KeysObservation) -> list[str]:
    reasons = [f"{key} is not below {seen.prefix}" for key in seen.added if not key.startswith(seen.prefix)]
    return reasons + [f"no key with {kind} was added" for kind in KINDS if not any(kind in key for key in seen.added)]


KEYS: Check[KeysObservation] = Check(
    id="keys-under-prefix",
    title="Every key that use adds to the bucket begins with APP_ENV, those of videos and of Modal too",
    capability="M",
    observe=observe_keys,
    judge=judge_keys,
    broken=Broken("APP_ENV is dev", Env({"APP_ENV": "dev"})),
    needs=NEEDS,
    deadline_s=RENDER_S + 120,
)
