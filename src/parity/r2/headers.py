"""What R2 takes from the headers of an operation, and what it refuses. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from parity.r2.request import Request
from parity.r2.rules import Rulebook
from parity.r2.store.interface import Attributes

MAX_KEY = 1024
MAX_METADATA = 8192
MAX_PUT = (5 << 30) - (5 << 20)
STORAGE_CLASSES = frozenset({"STANDARD", "STANDARD_IA"})
CANNED_ACLS = frozenset(
    {
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
        "log-delivery-write",
    }
)
# Kept with the object and given back by GET and HEAD.
KEPT = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires")
METADATA = "x-amz-meta-"

_REFUSED_EXACTLY = frozenset(
    {
        "x-amz-tagging",
        "x-amz-tagging-directive",
        "x-amz-website-redirect-location",
        "x-amz-expected-bucket-owner",
        "x-amz-source-expected-bucket-owner",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-context",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "x-amz-mfa",
        "x-amz-request-payer",
        "x-amz-bypass-governance-retention",
        "x-amz-object-ownership",
    }
)
_REFUSED_PREFIXES = ("x-amz-grant-", "x-amz-object-lock-", "x-amz-bucket-object-lock-")


def screen(request: Request, rules: Rulebook) -> None:
    """Raise for a header that R2 does not implement. Raises rules 13, 20, 28, 30."""
    headers = request.headers
    if "x-amz-security-token" in headers or "X-Amz-Security-Token" in request.params:
        rules.refuse("session-token")
    for name, value in headers.items():
        if not name.startswith("x-amz-"):
            continue
        if name in _REFUSED_EXACTLY or name.startswith(_REFUSED_PREFIXES):
            rules.refuse("header", name=name, value=value)
    encryption = headers.get("x-amz-server-side-encryption")
    if encryption is not None and encryption != "AES256":
        rules.refuse("header", name="x-amz-server-side-encryption", value=encryption)
    acl = headers.get("x-amz-acl")
    if acl is not None and acl not in CANNED_ACLS:
        rules.refuse("header", name="x-amz-acl", value=acl)
    if headers.get("x-amz-storage-class", "STANDARD") not in STORAGE_CLASSES:
        rules.refuse("storage-class")
    check_key(request.key, rules)


def check_key(key: str, rules: Rulebook) -> None:
    if len(key.encode()) > MAX_KEY:
        rules.refuse("key-too-long")


def attributes(headers: Mapping[str, str], rules: Rulebook) -> Attributes:
    """What is kept of a write's headers. Raises rule 20."""
    kept = {name: headers[name] for name in KEPT if name in headers}
    encodings = [part.strip() for part in kept.pop("content-encoding", "").split(",")]
    encoding = ",".join(part for part in encodings if part and part != "aws-chunked")
    if encoding:
        kept["content-encoding"] = encoding
    metadata = {name: value for name, value in headers.items() if name.startswith(METADATA)}
    size = sum(len(name) - len(METADATA) + len(value.encode()) for name, value in metadata.items())
    if size > MAX_METADATA:
        rules.refuse("metadata-too-large")
    return Attributes({**kept, **metadata}, headers.get("x-amz-storage-class", "STANDARD"))


def response_headers(found: Attributes) -> list[tuple[str, str]]:
    """The kept headers as GET and HEAD give them back."""
    headers = list(found.headers.items())
    if "content-type" not in found.headers:
        headers.append(("content-type", "application/octet-stream"))
    if found.storage_class != "STANDARD":
        headers.append(("x-amz-storage-class", found.storage_class))
    return headers
