"""The table of R2's rules: it drives the code, the tests and ``docs/standins/r2.md``.

Rules 1–28 are those that differ between R2 and S3, moto or MinIO; from 29 on come answers of R2's authentication
that only malformed requests meet. Each rule can be switched off (``PARITY_R2_RULES_OFF``): what happens then is what
a lenient S3 would do, which is how the tests show that a rule is what makes the difference.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from parity.r2.errors import R2Error, malformed_xml, no_such_upload

DOCS = "cloudflare-docs r2/*, September 2026"
CAPTURE = "workers-sdk's R2 S3 simulator, captured from a real bucket 2026-06-11"
ISSUES = "public issues, read September 2026"
FACTS = f"{DOCS}; {CAPTURE}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a rule. ``message`` may hold ``{fields}``. ``always``: with the rule off too, because a lenient S3
    has no other."""

    id: str
    status: int
    code: str
    message: str
    retry_after: int | None = None
    cors: bool = True
    always: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """``setting`` names what R2 leaves unknown or what the developer may choose; empty where nothing is open."""

    number: int
    trigger: str
    answers: tuple[Answer, ...]
    source: str
    setting: str = ""
    note: str = ""


def _plain(id_: str, error: R2Error, *, always: bool = False) -> Answer:
    """An answer that S3 gives too, in the words that ``errors`` has for it."""
    return Answer(id_, error.status, error.code, error.message, always=always)


def _one(id_: str, status: int, code: str, message: str, **more: int | bool) -> tuple[Answer, ...]:
    return (Answer(id_, status, code, message, **more),)  # type: ignore[arg-type]


_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your secret access key and signing method."
)

RULES: tuple[Rule, ...] = (
    Rule(
        1,
        "a write to a key while another write to it is in flight",
        _one(
            "busy",
            429,
            "ServiceUnavailable",
            "Reduce your concurrent request rate for the same object.",
            retry_after=5,
        ),
        f"{DOCS}; {ISSUES}",
        "PARITY_R2_WRITE_WINDOW",
        "documented limit: one write per second per key (`strict`); seen in flight for 0.3–1.4 s",
    ),
    Rule(2, "no authentication", _one("anonymous", 400, "InvalidArgument", "Authorization"), CAPTURE),
    Rule(3, "unknown access key", _one("unknown-key", 401, "Unauthorized", "Unauthorized"), CAPTURE),
    Rule(
        4,
        "wrong secret, wrong signature, or a URL signed for another verb",
        _one("signature", 403, "SignatureDoesNotMatch", _MISMATCH),
        CAPTURE,
    ),
    Rule(
        5,
        "signed more than 15 minutes away from R2's clock",
        _one(
            "skew",
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the server's time is too large.",
        ),
        CAPTURE,
    ),
    Rule(
        6,
        "presigned URL expired",
        _one("expired", 403, "ExpiredRequest", "Request has expired", cors=False),
        f"{CAPTURE}; {ISSUES}",
        note="without CORS headers: the browser sees a network error",
    ),
    Rule(
        7,
        "`X-Amz-Expires` over 604800",
        _one(
            "expires-too-long",
            400,
            "InvalidArgument",
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            "604800 seconds",
        ),
        CAPTURE,
    ),
    Rule(
        8,
        "`Content-Type` was signed and differs",
        _one("signed-content-type", 403, "SignatureDoesNotMatch", _MISMATCH),
        DOCS,
    ),
    Rule(
        9,
        "`x-amz-content-sha256` missing or wrong",
        (
            Answer("sha256-missing", 400, "InvalidRequest", "Missing x-amz-content-sha256"),
            Answer(
                "sha256-mismatch",
                400,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ),
        ),
        CAPTURE,
    ),
    Rule(
        10,
        "region other than `auto`, empty, `us-east-1`, wnam, enam, weur, eeur, apac, oc",
        _one(
            "region",
            400,
            "InvalidRegionName",
            "The region name '{region}' is not valid. Must be one of: wnam, enam, weur, eeur, apac, oc, auto",
        ),
        ISSUES,
    ),
    Rule(
        11,
        "`STREAMING-*` payload",
        (
            Answer("streaming-signed", 501, "NotImplemented", "{payload} not implemented"),
            Answer("streaming-unsigned-501", 501, "NotImplemented", "{payload} not implemented"),
            Answer("streaming-unsigned-401", 401, "Unauthorized", "Unauthorized"),
        ),
        "soto issue 643, 2022-12-20 (signed: 501); "
        "amd/gaia pull request 3029, 2026-08-20 (boto3 1.43.76: Unauthorized)",
        "PARITY_R2_UNSIGNED_STREAMING",
        "for the unsigned trailer, which boto3 sends from 1.36 on, reports differ: 401 (the newest), 501 or accepted",
    ),
    Rule(
        12,
        "form POST upload",
        _one("form-post", 501, "NotImplemented", "Presigned post requests are not yet implemented not implemented"),
        CAPTURE,
        note="the doubled words are R2's",
    ),
    Rule(
        13,
        "tagging (even empty), grant-*, object-lock-*, website-redirect, expected-bucket-owner, KMS headers, SSE other "
        "than AES256, a non-canned ACL",
        _one("header", 501, "NotImplemented", "Header '{name}' with value '{value}' not implemented"),
        CAPTURE,
    ),
    Rule(
        14,
        "an operation that R2 lacks: policy, ACL, tagging, versioning, website, …",
        _one("operation", 501, "NotImplemented", "{operation} not implemented"),
        FACTS,
    ),
    Rule(
        15,
        "bucket configuration with a token that is scoped to objects",
        _one("access", 403, "AccessDenied", "Access Denied"),
        DOCS,
    ),
    Rule(
        16,
        "failed precondition of a write, or of a copy's source",
        _one(
            "precondition",
            412,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold.",
        ),
        FACTS,
        note="`If-Match` on a missing key too, where S3 says 404",
    ),
    Rule(
        17,
        "CompleteMultipartUpload with unequal parts, or a last part larger than the others",
        _one("unequal-parts", 400, "InvalidPart", "All non-trailing parts must have the same length."),
        FACTS,
    ),
    Rule(
        18,
        "a part under 5 MiB, an unknown or repeated part, an unknown upload, a part number over 10000",
        (
            Answer(
                "part-too-small",
                400,
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed object size.",
            ),
            Answer("unknown-part", 400, "InvalidPart", "One or more of the specified parts could not be found."),
            _plain("no-upload", no_such_upload(), always=True),
            Answer(
                "part-number",
                400,
                "InvalidArgument",
                "Part number must be an integer between 1 and 10000, inclusive.",
            ),
        ),
        FACTS,
    ),
    Rule(
        19,
        "part list out of order",
        _one("part-order", 400, "InvalidPartOrder", "The list of parts was not in ascending order."),
        FACTS,
        note="R2 sorts and accepts; the answer here is what S3 says, and what this stand-in says with the rule off",
    ),
    Rule(
        20,
        "key over 1024 bytes, metadata over 8192, a single PUT over 5 GiB − 5 MiB",
        (
            Answer("key-too-long", 400, "InvalidObjectName", "The specified object name is not valid."),
            Answer(
                "metadata-too-large",
                400,
                "MetadataTooLarge",
                "Your metadata headers exceed the maximum allowed metadata size.",
            ),
            Answer(
                "too-large",
                400,
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed object size.",
            ),
        ),
        FACTS,
    ),
    Rule(
        21,
        "no `Content-Length`",
        _one("no-length", 411, "MissingContentLength", "You must provide the Content-Length HTTP header."),
        FACTS,
    ),
    Rule(
        22,
        "an MD5, CRC or SHA header that is wrong or malformed",
        (
            Answer(
                "bad-digest",
                400,
                "BadDigest",
                "The {name} checksum you specified did not match what we received.\n"
                "You provided a {name} checksum with value: {given}\nActual {name} was: {actual}",
            ),
            Answer("invalid-digest", 400, "InvalidDigest", "The checksum or Content-MD5 you specified is not valid."),
        ),
        FACTS,
    ),
    Rule(
        23,
        "a range past the end; an inverted, malformed or multiple range",
        (
            Answer("range", 416, "InvalidRange", "The requested range is not satisfiable"),
            Answer(
                "range-form",
                400,
                "InvalidArgument",
                "range must be in format 'bytes=start-end', 'bytes=start-' or 'bytes=-suffix'.'",
            ),
            Answer("range-inverted", 400, "InvalidArgument", "range must be positive."),
        ),
        FACTS,
    ),
    Rule(
        24,
        "preflight that no rule of the bucket matches",
        _one("preflight", 403, "Unauthorized", "CORS not configured for this bucket", cors=False),
        FACTS,
    ),
    Rule(
        25,
        "any response: Access-Control headers only from the bucket's rules, exact origin, none without `Origin`",
        (),
        FACTS,
        note="no answer of its own; with the rule off any origin is echoed, as moto does",
    ),
    Rule(
        26,
        "PutBucketCors with a path in the origin, a method such as OPTIONS or PATCH, an empty header",
        (Answer("cors-policy", 400, "InvalidArgument", "{problem}"),),
        FACTS,
    ),
    Rule(
        27,
        "unknown list parameter; over 1000 deletes or an empty Complete; unknown verb",
        (
            Answer("list-parameter", 501, "NotImplemented", "{operation} search parameter {name} not implemented"),
            _plain("malformed-xml", malformed_xml()),
            Answer("route", 404, "RouteNotFound", "No route matches this url."),
        ),
        FACTS,
    ),
    Rule(
        28,
        "storage class other than STANDARD, STANDARD_IA",
        _one("storage-class", 400, "InvalidStorageClass", "The storage class specified is not valid."),
        FACTS,
    ),
    Rule(
        29,
        "malformed authentication: parameters, dates, credential scope",
        (
            Answer("auth-form", 400, "InvalidArgument", "{problem}"),
            Answer("auth-algorithm", 400, "InvalidRequest", "Please use AWS4-HMAC-SHA256"),
            Answer("auth-host", 401, "Unauthorized", "Unauthorized"),
        ),
        CAPTURE,
    ),
    Rule(
        30,
        "session token",
        _one("session-token", 400, "InvalidArgument", "X-Amz-Security-Token"),
        CAPTURE,
    ),
    Rule(
        31,
        "signature of version 2 (what boto3 presigns with when the region is `us-east-1`)",
        _one("sigv2", 401, "Unauthorized", "SigV2 authorization is not supported. Please use SigV4 instead."),
        "FileCodeBox issue 95, 2023-09-14; TrendRadar issue 664, 2025-12-18 (the status, 401, from the latter)",
    ),
    Rule(
        32,
        "a search parameter that a PUT or DELETE of a bucket does not know",
        _one(
            "bucket-parameter",
            400,
            "InvalidArgument",
            "Unsupported search param(s) {names} on a {method} bucket route",
        ),
        CAPTURE,
    ),
    Rule(
        33,
        "headers of encryption by the customer's key that are incomplete or of another algorithm",
        (
            Answer("customer-key", 400, "InvalidArgument", "{problem}"),
            Answer(
                "customer-algorithm",
                400,
                "InvalidEncryptionAlgorithmError",
                "The encryption request that you specified is not valid. The valid value is AES256.",
            ),
        ),
        CAPTURE,
    ),
)

ANSWERS: dict[str, tuple[Rule, Answer]] = {answer.id: (rule, answer) for rule in RULES for answer in rule.answers}


class Rulebook:
    """Which rules hold. ``refuse`` is the one way in which code applies a rule."""

    def __init__(self, off: Collection[int] = ()) -> None:
        unknown = set(off) - {rule.number for rule in RULES}
        if unknown:
            raise ValueError(f"no rule {sorted(unknown)[0]}")
        self._off = frozenset(off)

    def holds(self, number: int) -> bool:
        return number not in self._off

    def refuse(self, answer_id: str, **fields: object) -> None:
        """Raise the answer as ``R2Error``; with its rule off, do nothing: the caller goes on as a lenient S3 would."""
        rule, answer = ANSWERS[answer_id]
        if rule.number in self._off:
            return
        headers = {"Retry-After": str(answer.retry_after)} if answer.retry_after is not None else {}
        raise R2Error(
            answer.status,
            answer.code,
            answer.message.format(**fields) if fields else answer.message,
            headers=headers,
            cors=answer.cors,
            rule=rule.number,
        )
