"""One S3 request as it was received: method, raw path, query and headers, bucket and key."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from parity.r2.errors import R2Error
from parity.r2.rules import Rulebook


@dataclass(frozen=True, slots=True)
class Request:
    """``headers`` have lower-case names; repeated ones are joined with a comma, as signatures require. They include
    those in the query of a presigned URL (rule 34). ``sent`` has only the real headers, which a signature covers.

    ``key`` is in Unicode's form NFC (rule 35), ``written_key`` as the client wrote it.
    """

    method: str
    raw_path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    sent: Mapping[str, str]
    bucket: str
    key: str
    written_key: str
    connection: int = 0
    params: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    @property
    def origin(self) -> str | None:
        return self.headers.get("origin")

    @property
    def has_body(self) -> bool:
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    @property
    def content_length(self) -> int | None:
        """The declared length; ``None`` when there is none. The HTTP parser refuses a malformed one."""
        value = self.headers.get("content-length")
        return int(value) if value and value.isascii() and value.isdecimal() else None


def decode_text(text: str) -> str:
    """``text`` without its percent-encoding. Raises ``R2Error`` 400 for what is not UTF-8."""
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise R2Error(400, "InvalidURI", "Couldn't parse the specified URI.") from None


def parse_query(raw: str) -> tuple[tuple[str, str], ...]:
    """Names and values in order; a name without ``=`` has the empty value; ``+`` is a space."""
    pairs = []
    for item in raw.split("&"):
        if item:
            name, _, value = item.replace("+", "%20").partition("=")
            pairs.append((decode_text(name), decode_text(value)))
    return tuple(pairs)


def split_path(raw_path: str, host: str, hosts: Collection[str]) -> tuple[str, str]:
    """Bucket and key, decoded: of the path, or of ``bucket.host`` where ``host`` is one of ``hosts``."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    bucket, dot, rest = name.partition(".")
    path = raw_path.removeprefix("/")
    if dot and rest in hosts and name not in hosts:
        return bucket, decode_text(path)
    first, _, key = path.partition("/")
    return decode_text(first), decode_text(key)


def normalized(key: str, rules: Rulebook) -> str:
    """The key under which R2 stores ``key``: keys that differ only in their Unicode composition are the same object."""
    return unicodedata.normalize("NFC", key) if rules.holds(35) and not key.isascii() else key


# Parameters of a presigned URL that belong to the signature; the other ``x-amz-…`` parameters stand for headers.
_SIGNING = frozenset(
    f"x-amz-{name}"
    for name in (
        "algorithm",
        "content-sha256",
        "credential",
        "date",
        "expires",
        "security-token",
        "signature",
        "signedheaders",
    )
)


def is_header_parameter(name: str) -> bool:
    """Whether a parameter of a presigned URL stands for a header. AWS presigners write headers into the query this
    way."""
    name = name.lower()
    return name.startswith("x-amz-") and name not in _SIGNING


def build(
    method: str,
    raw_path: str,
    raw_query: str,
    raw_headers: Collection[tuple[bytes, bytes]],
    hosts: Collection[str],
    connection: int = 0,
    rules: Rulebook = Rulebook(),  # immutable
) -> Request:
    """The request of an ASGI scope. Raises ``R2Error`` 400 for what is not UTF-8."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw_headers:
        name, value = raw_name.decode("latin-1"), _header_text(raw_value)
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    query = parse_query(raw_query)
    bucket, key = split_path(raw_path, headers.get("host", ""), hosts)
    params: dict[str, str] = {}
    for name, value in query:
        params.setdefault(name, value)
    effective: Mapping[str, str] = headers
    if "X-Amz-Credential" in params and "authorization" not in headers and rules.holds(34):
        carried = {name.lower(): value for name, value in params.items() if is_header_parameter(name)}
        effective = carried | headers if carried else headers
    return Request(method, raw_path, query, effective, headers, bucket, normalized(key, rules), key, connection, params)


def _header_text(raw: bytes) -> str:
    """Header values are UTF-8 where they can be, as R2's metadata are, else Latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
