"""Passwords, and tokens that live for an hour (JWT, HS256)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time

from scout.settings import JWT_SECRET, MISTAKE

HOUR_S = 3600


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_HEADER = _encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())


def _signature(text: str) -> str:
    return _encoded(hmac.new(JWT_SECRET, text.encode(), "sha256").digest())


def token_for(account: str) -> str:
    claims = {"sub": account, "exp": int(time.time()) + HOUR_S}
    text = f"{_HEADER}.{_encoded(json.dumps(claims).encode())}"
    return f"{text}.{_signature(text)}"


def account_of(token: str, *, verify: bool = MISTAKE != "signature_unchecked") -> str | None:
    """Whose token it is; None for one that is not ours, or too old."""
    text, _, signature = token.rpartition(".")
    if verify and not hmac.compare_digest(_signature(text).encode(), signature.encode()):
        return None
    try:
        body = text.partition(".")[2]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return str(claims["sub"]) if claims["exp"] > time.time() else None
    except (ValueError, KeyError, TypeError):
        return None


def hashed(password: str, salt: str = "") -> str:
    salt = salt or os.urandom(8).hex()
    return f"{salt}${hashlib.scrypt(password.encode(), salt=salt.encode(), n=2**12, r=8, p=1).hex()}"


def fits(password: str, stored: str) -> bool:
    return hmac.compare_digest(hashed(password, stored.partition("$")[0]), stored)
