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
    Gap("Global replication, regions and jurisdictions", "one process; every region hint is accepted and forgotten"),
    Gap("A CORS change takes up to 30 s", "it holds from the next request on"),
    Gap(
        "A write to a key takes 0.3–1.4 s, another one meanwhile hears 429; documented: one write per second per key",
        "by default only writes whose requests overlap here, where one takes milliseconds: a write that waits for the "
        "answer to the one before is never refused, whatever connection it comes on. `PARITY_R2_WRITE_WINDOW=0.3-1.4` "
        "gives R2's window to other connections, `strict` the documented limit to all, `PARITY_R2_LATENCY=realistic` "
        "R2's times. Not the defaults: they would refuse, by chance, what R2 mostly lets through",
        since="2026-11-25",
    ),
    Gap(
        "How the write window counts on R2 is not documented", "as `PARITY_R2_WRITE_WINDOW` says; a failed write counts"
    ),
    Gap(
        "What R2 says to a DeleteObjects that names a key which is being written",
        "200 with `TooManyRequests` for that key; the others are deleted",
        since="2026-11-25",
    ),
    Gap(
        "A body's hash is checked as part of authentication, before headers and operation",
        "so it is for requests without a body and for bodies that an operation does not use; a PUT with both a wrong "
        "hash and a header that is not implemented hears 501, as R2 is not known to read 5 GiB first",
        since="2026-11-25",
    ),
    Gap(
        "When R2 answers a request that it refuses before the body has come",
        "at once, and `100 Continue` is not said; what is still sent is taken in for 10 minutes and forgotten",
        since="2026-11-25",
    ),
    Gap(
        "Control characters in a `response-*` parameter",
        "sent as spaces; R2's own answer is not known",
        since="2026-11-25",
    ),
    Gap(
        "Lifecycle rules are carried out within about a day; by default incomplete uploads are aborted after 7",
        "on request only, for a clock some days ahead: `POST /r2/lifecycle/run`",
        since="2026-11-27",
    ),
    Gap(
        "Changes of a bucket's encryption",
        "403 for a token that is scoped to objects, as on R2; 501 `… not implemented` for an admin's",
        since="2026-11-25",
    ),
    Gap(
        "Encryption with a customer's key (SSE-C)",
        "a read without the key is refused, but the bytes are kept as they came, and the ETag is their MD5; R2's words "
        "for a missing or another key are not known: those of S3",
        since="2026-11-27",
    ),
    Gap("GetBucketAcl", "501 `GetBucketAcl not implemented`"),
    Gap(
        "What R2 answers of checksums that it keeps",
        "as S3: they are told with PutObject and UploadPart, and to GET and HEAD with `x-amz-checksum-mode: ENABLED`",
        since="2026-11-27",
    ),
    Gap("Signatures of chunks (STREAMING-AWS4-…)", "with rule 11 off the chunks are decoded and not verified"),
    Gap("Temporary credentials", "refused: X-Amz-Security-Token, rule 30"),
    Gap("Tokens limited to prefixes or to reading", "a token reads and writes every object; an admin token everything"),
    Gap("Custom domains, r2.dev, public buckets, cache, Workers bindings, event notifications", "not there"),
    Gap("HTTP/2 and HTTP/3 on the S3 endpoint", "HTTP/1.1 only"),
    Gap("`cf-ray`, `x-amz-version-id` and other headers of the edge", "only `server: cloudflare`"),
    Gap("Infrequent Access: retrieval fees and minimum duration", "the class is kept; costs are those of STANDARD"),
    Gap("Limits of the account: buckets, requests per second of bucket configuration", "none"),
    Gap(
        "Which types R2 finds in a body that is put without one",
        "those whose signatures the WHATWG's MIME sniffing lists, for PutObject; else application/octet-stream",
        since="2026-11-27",
    ),
    Gap(
        "Whether a browser may read the error of a presigned upload whose checksum does not hold",
        "with the bucket's CORS headers; one report (petdex issue 465) saw a network error",
        since="2026-11-27",
    ),
    Gap(
        "Words of AccessDenied, InvalidObjectName, EntityTooLarge, ObjectLockedByBucketPolicy",
        "status and code are R2's, the words S3's",
    ),
    Gap("Availability: R2's own 500s and 503s", "only on request, as faults"),
)

# What differs between stores under the same rules.
STORE_DIFFERENCES: tuple[tuple[str, str], ...] = (
    (
        "`moto`",
        "saves every minute, on stop and on request; after a SIGKILL the next start says since when writes are missing",
    ),
    ("`s3`, versitygw", "snapshots and restore are refused: the upstream keeps its own objects"),
    (
        "`s3`, versitygw",
        "`partNumber` gives the whole object: the upstream does not tell the parts' sizes",
    ),
    (
        "`s3`, versitygw",
        "listings show keys in Unicode's form NFC, not as they were written; objects of several parts have no checksum",
    ),
    ("`s3`, versitygw", "listings give every object the class STANDARD; HEAD and GET give the real one"),
    (
        "`s3`, versitygw",
        "CORS policy, lifecycle rules and locks are the stand-in's: those set while it runs do not survive a restart",
    ),
    ("`s3`, versitygw", "an object that goes to Infrequent Access gets the date of that moment"),
    ("`s3`, versitygw", "a read of a key waits for a write to it that is on its way to the upstream"),
    (
        "`s3`, versitygw",
        "metadata over 2048 bytes, percent-encoded where they are not ASCII: 500 with the upstream's reason (R2: 8192)",
    ),
    (
        "`s3`, versitygw",
        "reset empties the configured bucket and those made since the start; others of the upstream stay",
    ),
    (
        "versitygw",
        "a key cannot be an object and a folder of others (`k` beside `k/1`): 500 with its reason",
    ),
    (
        "versitygw",
        "keys that end in `/`, hold `//`, a segment over 255 bytes, `.` or `..`, or control characters "
        "are refused or changed",
    ),
    ("versitygw", "a list made during an overwrite may tell the size of one version and the ETag of the other"),
    ("versitygw", "over 1000 uploads of a bucket cannot be listed: it refuses the marker that it gives"),
)
