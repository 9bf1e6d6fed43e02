"""Whose request this is, and which: kept in context variables that survive into threads and background tasks."""

from contextvars import ContextVar
from dataclasses import dataclass

from app.ids import check_id


@dataclass(frozen=True)
class UserContext:
    """A user and one of the user's profiles; both ids are valid by construction (`InvalidId` otherwise)."""

    user_id: str
    profile_id: str

    def __post_init__(self) -> None:
        check_id(self.user_id, "user id")
        check_id(self.profile_id, "profile id")


@dataclass(frozen=True)
class Caller:
    """What the headers of a request said; None where a header was absent.

    ``position`` is the newest TXID that the client has been told of for this profile, 0 where it told none.
    """

    user_id: str | None = None
    profile_id: str | None = None
    position: int = 0


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def current_caller() -> Caller:
    """The caller of the request that this code runs for; an empty one outside of requests."""
    return _caller.get() or Caller()


def current_request_id() -> str | None:
    """Fly's id of the request that this code runs for; None outside of requests and away from Fly.

    It goes into every task that the request sets off: an upload that several requests wait for, or a job, counts for
    the request that began it.
    """
    return _request_id.get()


caller_variable = _caller
request_id_variable = _request_id
