"""Validation of ids. Ids are the only text of a client that becomes part of a key or a path."""

import re
import secrets

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
ID_FORM = "1 to 64 letters, digits, - and _, beginning with a letter or digit"


class InvalidId(ValueError):
    """A text that is not a valid id. `what` names the kind of id, for the message."""

    def __init__(self, what: str, text: str) -> None:
        self.what = what
        self.text = text
        super().__init__(f"{what} {text[:80]!r} is not valid: expected {ID_FORM}")


def is_id(text: str) -> bool:
    """Whether the whole `text` is a valid id. A trailing newline makes it invalid."""
    return _ID.fullmatch(text) is not None


def check_id(text: str, what: str = "id") -> str:
    """`text` itself; raises `InvalidId` when it is no identifier."""
    if not is_id(text):
        raise InvalidId(what, text)
    return text


def new_id(prefix: str = "") -> str:
    """A random identifier of 80 bits, after `prefix` and an underscore when one is given."""
    token = secrets.token_hex(10)
    return f"{prefix}_{token}" if prefix else token
