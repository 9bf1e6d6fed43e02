"""Which headers of an operation R2 accepts and stores, and which it refuses. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping

from parity.r2 import answers, encoded_words
from parity.r2.request import Request
from parity.r2.rules import Rulebook
from parity.r2.sniff import UNTYPED
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
# Stored with the object and returned by GET and HEAD.
KEPT = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires")
METADATA = "x-amz-meta-"

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
# Operation → headers that it refuses. All other operations refuse only the header of the expected bucket owner.
REFUSED: Mapping[str, tuple[str, ...]] = {
    "PutObject": _WRITE,
    "CreateMultipartUpload": _WRITE,
    "UploadPart": (*_OWNER, "x-amz-server-side-encryption"),
    "CopyObject": _COPY,
    "UploadPartCopy": (
        *_OWNER,
        "x-amz-source-expected-bucket-owner",
        "x-amz-copy-source-if-match",
        "x-amz-copy-source-if-none-match",
        "x-amz-copy-source-if-modified-since",
        "x-amz-copy-source-if-unmodified-since",
    ),
    "DeleteObject": _DELETE,
    "DeleteObjects": _DELETE,
}
_WRITES = frozenset({"PutObject", "CreateMultipartUpload", "CopyObject"})
_CUSTOMER_KEY = "server-side-encryption-customer-"


def screen(request: Request, operation: str, rules: Rulebook) -> None:
    """Raise for a header that R2 does not implement. Raises rules 13, 20, 28 and 30."""
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
    check_key(request.key, rules)


def customer_key(headers: Mapping[str, str], rules: Rulebook, prefix: str = "x-amz-") -> str:
    """The MD5, in base64, of the customer's key (SSE-C) that the headers give; empty without one. Raises rule 33."""
    start = prefix + _CUSTOMER_KEY
    algorithm, key, digest = (headers.get(start + part) for part in ("algorithm", "key", "key-md5"))
    if algorithm is None and key is None and digest is None:
        return ""
    must = "Requests specifying Server Side Encryption with Customer provided keys must provide"
    if key is None:
        rules.refuse_if_on(answers.CUSTOMER_KEY, problem=f"{must} an appropriate secret key.")
    if digest is None:
        rules.refuse_if_on(answers.CUSTOMER_KEY, problem=f"{must} the client calculated MD5 of the secret key.")
    if algorithm is None:
        rules.refuse_if_on(answers.CUSTOMER_KEY, problem=f"{must} a valid encryption algorithm.")
    elif algorithm != "AES256":
        rules.refuse_if_on(answers.CUSTOMER_ALGORITHM)
    try:
        secret = base64.b64decode(key or "", validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != 32:
        problem = "The secret key was invalid for the specified algorithm."
        rules.refuse_if_on(answers.CUSTOMER_KEY, problem=problem)
    actual = base64.b64encode(hashlib.md5(secret, usedforsecurity=False).digest()).decode()
    if digest != actual:
        problem = "The calculated MD5 hash of the key did not match the hash that was provided."
        rules.refuse_if_on(answers.CUSTOMER_KEY, problem=problem)
    return actual


def check_customer_key(stored: str, given: str, rules: Rulebook) -> None:
    """A read must send the customer key with which the object was written, and none for an object without one. Raises
    rule 33."""
    if stored == given:
        return
    if not given:
        rules.refuse_if_on(answers.CUSTOMER_KEY_MISSING)
    elif not stored:
        rules.refuse_if_on(answers.CUSTOMER_KEY_UNUSED)
    else:
        rules.refuse_if_on(answers.CUSTOMER_KEY_WRONG)


def customer_key_headers(stored: str) -> list[tuple[str, str]]:
    """The response headers that describe the customer key of an object or a part."""
    if not stored:
        return []
    start = "x-amz-" + _CUSTOMER_KEY
    return [(start + "algorithm", "AES256"), (start + "key-md5", stored)]


def check_key(key: str, rules: Rulebook) -> None:
    if len(key.encode()) > MAX_KEY:
        rules.refuse_if_on(answers.KEY_TOO_LONG)


def attributes(request: Request, rules: Rulebook) -> Attributes:
    """The attributes to store from a write's headers. Raises rule 20."""
    headers = request.headers
    kept = {name: headers[name] for name in KEPT if name in headers}
    encodings = [part.strip() for part in kept.pop("content-encoding", "").split(",")]
    encoding = ",".join(part for part in encodings if part and part != "aws-chunked")
    if encoding:
        kept["content-encoding"] = encoding
    decode = encoded_words.decode if rules.holds(43) else str
    metadata = {name: decode(value) for name, value in headers.items() if name.startswith(METADATA)}
    check_metadata(metadata, rules)
    return Attributes(
        {**kept, **metadata},
        headers.get("x-amz-storage-class", "STANDARD"),
        written_key(request),
        customer_key=customer_key(headers, rules),
    )


def check_metadata(headers: Mapping[str, str], rules: Rulebook) -> None:
    """Raises rule 20 for more than ``MAX_METADATA`` bytes in the names and values of ``x-amz-meta-…``."""
    size = sum(
        len(name) - len(METADATA) + len(value.encode()) for name, value in headers.items() if name.startswith(METADATA)
    )
    if size > MAX_METADATA:
        rules.refuse_if_on(answers.METADATA_TOO_LARGE)


def written_key(request: Request) -> str:
    """The key as the client wrote it where that differs from its normalized form, else an empty string."""
    return request.written_key if request.written_key != request.key else ""


def response_headers(found: Attributes, rules: Rulebook) -> list[tuple[str, str]]:
    """The stored headers in the form in which GET and HEAD return them."""
    encode = encoded_words.encode if rules.holds(43) else str
    headers = [(name, encode(value) if name.startswith(METADATA) else value) for name, value in found.headers.items()]
    if "content-type" not in found.headers:
        headers.append(("content-type", UNTYPED))
    if found.storage_class != "STANDARD":
        headers.append(("x-amz-storage-class", found.storage_class))
    return headers
