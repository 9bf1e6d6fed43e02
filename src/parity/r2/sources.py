"""R2's documentation page by page, with the facts used from each, and the contradictions between sources.

Tables for ``docs/standins/r2-rules.md``. Paths are those of cloudflare-docs under ``src/content/docs/r2/``.
"""

from __future__ import annotations

# Page → the facts used from it. All pages were read on READ.
READ = "2026-11-27"
PAGES: dict[str, str] = {
    "api/s3/api": "the operations and headers that R2 supports and does not; checksum types (39); the region `auto` "
    "(10); that "
    "Range has no effect on HEAD (`PARITY_R2_HEAD_RANGE`); that UploadPartCopy obeys no conditions (13)",
    "api/s3/extensions": "Unicode metadata (43), buckets on demand (41), conditions of PutObject (16) and of a copy's "
    "target (36), MERGE (37), ListBuckets in pages (44); that R2 does not send `100 Continue`",
    "api/s3/presigned-urls": "methods; at most a week (7); a changed resource or time gets `SignatureDoesNotMatch` "
    "(4); not on custom domains",
    "api/s3/temporary-credentials": "nothing: session tokens are refused (30)",
    "api/tokens": "tokens for objects may not configure or list buckets (15); read-only tokens are not reproduced",
    "api/error-codes (last changed 2026-11-10)": "status and code of each error, `TooManyRequests`, "
    "`ExpiredRequest` as 400 and `BucketConflict` (`PARITY_R2_ERROR_CODES`), `ObjectLockedByBucketPolicy` (48)",
    "buckets/bucket-locks": "which writes a lock refuses; the longest lock counts; locks take precedence over "
    "lifecycle "
    "rules (48)",
    "buckets/object-lifecycles": "expiry, Infrequent Access, aborted uploads, the default rule of a week, "
    "`x-amz-expiration`, expiry before a transition within a day",
    "buckets/cors": "exact origins, no path, no headers without `Origin` (24–26); a change takes up to 30 s",
    "buckets/storage-classes": "two classes (28), no way back from Infrequent Access by a rule",
    "buckets/create-buckets, delete-buckets": "names of buckets; only an empty bucket can be deleted, and "
    "its configuration with it",
    "buckets/local-uploads, data-access-logs": "nothing: they do not change the S3 endpoint's answers",
    "examples/ssec": "which operations accept a customer's key (33)",
    "examples/aws/boto3, aws-cli, aws-sdk-js-v3": "that SDKs since January 2025 need `WHEN_REQUIRED` (11, 34)",
    "objects/multipart-objects, upload-objects": "sizes and number of parts (17, 18), the ETag of parts",
    "platform/limits": "key and metadata lengths, sizes (20), one write per second per key (1)",
    "platform/release-notes": "dates of: sorted parts (19), ignored parameters (46), bucket region (45), inferred "
    "types (42), conditional completion (40), unknown CORS elements (26), 412 at CreateMultipartUpload (40)",
    "pricing": "classes of operations and prices; that requests with failed authentication are not billed "
    "(`parity r2 cost`)",
    "reference/consistency": "reads and lists see every write at once; the last writer to complete wins",
    "reference/data-location": "the location hints of CreateBucket (10); jurisdictions are not reproduced",
    "reference/unicode-interoperability": "keys are compared in NFC and shown as last written (35)",
    "reference/transparent-decompression": "nothing: it only concerns public buckets",
}

DISAGREEMENTS: tuple[tuple[str, str], ...] = (
    (
        "*Extra elements in `SignatureDoesNotMatch`*",
        "sent, because they were captured from a real bucket, although other sources say that errors have only code "
        "and "
        "message",
    ),
    ("*Quiet deletes*", "the response lists every key, as captured; S3 lists only errors"),
    ("*POST on an object* that is not a multipart call", "stores the body as PUT does, as captured"),
    (
        "*Error codes*",
        "R2's page on errors has 400 for an expired URL, `TooManyRequests` and `BucketConflict`. Its page on prices "
        "has 403 for an expired URL; captures and reports have 403, `ServiceUnavailable` and "
        "`BucketAlreadyOwnedByYou`. "
        "The stand-in follows the page on errors, unless `PARITY_R2_ERROR_CODES=captured`",
    ),
    (
        "*HEAD with Range*",
        "according to the page on the S3 API it has no effect; Miniflare's simulator answers 206. The stand-in follows "
        "the page, unless `PARITY_R2_HEAD_RANGE=honour`",
    ),
    (
        "*SHA checksums of parts*",
        "the page on the S3 API lists them as supported; R2 answered 501 to a probe (Cloudflare.NET 43). The stand-in "
        "answers 501",
    ),
    (
        "*GetBucketAcl*",
        "the release notes of 2022-07-21 mention a dummy answer; the page on the S3 API of 2026 lists it as missing. "
        "The "
        "stand-in answers 501",
    ),
    (
        "*STANDARD_IA, lists of uploads and parts, the bucket's CORS*",
        "R2 has them; Miniflare's simulator has not, because its binding lacks them (according to its source)",
    ),
    ("*Preflights*", "Miniflare's simulator allows every origin; R2 answers from the bucket's policy"),
    (
        "*A bucket that does not exist*",
        "R2 checks the signature first; the simulator has credentials per bucket and answers `NoSuchBucket` first",
    ),
    (
        "*`STREAMING-UNSIGNED-PAYLOAD-TRAILER`*",
        "the simulator accepts it; reports from real buckets have 401 (2026-08-20) or 501. The stand-in answers 401, "
        "unless `PARITY_R2_UNSIGNED_STREAMING` selects another answer",
    ),
)
