"""Who a coach is: a signed cookie. The page lives on another site, so the cookie must be SameSite=None and Secure."""

from __future__ import annotations

import base64
import hashlib
import hmac

from sideline.settings import COOKIE_SECRET, MISTAKE

NAME = "coach"


def sign(coach: str) -> str:
    mark = hmac.new(COOKIE_SECRET, coach.encode(), hashlib.sha256).digest()
    return f"{coach}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"


def read(value: str | None) -> str | None:
    """The coach; None for a cookie that is absent or forged."""
    coach = (value or "").rpartition(".")[0]
    return coach if coach and hmac.compare_digest(sign(coach).encode(), (value or "").encode()) else None


def options() -> dict[str, object]:
    if MISTAKE == "cookie_lax":
        return {"httponly": True, "samesite": "lax"}
    return {"httponly": True, "samesite": "none", "secure": True}
