"""Every check, in the order in which they run: cheap ones first, those that replace Machines last."""

from __future__ import annotations

from typing import Any

from parity.checks import browser_cors, cors, environment, health, image
from parity.checks.model import Check
from parity.checks.product import bad_input, bad_videos, durability, exports, page, sockets, uploads

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
    page.PAGE,
    exports.MODAL_OFF,
    durability.OUTAGE,
    durability.SURVIVAL,
)
