"""The exception of the stand-in's S3 side, and the errors that R2 shares with plain S3."""

from __future__ import annotations

from collections.abc import Mapping

from parity.r2 import answers
from parity.r2.answers import Answer


class R2Error(Exception):
    """An answer that is an ``<Error>`` document. ``rule`` is its number in the table, 0 for plain S3 errors."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        cors: bool = True,
        rule: int = 0,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})
        self.cors, self.rule = cors, rule
        self.extra = dict(extra or {})


def _of(answer: Answer, rule: int) -> R2Error:
    """An error that S3 gives as well, so it does not depend on a rule."""
    return R2Error(answer.status, answer.code, answer.message, rule=rule)


def no_such_key() -> R2Error:
    return R2Error(404, "NoSuchKey", "The specified key does not exist.")


def no_such_bucket() -> R2Error:
    return R2Error(404, "NoSuchBucket", "The specified bucket does not exist.")


def bucket_not_empty() -> R2Error:
    return R2Error(409, "BucketNotEmpty", "The bucket you tried to delete is not empty.")


def bucket_exists() -> R2Error:
    return R2Error(409, "BucketAlreadyOwnedByYou", "The bucket you tried to create already exists, and you own it.")


def invalid_bucket_name() -> R2Error:
    return R2Error(400, "InvalidBucketName", "The specified bucket name is not valid.")


def no_such_upload() -> R2Error:
    return _of(answers.NO_UPLOAD, 18)


def no_cors_configuration() -> R2Error:
    return R2Error(404, "NoSuchCORSConfiguration", "The CORS configuration does not exist.")


def not_modified(headers: Mapping[str, str]) -> R2Error:
    """304: no body, the validators of the object in the headers."""
    return R2Error(304, "NotModified", "Not Modified", headers=headers)


def malformed_xml() -> R2Error:
    """The error for a body that is not the expected document; every S3 gives it, whether rule 27 holds or not."""
    return _of(answers.MALFORMED_XML, 27)


def incomplete_body() -> R2Error:
    return R2Error(
        400,
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )


def invalid_argument(message: str) -> R2Error:
    return R2Error(400, "InvalidArgument", message)


def invalid_request(message: str) -> R2Error:
    return R2Error(400, "InvalidRequest", message)


def internal_error() -> R2Error:
    return R2Error(500, "InternalError", "We encountered an internal error. Please try again.")


def request_timeout() -> R2Error:
    """The error for a client that stopped sending in the middle of a body, with S3's message."""
    return R2Error(
        400,
        "RequestTimeout",
        "Your socket connection to the server was not read from or written to within the timeout period. "
        "Idle connections will be closed.",
    )


def upstream_failed(problem: str) -> R2Error:
    """R2's error when its own storage fails; given here when the configured upstream fails."""
    return R2Error(500, "InternalError", f"We encountered an internal error. Please try again. ({problem})")
