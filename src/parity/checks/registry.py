"""Every check, in the order in which they run: cheap ones first, those that replace Machines last."""

from __future__ import annotations

from typing import Any

from parity.checks import browser_cors, cors, environment, health, image
from parity.checks.model import Check
from parity.checks.product import (
    bad_input,
    bad_videos,
    bursts,
    durability,
    exports,
    lost_answer,
    old_databases,
    page,
    sockets,
    stopping,
    two_machines,
    uploads,
)

CHECKS: tuple[Check[Any], ...] = (
    health.HEALTH,
    health.STATUS,
    environment.ENVIRONMENT,
    image.CONTENTS,
    cors.PREFLIGHT,
    cors.ERRORS,
    browser_cors.IN_BROWSER,
    bad_input.BAD_INPUT,
    bad_videos.BAD_VIDEOS,
    uploads.PRESIGNED,
    uploads.IN_PARTS,
    exports.KEYS,
    exports.WITH_MODAL,
    sockets.EXPORT,
    sockets.EXTRACTIONS,
    sockets.FAR,
    page.PAGE,
    bursts.BURST,
    old_databases.OLD_DATABASES,
    lost_answer.LOST_ANSWER,
    two_machines.SIGHT,
    two_machines.RACE,
    exports.MODAL_OFF,
    stopping.STOP,
    durability.OUTAGE,
    durability.SURVIVAL,
)
