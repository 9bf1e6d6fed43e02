"""The user, profile and id of the current request, in context variables, which threads and tasks inherit."""

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
    """What the headers of a request say; None for an absent header.

    ``position`` is the newest TXID of this profile that the client has seen; 0 if it sent none.
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
    """Fly's id of the request that this code runs for; None outside of requests and where Fly sets none.

    Tasks that a request starts inherit it. An upload that several requests wait for, or a job, has the id of the
    request that started it.
    """
    return _request_id.get()


caller_variable = _caller
request_id_variable = _request_id
