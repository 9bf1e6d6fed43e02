"""Which operation a request is: by method, level and search parameters. Pure.

``billing`` is R2's class of the operation: A (writes and lists), B (reads) or free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from parity.r2 import answers
from parity.r2.request import Request
from parity.r2.rules import Rulebook


class Level(Enum):
    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Operation:
    """``admin``: needs a token that may configure buckets. ``write``: changes an object (rule 1 applies)."""

    name: str
    billing: str
    admin: bool = False
    write: bool = False
    served: bool = True


def _op(name: str, billing: str, *, admin: bool = False, write: bool = False) -> Operation:
    return Operation(name, billing, admin, write)


def _missing(name: str, *, admin: bool = False) -> Operation:
    return Operation(name, "", admin, served=False)


def is_ignored(name: str, rules: Rulebook) -> bool:
    """Whether R2 ignores a search parameter: ``x-id`` (release notes 2023-12-11), ``x-purpose`` (rule 46) and those of
    presigned URLs."""
    return name == "x-id" or (name == "x-purpose" and rules.holds(46)) or name.lower().startswith("x-amz-")


# R2 has these operations, for tokens that may configure buckets; this stand-in does not implement them.
_ENCRYPTION = {method: _missing(f"{method}BucketEncryption", admin=True) for method in ("Put", "Delete")}


# (level, method, search parameter that selects it) → operation; the first parameter in the table's order wins.
_TABLE: dict[tuple[Level, str], dict[str, Operation]] = {
    (Level.SERVICE, "GET"): {"": _op("ListBuckets", "A", admin=True)},
    (Level.BUCKET, "HEAD"): {"": _op("HeadBucket", "B")},
    (Level.BUCKET, "GET"): {
        "uploads": _op("ListMultipartUploads", "A"),
        "location": _op("GetBucketLocation", "B"),
        "cors": _op("GetBucketCors", "B", admin=True),
        "encryption": _op("GetBucketEncryption", "B"),
        "versioning": _op("GetBucketVersioning", "B"),
        "tagging": _op("GetBucketTagging", "B"),
        "object-lock": _op("GetObjectLockConfiguration", "B"),
        "replication": _op("GetBucketReplication", "B"),
        "lifecycle": _op("GetBucketLifecycleConfiguration", "B", admin=True),
        **{
            parameter: _missing(name)
            for parameter, name in {
                "versions": "ListObjectVersions",
                "policy": "GetBucketPolicy",
                "website": "GetBucketWebsite",
                "notification": "GetBucketNotificationConfiguration",
                "requestPayment": "GetBucketRequestPayment",
                "logging": "GetBucketLogging",
                "accelerate": "GetBucketAccelerateConfiguration",
                "publicAccessBlock": "GetPublicAccessBlock",
                "ownershipControls": "GetBucketOwnershipControls",
                "intelligent-tiering": "GetBucketIntelligentTieringConfiguration",
                "inventory": "GetBucketInventoryConfiguration",
                "metrics": "GetBucketMetricsConfiguration",
                "analytics": "GetBucketAnalyticsConfiguration",
                # The doubled "Get" is R2's own name.
                "policyStatus": "GetGetBucketPolicyStatus",
                "acl": "GetBucketAcl",
            }.items()
        },
        "": _op("ListObjects", "A"),
    },
    (Level.BUCKET, "PUT"): {
        "cors": _op("PutBucketCors", "A", admin=True),
        "encryption": _ENCRYPTION["Put"],
        "lifecycle": _op("PutBucketLifecycleConfiguration", "A", admin=True),
        **{
            parameter: _missing(name)
            for parameter, name in {
                "accelerate": "PutBucketAccelerateConfiguration",
                "acl": "PutBucketAcl",
                "analytics": "PutBucketAnalyticsConfiguration",
                "intelligent-tiering": "PutBucketIntelligentTieringConfiguration",
                "inventory": "PutBucketInventoryConfiguration",
                "logging": "PutBucketLogging",
                "metrics": "PutBucketMetricsConfiguration",
                "notification": "PutBucketNotificationConfiguration",
                "object-lock": "PutObjectLockConfiguration",
                "ownershipControls": "PutBucketOwnershipControls",
                "policy": "PutBucketPolicy",
                "publicAccessBlock": "PutPublicAccessBlock",
                "replication": "PutBucketReplication",
                "requestPayment": "PutBucketRequestPayment",
                "tagging": "PutBucketTagging",
                "versioning": "PutBucketVersioning",
                "website": "PutBucketWebsite",
            }.items()
        },
        "": _op("CreateBucket", "A", admin=True),
    },
    (Level.BUCKET, "DELETE"): {
        "cors": _op("DeleteBucketCors", "A", admin=True),
        "encryption": _ENCRYPTION["Delete"],
        "lifecycle": _op("DeleteBucketLifecycle", "A", admin=True),
        **{
            parameter: _missing(name)
            for parameter, name in {
                "analytics": "DeleteBucketAnalyticsConfiguration",
                "intelligent-tiering": "DeleteBucketIntelligentTieringConfiguration",
                "inventory": "DeleteBucketInventoryConfiguration",
                "metrics": "DeleteBucketMetricsConfiguration",
                "ownershipControls": "DeleteBucketOwnershipControls",
                "policy": "DeleteBucketPolicy",
                "replication": "DeleteBucketReplication",
                "tagging": "DeleteBucketTagging",
                "website": "DeleteBucketWebsite",
            }.items()
        },
        "": _op("DeleteBucket", "", admin=True),
    },
    (Level.BUCKET, "POST"): {"delete": _op("DeleteObjects", ""), "": _op("PostBucket", "A")},
    (Level.OBJECT, "HEAD"): {"": _op("HeadObject", "B")},
    (Level.OBJECT, "GET"): {
        "uploadId": _op("ListParts", "A"),
        # The bucket's uploads, on the path of an object too.
        "uploads": _op("ListMultipartUploads", "A"),
        "tagging": _missing("GetObjectTagging"),
        "acl": _missing("GetObjectAcl"),
        "attributes": _missing("GetObjectAttributes"),
        "torrent": _missing("GetObjectTorrent"),
        "retention": _missing("GetObjectRetention"),
        "legal-hold": _missing("GetObjectLegalHold"),
        "": _op("GetObject", "B"),
    },
    (Level.OBJECT, "PUT"): {
        "tagging": _missing("PutObjectTagging"),
        "acl": _missing("PutObjectAcl"),
        "retention": _missing("PutObjectRetention"),
        "legal-hold": _missing("PutObjectLegalHold"),
        "uploadId": _op("UploadPart", "A"),
        "": _op("PutObject", "A", write=True),
    },
    (Level.OBJECT, "POST"): {
        "uploads": _op("CreateMultipartUpload", "A"),
        "uploadId": _op("CompleteMultipartUpload", "A", write=True),
        "select": _missing("SelectObjectContent"),
        "restore": _missing("RestoreObject"),
        # R2 treats any other POST on an object as a PUT, and ignores a copy source.
        "": _op("PutObject", "A", write=True),
    },
    (Level.OBJECT, "DELETE"): {
        "uploadId": _op("AbortMultipartUpload", ""),
        "": _op("DeleteObject", "", write=True),
    },
}

_COPIES = {"PutObject": _op("CopyObject", "A", write=True), "UploadPart": _op("UploadPartCopy", "A")}


def level_of(request: Request) -> Level:
    if not request.bucket:
        return Level.SERVICE
    return Level.OBJECT if request.key else Level.BUCKET


def find(request: Request, rules: Rulebook) -> Operation:
    """The operation of a request, even if the stand-in does not implement it. Raises rule 27 (``RouteNotFound``) and
    rule 32."""
    level = level_of(request)
    found = _select(_TABLE.get((level, request.method), {}), request.params)
    if found is None:
        rules.refuse_if_on(answers.ROUTE)
        return _missing(f"{request.method} on a {level.value}")
    if level is Level.BUCKET and found.name in ("CreateBucket", "DeleteBucket"):
        names = [name for name in request.params if not is_ignored(name, rules)]
        if names:
            quoted = ", ".join(f'"{name}"' for name in names)
            rules.refuse_if_on(answers.BUCKET_PARAMETER, names=quoted, method=request.method)
    if "x-amz-copy-source" in request.headers and request.method == "PUT":
        return _COPIES.get(found.name, found)
    return found


def _select(operations: Mapping[str, Operation], params: Mapping[str, str]) -> Operation | None:
    for parameter, operation in operations.items():
        if parameter and parameter in params:
            return operation
    return operations.get("")


def operations() -> list[Operation]:
    """Every operation of the table, for the docs page."""
    found = [operation for table in _TABLE.values() for operation in table.values()]
    return [*found, *_COPIES.values()]
