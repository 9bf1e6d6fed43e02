"""Translates error answers of the S3 protocol; no other module reads error codes."""

from collections.abc import Mapping
from typing import Any

from app.storage.interface import InvalidRequest, ObjectMissing, PreconditionFailed, StorageError, StorageUnavailable
from app.storage.retry import TryAgain

MISSING = frozenset({"NoSuchKey", "NoSuchUpload"})
"""Codes of a missing object. `NoSuchBucket` is excluded, because a wrong bucket must not count as empty; so is a 404
without a code, which any proxy can send."""
INVALID = frozenset(
    {
        "InvalidPart",
        "InvalidPartOrder",
        "EntityTooSmall",
        "EntityTooLarge",
        "InvalidRange",
        "InvalidArgument",
        "InvalidObjectName",
        "MalformedXML",
        "BadDigest",
        "InvalidDigest",
    }
)
TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
TRANSIENT_CODES = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "TooManyRequests"})


def classify(response: Mapping[str, Any], what: str) -> StorageError | TryAgain:
    """The error for botocore's `ClientError.response`; `what` names the call for the message."""
    code = str(response.get("Error", {}).get("Code", ""))
    message = str(response.get("Error", {}).get("Message", ""))
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    text = f"{what}: {status} {code} {message}".rstrip()
    if code in MISSING:
        return ObjectMissing(text)
    if status == 412 or code == "PreconditionFailed":
        return PreconditionFailed(text)
    if status in TRANSIENT_STATUS or code in TRANSIENT_CODES:
        return TryAgain(text, _seconds(metadata.get("HTTPHeaders", {}).get("retry-after")))
    if code in INVALID:
        return InvalidRequest(text)
    return StorageUnavailable(text)


def _seconds(header: str | None) -> float | None:
    # The other form of Retry-After, a date, is not used by R2.
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
