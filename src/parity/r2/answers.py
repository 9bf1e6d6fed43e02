"""One constant for each error that R2 gives where plain S3 would not.

``rules`` says when each of them is given, with the source. The messages are R2's own unless ``gaps`` says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One error. ``message`` may hold ``{fields}``.

    ``retry_after`` is in seconds. Without ``cors`` the answer has no Access-Control headers, so a browser shows a
    network error. ``always``: given with its rule switched off too, because a lenient S3 has no other answer.
    ``captured`` is what a real bucket was seen to answer where R2's newer documents say something else; the setting
    PARITY_R2_ERROR_CODES chooses.
    """

    status: int
    code: str
    message: str
    retry_after: int | None = None
    cors: bool = True
    always: bool = False
    captured: tuple[int, str] | None = None


_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your secret access key and signing method."
)
_HEADER = "Header '{name}' with value '{value}' not implemented"
_PRECONDITION = "At least one of the pre-conditions you specified did not hold."

# Writes to one key
BUSY = Answer(
    429,
    "TooManyRequests",
    "Reduce your concurrent request rate for the same object.",
    retry_after=5,
    captured=(429, "ServiceUnavailable"),
)

# Authentication
ANONYMOUS = Answer(400, "InvalidArgument", "Authorization")
UNKNOWN_KEY = Answer(401, "Unauthorized", "Unauthorized")
SIGNATURE = Answer(403, "SignatureDoesNotMatch", _MISMATCH)
SIGNED_CONTENT_TYPE = Answer(403, "SignatureDoesNotMatch", _MISMATCH)
SKEW = Answer(
    403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large."
)
EXPIRED = Answer(400, "ExpiredRequest", "Request has expired", cors=False, captured=(403, "ExpiredRequest"))
EXPIRES_TOO_LONG = Answer(
    400,
    "InvalidArgument",
    "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
    "604800 seconds",
)
SHA256_MISSING = Answer(400, "InvalidRequest", "Missing x-amz-content-sha256")
SHA256_MISMATCH = Answer(
    400,
    "XAmzContentSHA256Mismatch",
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
)
REGION = Answer(
    400,
    "InvalidRegionName",
    "The region name '{region}' is not valid. Must be one of: wnam, enam, weur, eeur, apac, oc, auto",
)
AUTH_FORM = Answer(400, "InvalidArgument", "{problem}")
AUTH_ALGORITHM = Answer(400, "InvalidRequest", "Please use AWS4-HMAC-SHA256")
AUTH_HOST = Answer(401, "Unauthorized", "Unauthorized")
SESSION_TOKEN = Answer(400, "InvalidArgument", "X-Amz-Security-Token")
SIGV2 = Answer(401, "Unauthorized", "SigV2 authorization is not supported. Please use SigV4 instead.")
ACCESS = Answer(403, "AccessDenied", "Access Denied")

# Requests that R2 does not implement
STREAMING_SIGNED = Answer(501, "NotImplemented", "{payload} not implemented")
STREAMING_UNSIGNED_501 = Answer(501, "NotImplemented", "{payload} not implemented")
STREAMING_UNSIGNED_401 = Answer(401, "Unauthorized", "Unauthorized")
FORM_POST = Answer(501, "NotImplemented", "Presigned post requests are not yet implemented not implemented")
HEADER = Answer(501, "NotImplemented", _HEADER)
OPERATION = Answer(501, "NotImplemented", "{operation} not implemented")
ROUTE = Answer(404, "RouteNotFound", "No route matches this url.")
LIST_PARAMETER = Answer(501, "NotImplemented", "{operation} search parameter {name} not implemented")
BUCKET_PARAMETER = Answer(400, "InvalidArgument", "Unsupported search param(s) {names} on a {method} bucket route")
MALFORMED_XML = Answer(
    400, "MalformedXML", "The XML you provided was not well formed or did not validate against our published schema."
)

LIFECYCLE_FEATURE = Answer(501, "NotImplemented", "{name} not implemented")
BUCKET_EXISTS = Answer(
    409,
    "BucketConflict",
    "The bucket you tried to create already exists, and you own it.",
    captured=(409, "BucketAlreadyOwnedByYou"),
)

# Conditions and ranges
PRECONDITION = Answer(412, "PreconditionFailed", _PRECONDITION)
COPY_DESTINATION = Answer(412, "PreconditionFailed", _PRECONDITION)
RANGE = Answer(416, "InvalidRange", "The requested range is not satisfiable")
RANGE_FORM = Answer(
    400, "InvalidArgument", "range must be in format 'bytes=start-end', 'bytes=start-' or 'bytes=-suffix'.'"
)
COPY_RANGE_FORM = Answer(400, "InvalidArgument", "Invalid x-amz-copy-source-range: {value}")
COPY_RANGE_INVERTED = Answer(400, "InvalidArgument", "x-amz-copy-source-range must be positive.")
COPY_RANGE_PAST_END = Answer(400, "InvalidArgument", "Range specified is not valid for source object of size: {size}")
RANGE_INVERTED = Answer(400, "InvalidArgument", "range must be positive.")

LOCKED = Answer(403, "ObjectLockedByBucketPolicy", "The object is locked by the bucket policy.")

# Uploads
UNEQUAL_PARTS = Answer(400, "InvalidPart", "All non-trailing parts must have the same length.")
PART_TOO_SMALL = Answer(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
UNKNOWN_PART = Answer(400, "InvalidPart", "One or more of the specified parts could not be found.")
DUPLICATE_PART = Answer(400, "InvalidPart", "There was a problem with the multipart upload.")
NO_UPLOAD = Answer(404, "NoSuchUpload", "The specified multipart upload does not exist.", always=True)
PART_NUMBER = Answer(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
# R2 accepts these requests. This is S3's answer, given when the rule is switched off.
PART_ORDER = Answer(400, "InvalidPartOrder", "The list of parts was not in ascending order.")

# Keys, sizes, headers
KEY_TOO_LONG = Answer(400, "InvalidObjectName", "The specified object name is not valid.")
METADATA_TOO_LARGE = Answer(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")
TOO_LARGE = Answer(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
NO_LENGTH = Answer(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
STORAGE_CLASS = Answer(400, "InvalidStorageClass", "The storage class specified is not valid.")
CUSTOMER_KEY = Answer(400, "InvalidArgument", "{problem}")
CUSTOMER_KEY_MISSING = Answer(
    400,
    "InvalidRequest",
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve "
    "the object.",
)
CUSTOMER_KEY_UNUSED = Answer(400, "InvalidRequest", "The encryption parameters are not applicable to this object.")
CUSTOMER_KEY_WRONG = Answer(403, "AccessDenied", "Access Denied")
CUSTOMER_ALGORITHM = Answer(
    400,
    "InvalidEncryptionAlgorithmError",
    "The encryption request that you specified is not valid. The valid value is AES256.",
)

# Checksums
BAD_DIGEST = Answer(
    400,
    "BadDigest",
    "The {name} checksum you specified did not match what we received.\n"
    "You provided a {name} checksum with value: {given}\nActual {name} was: {actual}",
)
INVALID_DIGEST = Answer(400, "InvalidDigest", "The checksum or Content-MD5 you specified is not valid.")

SEVERAL_CHECKSUMS = Answer(400, "InvalidRequest", "You can only specify one non-default checksum at a time.")
PART_CHECKSUM = Answer(501, "NotImplemented", _HEADER)
CHECKSUM_TYPE = Answer(501, "NotImplemented", _HEADER)

# CORS
PREFLIGHT = Answer(403, "Unauthorized", "CORS not configured for this bucket", cors=False)
CORS_DOCUMENT = Answer(400, "MalformedXML", MALFORMED_XML.message)
CORS_POLICY = Answer(400, "InvalidArgument", "{problem}")

ANSWERS: dict[str, Answer] = {name: value for name, value in list(globals().items()) if isinstance(value, Answer)}
