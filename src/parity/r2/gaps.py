"""Tables for the documentation page: what the stand-in does not reproduce, and where stores differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """``what`` R2 does, ``here`` what the stand-in does instead, ``since`` the date when this was last verified."""

    what: str
    here: str
    since: str = "2026-11-24"


GAPS: tuple[Gap, ...] = (
    Gap("Global replication, regions and jurisdictions", "one process; every region hint is accepted and ignored"),
    Gap("A CORS change takes up to 30 s", "it applies from the next request on"),
    Gap(
        "A write to a key takes 0.3–1.4 s; another write to it during this time gets 429. The documented limit is one "
        "write per second per key",
        "by default only writes whose requests overlap get 429, and a write takes milliseconds. A client that waits "
        "for "
        "each response never gets 429. `PARITY_R2_WRITE_WINDOW=0.3-1.4` applies R2's window to writes of other "
        "connections, `strict` applies the documented limit to all, `PARITY_R2_LATENCY=realistic` adds R2's latency. "
        "They are not the defaults, because they would randomly refuse writes that R2 mostly accepts",
        since="2026-11-25",
    ),
    Gap(
        "Which writes start the write window (not documented)",
        "as `PARITY_R2_WRITE_WINDOW` says; a failed write counts",
    ),
    Gap(
        "DeleteObjects with a key that is being written (R2's answer is not known)",
        "200 with `TooManyRequests` for that key; the others are deleted",
        since="2026-11-25",
    ),
    Gap(
        "The hash of a body is checked during authentication, before headers and operation",
        "the same for requests without a body, and if the operation does not use the body. A PUT with a wrong hash and "
        "a header that is not implemented gets 501, because it is not known that R2 reads up to 5 GiB first",
        since="2026-11-25",
    ),
    Gap(
        "When R2 answers a request that it refuses before the body has arrived (not known)",
        "immediately, without `100 Continue`. The rest of the body is read and discarded for up to 10 minutes",
        since="2026-11-25",
    ),
    Gap(
        "Control characters in a `response-*` parameter",
        "replaced by spaces; R2's answer is not known",
        since="2026-11-25",
    ),
    Gap(
        "Lifecycle rules run within about a day; by default incomplete uploads are aborted after 7 days",
        "they run only on request, as if a number of days had passed: `POST /r2/lifecycle/run`",
        since="2026-11-27",
    ),
    Gap(
        "Changes of a bucket's encryption",
        "403 for a token that is scoped to objects, as on R2; 501 `… not implemented` for an admin token",
        since="2026-11-25",
    ),
    Gap(
        "Encryption with a customer's key (SSE-C)",
        "a read without the key is refused, but the object is stored unencrypted, and the ETag is its MD5. The "
        "messages "
        "for a missing or a wrong key are those of S3, because R2's are not known",
        since="2026-11-27",
    ),
    Gap("GetBucketAcl", "501 `GetBucketAcl not implemented`"),
    Gap(
        "Which responses contain stored checksums (not known)",
        "as on S3: those of PutObject and UploadPart, and of GET and HEAD with `x-amz-checksum-mode: ENABLED`",
        since="2026-11-27",
    ),
    Gap("Signatures of chunks (STREAMING-AWS4-…)", "if rule 11 is off, the chunks are decoded but not verified"),
    Gap("Temporary credentials", "refused: X-Amz-Security-Token, rule 30"),
    Gap(
        "Tokens limited to prefixes or to reading",
        "a token may read and write every object, an admin token may do everything",
    ),
    Gap("Custom domains, r2.dev, public buckets, cache, Workers bindings, event notifications", "not available"),
    Gap("HTTP/2 and HTTP/3 on the S3 endpoint", "HTTP/1.1 only"),
    Gap("`cf-ray`, `x-amz-version-id` and other headers of the edge", "only `server: cloudflare`"),
    Gap("Infrequent Access: retrieval fees and minimum duration", "the class is stored; costs are those of STANDARD"),
    Gap("Limits of the account: buckets, requests per second of bucket configuration", "none"),
    Gap(
        "Which content types R2 infers from the body of a PutObject without `Content-Type`",
        "those whose signatures are in the WHATWG's MIME sniffing standard; otherwise application/octet-stream",
        since="2026-11-27",
    ),
    Gap(
        "Whether a browser can read the error of a presigned upload with a wrong checksum",
        "it can: the response has the bucket's CORS headers. One report (petdex issue 465) saw a network error",
        since="2026-11-27",
    ),
    Gap(
        "The messages of AccessDenied, InvalidObjectName, EntityTooLarge, ObjectLockedByBucketPolicy",
        "S3's message with R2's status and code",
    ),
    Gap("Availability: R2's own 500s and 503s", "only as injected faults"),
)

# What differs between stores under the same rules.
STORE_DIFFERENCES: tuple[tuple[str, str], ...] = (
    (
        "`moto`",
        "saves to disk every minute, on stop and on request. After a SIGKILL the next start prints since when writes "
        "are "
        "missing",
    ),
    ("`s3`, versitygw", "snapshots and restore are refused, because the upstream stores the objects"),
    (
        "`s3`, versitygw",
        "`partNumber` returns the whole object, because the upstream does not report the sizes of parts",
    ),
    (
        "`s3`, versitygw",
        "listings show keys in Unicode form NFC, not as written; multipart objects have no checksum",
    ),
    ("`s3`, versitygw", "listings show the class STANDARD for every object; HEAD and GET return the real class"),
    (
        "`s3`, versitygw",
        "the stand-in holds CORS policy, lifecycle rules and locks; those set at run time do not survive a restart",
    ),
    ("`s3`, versitygw", "a transition to Infrequent Access changes the object's date to the current time"),
    ("`s3`, versitygw", "a read of a key waits while a write to it is sent to the upstream"),
    (
        "`s3`, versitygw",
        "metadata over 2048 bytes (non-ASCII characters percent-encoded) get 500 with the upstream's error (R2's "
        "limit: "
        "8192)",
    ),
    (
        "`s3`, versitygw",
        "reset empties the configured bucket and those created since the start; other buckets of the upstream stay",
    ),
    (
        "versitygw",
        "an object `k` and an object `k/1` cannot both exist: 500 with versitygw's error",
    ),
    (
        "versitygw",
        "keys that end in `/`, or contain `//`, a segment over 255 bytes, `.` or `..`, or control characters, "
        "are refused or changed",
    ),
    ("versitygw", "a listing during an overwrite may show the size of one version and the ETag of the other"),
    (
        "versitygw",
        "more than 1000 uploads of a bucket cannot be listed, because it refuses its own continuation marker",
    ),
)
