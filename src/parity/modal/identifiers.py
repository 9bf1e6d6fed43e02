"""Ids and tokens. Ids of named things follow from their names, so that handles survive a restart of the stand-in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz"
_LENGTH = 22


def stable_id(prefix: str, *parts: str | bytes) -> str:
    """The id of a thing that has a name: equal parts give an equal id, in every process and for ever."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    number = int.from_bytes(digest.digest(), "big")
    text = ""
    for _ in range(_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        text += _ALPHABET[rest]
    return f"{prefix}-{text}"


def fresh_id(prefix: str) -> str:
    """The id of a thing that happens once: a call, an input, a container."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def encode_token(**claims: Any) -> str:
    """An unsigned JWT. The SDK reads ``idx`` and ``exp`` out of such tokens, so they must parse as one."""
    return ".".join([_part({"alg": "none", "typ": "JWT"}), _part(claims), "x"])


def decode_token(token: str) -> dict[str, Any]:
    """The claims. Raises ValueError for anything that ``encode_token`` did not make."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError) as error:
        raise ValueError(f"not a token of this server: {token[:40]!r}") from error
    if not isinstance(claims, dict):
        raise ValueError("not a token of this server: no claims in it")
    return claims


def sign(secret: bytes, text: str) -> str:
    """Proof that this server gave ``text`` out, such as a container's id."""
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def _part(data: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()
