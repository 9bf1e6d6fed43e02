"""Whose request this is: kept in a context variable that survives into threads and background tasks."""

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
    """What the headers of a request said; None where a header was absent."""

    user_id: str | None = None
    profile_id: str | None = None


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current_caller() -> Caller:
    """The caller of the request that this code runs for; an empty one outside of requests."""
    return _caller.get() or Caller()


caller_variable = _caller
