"""Maps every expected exception of a handler to a problem response (RFC 9457)."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.websockets import WebSocket, WebSocketState

from app import problems
from app.ids import InvalidId
from app.problems import ProblemError, ProblemKind
from app.storage.interface import (
    InvalidRequest,
    ObjectMissing,
    PreconditionFailed,
    StorageError,
)
from app.storage.keys import InvalidKey
from app.sync.interface import SchemaTooNew, SyncConflict, SyncDamaged, SyncError, SyncGone

log = logging.getLogger(__name__)

_BY_STATUS = {
    kind.status: kind
    for kind in (
        problems.BAD_REQUEST,
        problems.FORBIDDEN,
        problems.NOT_FOUND,
        problems.METHOD_NOT_ALLOWED,
        problems.REQUEST_TIMEOUT,
        problems.CONFLICT,
        problems.GONE,
        problems.BODY_TOO_LARGE,
        problems.UNSUPPORTED_MEDIA_TYPE,
        problems.RANGE_NOT_SATISFIABLE,
        problems.INVALID,
        problems.INTERNAL,
    )
}
_DEFAULT_DETAILS = {
    404: "There is nothing at this path; /docs lists the operations",
    405: "This path does not serve that method; see the Allow header",
}


def sync_problem(error: SyncError | StorageError, path: str) -> Response:
    """503 if the database or store cannot be used; 410 if the profile was deleted."""
    if isinstance(error, SyncGone):
        return problems.response(problems.GONE, "This profile was deleted; its id is never used again", instance=path)
    if isinstance(error, SyncConflict):
        kind, detail = problems.SYNC_CONFLICT, "Another Machine changed this profile meanwhile; nothing was stored"
    elif isinstance(error, SyncDamaged):
        kind, detail = problems.SYNC_DAMAGED, f"{error}; an operator can look with python -m app.replication verify"
    elif isinstance(error, SchemaTooNew):
        kind, detail = problems.SCHEMA_TOO_NEW, str(error)
    elif isinstance(error, SyncError):
        kind, detail = problems.SYNC_UNAVAILABLE, "Object storage could not be reached; try again"
    else:
        kind, detail = problems.STORAGE_UNAVAILABLE, "Object storage could not be reached; try again"
    log.warning("%s: %s: %s", path, type(error).__name__, error)
    return problems.response(kind, detail, instance=path)


def to_response(error: Exception, path: str) -> Response:
    """The problem response for an exception. Raises an unexpected exception again."""
    if isinstance(error, ProblemError):
        return problems.response(error.kind, error.detail, instance=path, headers=error.headers, extra=error.extra)
    if isinstance(error, RequestValidationError):
        return _validation_problem(error, path)
    if isinstance(error, HTTPException):
        kind = _BY_STATUS.get(error.status_code) or _plain_kind(error.status_code)
        detail = str(error.detail)
        if isinstance(error.__cause__, ValueError | RecursionError):
            detail = _unreadable(error.__cause__)  # FastAPI says only that there was an error
        elif detail == kind.title or detail == _phrase(error.status_code):
            detail = _DEFAULT_DETAILS.get(error.status_code, detail)
        return problems.response(kind, detail, instance=path, headers=error.headers)
    if isinstance(error, InvalidId | InvalidKey):
        return problems.response(problems.INVALID, str(error), instance=path)
    if isinstance(error, ObjectMissing):
        return problems.response(problems.NOT_FOUND, "The stored file does not exist", instance=path)
    if isinstance(error, InvalidRequest):
        return problems.response(problems.BAD_REQUEST, str(error), instance=path)
    if isinstance(error, PreconditionFailed):
        return problems.response(problems.CONFLICT, "The stored file changed meanwhile; try again", instance=path)
    if isinstance(error, SyncError | StorageError):
        return sync_problem(error, path)
    raise error


def install(app: FastAPI) -> None:
    """Registers the mapping. `UnexpectedErrorMiddleware` answers for all other exceptions."""
    handler: Callable[[Any, Any], Any] = _handle
    for kind in (HTTPException, RequestValidationError, InvalidId, InvalidKey, StorageError, SyncError):
        app.add_exception_handler(kind, handler)


async def _handle(connection: HTTPConnection, error: Exception) -> Response | None:
    answer = to_response(error, connection.scope["path"])
    if isinstance(connection, Request):
        if answer.status_code == problems.METHOD_NOT_ALLOWED.status:
            answer.headers["Allow"] = ", ".join(_allowed(connection))
        return answer
    assert isinstance(connection, WebSocket)
    if connection.application_state is not WebSocketState.CONNECTING:
        # 1013: try again later; 1008: the caller did something that is not allowed.
        await connection.close(1013 if answer.status_code >= 500 else 1008, reason=type(error).__name__)
    elif "websocket.http.response" in connection.scope.get("extensions", {}):
        await connection.send_denial_response(answer)
    else:
        await connection.close(1008)
    return None


def _allowed(request: Request) -> list[str]:
    """The methods of all operations at this path (RFC 9110 10.2.1); Starlette names those of one of them."""
    methods: set[str] = set()
    for found in request.app.routes:
        # FastAPI 0.165 keeps an included router as one entry.
        for route in found.original_router.routes if hasattr(found, "original_router") else [found]:
            if route.matches(request.scope)[0] is not Match.NONE:
                methods |= set(getattr(route, "methods", None) or ())
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _validation_problem(error: RequestValidationError, path: str) -> Response:
    errors = list(error.errors())
    if any(item["type"] == "json_invalid" for item in errors):
        reason = errors[0].get("ctx", {}).get("error", "not JSON")
        where = errors[0]["loc"][-1]
        return problems.response(
            problems.BAD_REQUEST, f"The body is not valid JSON: {reason} at character {where}", instance=path
        )
    if any(item["loc"] == ("body",) and isinstance(item.get("input"), bytes) for item in errors):
        # FastAPI decodes only a body whose type is JSON.
        return problems.response(
            problems.UNSUPPORTED_MEDIA_TYPE,
            "The body has another Content-Type than JSON, or none: expected application/json",
            instance=path,
        )
    found = [_field_error(item) for item in errors]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in found[:5])
    return problems.response(problems.INVALID, detail, instance=path, extra={"errors": found})


def _unreadable(cause: ValueError | RecursionError) -> str:
    """Why Python cannot read a body: it is not UTF-8, has a number of over 4300 digits, or is nested too deeply."""
    reason = "it is nested too deeply" if isinstance(cause, RecursionError) else str(cause).partition(";")[0]
    return f"The body is not valid JSON: {reason}"


def _field_error(item: Any) -> dict[str, str]:
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "Unknown field"
    return {"field": ".".join(str(part) for part in item["loc"]), "message": message, "type": item["type"]}


def _plain_kind(status: int) -> ProblemKind:
    phrase = _phrase(status)
    return ProblemKind(phrase.lower().replace(" ", "-"), status, phrase)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
