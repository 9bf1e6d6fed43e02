"""The problem responses (RFC 9457) of this API: one kind per type of error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One field of a request that could not be accepted."""

    field: str = Field(description="Where: `body.name`, `query.key`, `path.clip_id`, `header.X-User-ID`.")
    message: str
    type: str


class ProblemBody(BaseModel):
    """A problem as RFC 9457 has it."""

    type: str = Field(description="Identifies the kind of problem.")
    title: str
    status: int
    detail: str
    instance: str | None = Field(default=None, description="Path of the request.")
    errors: list[FieldError] | None = Field(default=None, description="The fields that are wrong.")


class ProblemError(HTTPException):
    """An error that reaches the client as a problem body. Made by `ProblemKind.error`."""

    def __init__(
        self,
        kind: "ProblemKind",
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.extra = dict(extra or {})
        super().__init__(kind.status, detail, {**kind.headers, **(headers or {})})


@dataclass(frozen=True)
class ProblemKind:
    """A sort of problem: `slug` becomes its type `/problems/{slug}`, `headers` go with every answer of this kind."""

    slug: str
    status: int
    title: str
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)

    def error(
        self, detail: str, *, headers: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
    ) -> ProblemError:
        """The exception to raise; `extra` members go into the body."""
        return ProblemError(self, detail, headers=headers, extra=extra)


SYNC_STATUS_HEADER = "X-Sync-Status"
POSITION_HEADER = "X-Sync-Position"
"""The TXID that holds all that an answer shows; sent back, nothing older is shown (`docs/replication.md`)."""

BAD_REQUEST = ProblemKind("bad-request", 400, "Bad request")
MISSING_HEADER = ProblemKind("missing-header", 400, "A required header is missing")
INVALID_HEADER = ProblemKind("invalid-header", 400, "A header is not valid")
UNAUTHORIZED = ProblemKind("unauthorized", 401, "The access token is missing or wrong", {"WWW-Authenticate": "Bearer"})
FORBIDDEN_ORIGIN = ProblemKind("forbidden-origin", 403, "Origin not allowed")
FORBIDDEN = ProblemKind("forbidden", 403, "Forbidden")
NOT_FOUND = ProblemKind("not-found", 404, "Not found")
UNKNOWN_PROFILE = ProblemKind("unknown-profile", 404, "Unknown profile")
GONE = ProblemKind("gone", 410, "The profile was deleted")
METHOD_NOT_ALLOWED = ProblemKind("method-not-allowed", 405, "Method not allowed")
REQUEST_TIMEOUT = ProblemKind("request-timeout", 408, "The request took too long", {"Connection": "close"})
CONFLICT = ProblemKind("conflict", 409, "Conflict")
BODY_TOO_LARGE = ProblemKind("body-too-large", 413, "Request body too large", {"Connection": "close"})
UNSUPPORTED_MEDIA_TYPE = ProblemKind("unsupported-media-type", 415, "Unsupported media type")
RANGE_NOT_SATISFIABLE = ProblemKind("range-not-satisfiable", 416, "Range not satisfiable")
INVALID = ProblemKind("invalid-request", 422, "The request is not valid")
INTERNAL = ProblemKind("internal-error", 500, "Internal error")
STORAGE_UNAVAILABLE = ProblemKind(
    "storage-unavailable", 503, "Object storage cannot be reached", {"Retry-After": "5", SYNC_STATUS_HEADER: "failed"}
)
SYNC_UNAVAILABLE = ProblemKind(
    "sync-unavailable", 503, "The database cannot be synced", {"Retry-After": "5", SYNC_STATUS_HEADER: "failed"}
)
SYNC_DAMAGED = ProblemKind(
    "sync-damaged", 503, "The stored database is damaged", {"Retry-After": "60", SYNC_STATUS_HEADER: "failed"}
)
SYNC_CONFLICT = ProblemKind(
    "sync-conflict", 503, "The database changed elsewhere", {"Retry-After": "1", SYNC_STATUS_HEADER: "conflict"}
)
SCHEMA_TOO_NEW = ProblemKind(
    "schema-too-new",
    503,
    "The database is newer than this release",
    {"Retry-After": "10", SYNC_STATUS_HEADER: "failed"},
)


def body(kind: ProblemKind, detail: str, *, instance: str | None = None, **extra: Any) -> dict[str, Any]:
    """The members of a problem body."""
    made: dict[str, Any] = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    if instance is not None:
        made["instance"] = instance
    return {**made, **extra}


def response(
    kind: ProblemKind,
    detail: str,
    *,
    instance: str | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """A problem as a response."""
    return JSONResponse(
        body(kind, detail, instance=instance, **(extra or {})),
        status_code=kind.status,
        headers={**kind.headers, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def responses(*kinds: ProblemKind) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of an operation that can answer with these kinds."""
    made: dict[int | str, dict[str, Any]] = {}
    for status in sorted({kind.status for kind in kinds}):
        of_status = [kind for kind in kinds if kind.status == status]
        made[status] = {
            "description": "; ".join(kind.title for kind in of_status),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemBody"},
                    "examples": {kind.slug: {"value": body(kind, "What was wrong.")} for kind in of_status},
                }
            },
        }
        headers = {name: {"schema": {"type": "string"}} for kind in of_status for name in kind.headers}
        if headers:
            made[status]["headers"] = headers
    return made


ANYWHERE = (REQUEST_TIMEOUT, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INTERNAL)
"""What every operation can answer."""
OF_A_USER = (*ANYWHERE, UNAUTHORIZED, MISSING_HEADER, INVALID_HEADER, BAD_REQUEST, INVALID, STORAGE_UNAVAILABLE)
"""What an operation of a user can answer."""
OF_A_PROFILE = (*OF_A_USER, UNKNOWN_PROFILE, GONE, SYNC_UNAVAILABLE, SYNC_DAMAGED, SYNC_CONFLICT, SCHEMA_TOO_NEW)
"""What an operation on a profile's data can answer."""
