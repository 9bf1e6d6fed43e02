"""Every check, in the order in which they run: cheap ones first, those that replace Machines last."""

from __future__ import annotations

from typing import Any

from parity.checks import cors, environment, health, image
from parity.checks.model import Check

CHECKS: tuple[Check[Any], ...] = (
    health.HEALTH,
    health.STATUS,
    environment.ENVIRONMENT,
    image.CONTENTS,
    cors.PREFLIGHT,
    cors.ERRORS,
)
