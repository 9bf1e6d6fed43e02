"""The table of R2's rules: it drives the code, the tests and ``docs/standins/r2-rules.md``.

A rule is a difference between R2 and S3, moto or MinIO. Each can be switched off with ``PARITY_R2_RULES_OFF``; the
stand-in then behaves like a lenient S3. The tests run each rule on and off, which proves that the rule causes the
difference.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from parity.r2 import answers
from parity.r2.answers import Answer
from parity.r2.errors import R2Error

DOCS = "cloudflare-docs r2/*, September 2026"
CAPTURE = "workers-sdk's R2 S3 simulator, captured from a real bucket 2026-06-11"
ERROR_CODES = "cloudflare-docs r2/api/error-codes, 2026"
EXTENSIONS = "cloudflare-docs r2/api/s3/extensions, read 2026-11-27"
NOTES = "cloudflare-docs release-notes/r2.yaml"
ISSUES = "public issues, read September 2026"
FACTS = f"{DOCS}; {CAPTURE}"


@dataclass(frozen=True, slots=True)
class Rule:
    """``answers`` are the errors of the rule; empty if the rule changes behaviour without an error. ``setting`` names
    the variable that selects a behaviour if sources disagree or R2's behaviour is not known."""

    number: int
    trigger: str
    answers: tuple[Answer, ...]
    source: str
    setting: str = ""
    note: str = ""


@dataclass(frozen=True)
class Choices:
    """The selected behaviours where R2's is not known or sources disagree: one field per setting."""

    error_codes: str = "documented"
    unsigned_streaming: str = "401"
    if_range: str = "ignore"
    head_range: str = "ignore"
    future_dates: str = "accept"
    copy_range: str = "clamp"
    duplicate_part: str = "problem"
    unlisted_conditions: str = "ignore"


RULES: tuple[Rule, ...] = (
    Rule(
        1,
        "a write to a key while another write to it is in flight",
        (answers.BUSY,),
        f"{ERROR_CODES} (`TooManyRequests`); {ISSUES} (`ServiceUnavailable`)",
        setting="PARITY_R2_WRITE_WINDOW, PARITY_R2_ERROR_CODES",
        note="documented limit: one write per second per key (`strict`); a write was observed to take 0.3–1.4 s",
    ),
    Rule(2, "no authentication", (answers.ANONYMOUS,), CAPTURE),
    Rule(3, "unknown access key", (answers.UNKNOWN_KEY,), CAPTURE),
    Rule(4, "wrong secret, wrong signature, or a URL signed for another verb", (answers.SIGNATURE,), CAPTURE),
    Rule(5, "signing time more than 15 minutes from R2's clock", (answers.SKEW,), CAPTURE),
    Rule(
        6,
        "presigned URL expired",
        (answers.EXPIRED,),
        f"{ERROR_CODES} (400); {CAPTURE} (403); {ISSUES}",
        setting="PARITY_R2_ERROR_CODES",
        note="without CORS headers, so a browser sees a network error",
    ),
    Rule(7, "`X-Amz-Expires` over 604800", (answers.EXPIRES_TOO_LONG,), CAPTURE),
    Rule(8, "`Content-Type` differs from the signed one", (answers.SIGNED_CONTENT_TYPE,), DOCS),
    Rule(
        9,
        "`x-amz-content-sha256` missing or wrong",
        (
            answers.SHA256_MISSING,
            answers.SHA256_MISMATCH,
        ),
        CAPTURE,
    ),
    Rule(
        10, "region other than `auto`, empty, `us-east-1`, wnam, enam, weur, eeur, apac, oc", (answers.REGION,), ISSUES
    ),
    Rule(
        11,
        "`STREAMING-*` payload",
        (
            answers.STREAMING_SIGNED,
            answers.STREAMING_UNSIGNED_501,
            answers.STREAMING_UNSIGNED_401,
        ),
        "soto issue 643, 2022-12-20 (signed: 501); FluentStorage issue 166, 2026-09-22 (signed: 501); "
        "amd/gaia pull request 3029, 2026-08-20 (boto3 1.43.76: Unauthorized)",
        setting="PARITY_R2_UNSIGNED_STREAMING",
        note="reports about the unsigned trailer (sent by boto3 from 1.36 on) differ: 401 (the newest), 501, accepted",
    ),
    Rule(12, "form POST upload", (answers.FORM_POST,), CAPTURE, note="R2 repeats the words “not implemented”"),
    Rule(
        13,
        "tagging (even empty), grant-*, object-lock-*, website-redirect, expected-bucket-owner, KMS headers, SSE other "
        "than AES256, a non-canned ACL",
        (answers.HEADER,),
        CAPTURE,
    ),
    Rule(14, "an operation that R2 lacks: policy, ACL, tagging, versioning, website, …", (answers.OPERATION,), FACTS),
    Rule(15, "bucket configuration with a token that is scoped to objects", (answers.ACCESS,), DOCS),
    Rule(
        16,
        "failed precondition of a write, or of a copy's source",
        (answers.PRECONDITION,),
        FACTS,
        note="also for `If-Match` on a missing key, where S3 answers 404",
    ),
    Rule(
        17,
        "CompleteMultipartUpload with unequal parts, or a last part larger than the others",
        (answers.UNEQUAL_PARTS,),
        FACTS,
    ),
    Rule(
        18,
        "a part under 5 MiB, an unknown or repeated part, an unknown upload, a part number over 10000",
        (
            answers.PART_TOO_SMALL,
            answers.UNKNOWN_PART,
            answers.DUPLICATE_PART,
            answers.NO_UPLOAD,
            answers.PART_NUMBER,
        ),
        FACTS,
    ),
    Rule(
        19,
        "part list out of order",
        (answers.PART_ORDER,),
        FACTS,
        note="R2 sorts the list and accepts it; this answer is S3's, which is sent with the rule off",
    ),
    Rule(
        20,
        "key over 1024 bytes, metadata over 8192, a single PUT over 5 GiB − 5 MiB",
        (
            answers.KEY_TOO_LONG,
            answers.METADATA_TOO_LARGE,
            answers.TOO_LARGE,
        ),
        FACTS,
    ),
    Rule(21, "no `Content-Length`", (answers.NO_LENGTH,), FACTS),
    Rule(
        22,
        "an MD5, CRC or SHA header that is wrong or malformed",
        (
            answers.BAD_DIGEST,
            answers.INVALID_DIGEST,
        ),
        FACTS,
    ),
    Rule(
        23,
        "a range past the end; an inverted, malformed or multiple range",
        (
            answers.RANGE,
            answers.RANGE_FORM,
            answers.RANGE_INVERTED,
            answers.COPY_RANGE_FORM,
            answers.COPY_RANGE_INVERTED,
            answers.COPY_RANGE_PAST_END,
        ),
        FACTS,
    ),
    Rule(24, "preflight that no rule of the bucket matches", (answers.PREFLIGHT,), FACTS),
    Rule(
        25,
        "any response: Access-Control headers only from the bucket's rules, exact origin, none without `Origin`",
        (),
        FACTS,
        note="no error; with the rule off every origin is allowed, as moto does",
    ),
    Rule(
        26,
        "PutBucketCors with a path in the origin, a method such as OPTIONS or PATCH, an empty header",
        (answers.CORS_DOCUMENT, answers.CORS_POLICY),
        FACTS,
    ),
    Rule(
        27,
        "unknown list parameter; over 1000 deletes or an empty Complete; unknown verb",
        (
            answers.LIST_PARAMETER,
            answers.MALFORMED_XML,
            answers.ROUTE,
        ),
        FACTS,
    ),
    Rule(28, "storage class other than STANDARD, STANDARD_IA", (answers.STORAGE_CLASS,), FACTS),
    Rule(
        29,
        "malformed authentication: parameters, dates, credential scope",
        (
            answers.AUTH_FORM,
            answers.AUTH_ALGORITHM,
            answers.AUTH_HOST,
        ),
        CAPTURE,
    ),
    Rule(30, "session token", (answers.SESSION_TOKEN,), CAPTURE),
    Rule(
        31,
        "signature of version 2 (what boto3 presigns with when the region is `us-east-1`)",
        (answers.SIGV2,),
        "FileCodeBox issue 95, 2023-09-14; TrendRadar issue 664, 2025-12-18 (the status, 401, from the latter)",
    ),
    Rule(32, "a search parameter that a PUT or DELETE of a bucket does not know", (answers.BUCKET_PARAMETER,), CAPTURE),
    Rule(
        33,
        "encryption by the customer's key (SSE-C): incomplete headers, another algorithm, a read without the key or "
        "with another",
        (
            answers.CUSTOMER_KEY,
            answers.CUSTOMER_ALGORITHM,
            answers.CUSTOMER_KEY_MISSING,
            answers.CUSTOMER_KEY_UNUSED,
            answers.CUSTOMER_KEY_WRONG,
        ),
        CAPTURE,
    ),
    Rule(
        34,
        "headers in a presigned URL's query count as headers (`x-amz-checksum-…`, `x-amz-tagging`, `x-amz-meta-…`)",
        (),
        "Palmr issue 378, 2025-12-10; petdex issue 465, 2026-06-12; Kilo-Org/cloud pull request 5226, 2026-08-12",
        note="by default the JavaScript presigner adds the CRC32 of an empty body, so the upload fails with "
        "`BadDigest`; set `requestChecksumCalculation` to `WHEN_REQUIRED`",
    ),
    Rule(
        35,
        "keys that differ only in Unicode composition name one object; lists show the form last written",
        (),
        "cloudflare-docs r2/reference/unicode-interoperability, read 2026-11-27",
    ),
    Rule(
        36,
        "failed `cf-copy-destination-if-…` of a CopyObject",
        (answers.COPY_DESTINATION,),
        EXTENSIONS,
        setting="PARITY_R2_UNLISTED_CONDITIONS",
        note="R2's documents do not list the plain `If-…` headers for CopyObject and DeleteObject: ignored by default",
    ),
    Rule(37, "`x-amz-metadata-directive: MERGE` adds to the source's metadata", (), EXTENSIONS),
    Rule(
        38,
        "a PutObject or UploadPart with more than one checksum, including Content-MD5",
        (answers.SEVERAL_CHECKSUMS,),
        "vector issue 23029, 2025-05-11; aws-sdk-ruby issue 3174, 2025-01-26; miru-web pull request 2054, 2026-01-28",
    ),
    Rule(
        39,
        "CreateMultipartUpload with a checksum type other than COMPOSITE (FULL_OBJECT for CRC64NVME); a part with "
        "SHA-1 "
        "or SHA-256",
        (answers.CHECKSUM_TYPE, answers.PART_CHECKSUM),
        "cloudflare-docs r2/api/s3/api, checksum types (pull request 23443, 2025-07); Cloudflare.NET pull request 43, "
        "2026-08-24 (probed on R2: 501 for parts); bitplatform pull request 13363, 2026-09-22 (FULL_OBJECT refused)",
        note="the reports do not quote the message; this is the one of rule 13",
    ),
    Rule(
        40,
        "a failed condition of CompleteMultipartUpload aborts the upload; CreateMultipartUpload also obeys conditions",
        (),
        f"{NOTES} (2023-08-11; 2022-05-27)",
    ),
    Rule(
        41,
        "`cf-create-bucket-if-missing: true` on PutObject and CreateMultipartUpload creates the bucket",
        (),
        EXTENSIONS,
        note="for a token that may configure buckets; for other tokens 403 as in rule 15, which is a guess",
    ),
    Rule(
        42,
        "PutObject without `Content-Type` infers it from the first bytes of the body",
        (),
        f"{NOTES} (2022-08-06)",
        note="R2's types are not documented; here those of the WHATWG's MIME sniffing standard",
    ),
    Rule(
        43,
        "`x-amz-meta-…` values are decoded from RFC 2047; GET and HEAD encode values that are not ASCII",
        (),
        EXTENSIONS,
    ),
    Rule(
        44,
        "ListBuckets takes `prefix`, `start-after`, `continuation-token`, `max-keys`, or `cf-…` headers with these "
        "names",
        (),
        EXTENSIONS,
    ),
    Rule(45, "HeadBucket answers `x-amz-bucket-region: auto`", (), f"{NOTES} (2022-10-19)"),
    Rule(46, "the search parameter `x-purpose` is ignored", (), f"{NOTES} (2024-06-06)"),
    Rule(
        47,
        "CreateBucket of a bucket that exists",
        (answers.BUCKET_EXISTS,),
        f"{ERROR_CODES} (`BucketConflict`); S3 (`BucketAlreadyOwnedByYou`)",
        setting="PARITY_R2_ERROR_CODES",
    ),
    Rule(
        48,
        "an overwrite or a delete of an object that a bucket lock covers",
        (answers.LOCKED,),
        f"cloudflare-docs r2/buckets/bucket-locks, 2026-04-30; {ERROR_CODES}",
        note="set with `PUT /r2/locks` of the admin API, in the form of Cloudflare's API; the message is a guess",
    ),
    Rule(
        49,
        "lifecycle rules that filter by more than a prefix or ask for versions",
        (answers.LIFECYCLE_FEATURE,),
        "cloudflare-docs r2/buckets/object-lifecycles, read 2026-11-27 (lists no such thing)",
        note="R2's answer is not known; with the rule off: `MalformedXML`",
    ),
    Rule(
        50,
        "aborting an upload that was already aborted or completed: 204",
        (),
        f"{NOTES} (2022-06-10); {CAPTURE}",
        note="S3 answers `NoSuchUpload`; the stand-in remembers the last 10,000 uploads since its start",
    ),
)

RULE_OF: dict[Answer, Rule] = {answer: rule for rule in RULES for answer in rule.answers}


class Rulebook:
    """The rules that are on, and the selected behaviours where R2's is not known."""

    def __init__(self, off: Collection[int] = (), choices: Choices = Choices()) -> None:  # immutable
        unknown = set(off) - {rule.number for rule in RULES}
        if unknown:
            raise ValueError(f"no rule {sorted(unknown)[0]}; the rules are 1 to {len(RULES)}")
        self._off = frozenset(off)
        self.choices = choices

    def holds(self, number: int) -> bool:
        return number not in self._off

    def refuse_if_on(self, answer: Answer, **fields: object) -> None:
        """Raise ``answer`` as ``R2Error`` if its rule holds. With the rule off this returns, and the caller must
        continue as a lenient S3 would."""
        rule = RULE_OF[answer]
        if rule.number in self._off:
            return
        status, code = answer.status, answer.code
        if answer.captured and self.choices.error_codes == "captured":
            status, code = answer.captured
        headers = {"Retry-After": str(answer.retry_after)} if answer.retry_after is not None else {}
        message = answer.message.format(**fields) if fields else answer.message
        raise R2Error(status, code, message, headers=headers, cors=answer.cors, rule=rule.number)
