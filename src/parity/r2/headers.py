"""What R2 takes from the headers of an operation, and what it refuses. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from parity.r2 import answers
from parity.r2.errors import R2Error
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
    }
)
# Kept with the object and given back by GET and HEAD.
KEPT = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires")
METADATA = "x-amz-meta-"
# The content-type that an object without one is given back with.
UNTYPED = "application/octet-stream"

_OWNER = ("x-amz-expected-bucket-owner",)
_WRITE = (
    *_OWNER,
    "x-amz-tagging",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-website-redirect-location",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-bucket-key-enabled",
)
_COPY = (*_WRITE, "x-amz-source-expected-bucket-owner", "x-amz-tagging-directive", "x-amz-checksum-algorithm")
_DELETE = (*_OWNER, "x-amz-mfa", "x-amz-bypass-governance-retention")
# Operation → headers that it refuses; all others refuse the bucket's owner only.
REFUSED: Mapping[str, tuple[str, ...]] = {
    "PutObject": _WRITE,
    "CreateMultipartUpload": (*_WRITE, "x-amz-checksum-type"),
    "CopyObject": _COPY,
    "UploadPartCopy": (*_OWNER, "x-amz-source-expected-bucket-owner"),
    "DeleteObject": _DELETE,
    "DeleteObjects": _DELETE,
}
_WRITES = frozenset({"PutObject", "CreateMultipartUpload", "CopyObject"})
_CUSTOMER_KEY = "server-side-encryption-customer-"


def screen(request: Request, operation: str, rules: Rulebook) -> None:
    """Raise for a header that R2 does not implement. Raises rules 13, 20, 28, 30 and 33."""
    headers = request.headers
    if "x-amz-security-token" in headers or "X-Amz-Security-Token" in request.params:
        rules.refuse_if_on(answers.SESSION_TOKEN)
    for name in REFUSED.get(operation, _OWNER):
        if name in headers:
            rules.refuse_if_on(answers.HEADER, name=name, value=headers[name])
    if operation in _WRITES:
        encryption = headers.get("x-amz-server-side-encryption")
        if encryption is not None and encryption != "AES256":
            rules.refuse_if_on(answers.HEADER, name="x-amz-server-side-encryption", value=encryption)
        acl = headers.get("x-amz-acl")
        if acl is not None and acl not in CANNED_ACLS:
            rules.refuse_if_on(answers.HEADER, name="x-amz-acl", value=acl)
        if headers.get("x-amz-storage-class", "STANDARD") not in STORAGE_CLASSES:
            rules.refuse_if_on(answers.STORAGE_CLASS)
    for prefix in ("x-amz-", "x-amz-copy-source-"):
        _screen_customer_key(headers, prefix + _CUSTOMER_KEY, rules)
    check_key(request.key, rules)


def _screen_customer_key(headers: Mapping[str, str], prefix: str, rules: Rulebook) -> None:
    """R2 encrypts with keys of the customer's; this stand-in does not, and says so instead of storing plain text."""
    algorithm, key, digest = (headers.get(prefix + part) for part in ("algorithm", "key", "key-md5"))
    if algorithm is None and key is None and digest is None:
        return
    start = "Requests specifying Server Side Encryption with Customer provided keys must provide"
    if key is None:
        rules.refuse_if_on(answers.CUSTOMER_KEY, problem=f"{start} an appropriate secret key.")
    if digest is None:
        rules.refuse_if_on(answers.CUSTOMER_KEY, problem=f"{start} the client calculated MD5 of the secret key.")
    if algorithm is None:
        rules.refuse_if_on(answers.CUSTOMER_KEY, problem=f"{start} a valid encryption algorithm.")
    elif algorithm != "AES256":
        rules.refuse_if_on(answers.CUSTOMER_ALGORITHM)
    raise R2Error(501, "NotImplemented", f"Header '{prefix}algorithm' with value '{algorithm}' not implemented")


def check_key(key: str, rules: Rulebook) -> None:
    if len(key.encode()) > MAX_KEY:
        rules.refuse_if_on(answers.KEY_TOO_LONG)


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
        rules.refuse_if_on(answers.METADATA_TOO_LARGE)
    return Attributes({**kept, **metadata}, headers.get("x-amz-storage-class", "STANDARD"))


def response_headers(found: Attributes) -> list[tuple[str, str]]:
    """The kept headers as GET and HEAD give them back."""
    headers = list(found.headers.items())
    if "content-type" not in found.headers:
        headers.append(("content-type", UNTYPED))
    if found.storage_class != "STANDARD":
        headers.append(("x-amz-storage-class", found.storage_class))
    return headers
