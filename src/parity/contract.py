"""What an application says of itself, so that the generic checks can use it without knowing a route of it.

A repository that is checked has one Python file with a class ``Contract``. An instance is one person: the harness makes
it with an ``Api``, the app as that person's browser reaches it, and calls its methods. Four methods and one attribute
are required (``Contract`` below); everything else (``FullContract``) is optional, and a check that needs what is absent
is "not declared". Methods raise ``Refused`` for whatever the app does not acknowledge; ``api.call`` does so by itself.

A YAML description was tried first and rejected: sign-ins with several steps, parts with ETags, polling and redirects
grow into a language of their own. Plain Python with httpx says all of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import httpx

if TYPE_CHECKING:
    from parity.checks.variants import Change

# Fly Proxy sends a request with this header to that Machine alone, and wakes it for it (superfly/docs, dynamic request
# routing).
PINNED = "Fly-Force-Instance-Id"
PREFERRED = "Fly-Prefer-Instance-Id"
TOO_MANY = 429
# The Machine to which the requests of this task go, whatever ``Api.machine`` says: two calls of one person may so meet
# two Machines at once.
BY_WAY_OF: ContextVar[str | None] = ContextVar("by_way_of", default=None)


class Refused(AssertionError):
    """The app answered otherwise than the contract expects. ``status`` is 0 where no answer came."""

    def __init__(self, what: str, status: int, text: str) -> None:
        super().__init__(f"{what} answered {status or 'nothing'}: {text[:300]}")
        self.status = status


class RateLimited(Exception):
    """The app answered 429 where the contract does not expect it: the run is too fast, which says nothing of the app.

    ``Contract.people`` says how often people may be made.
    """


@dataclass(frozen=True)
class StubCall:
    """What the app asked of a stub of ``[stubs]``: a mail with a code, a payment …"""

    method: str
    path: str
    body: str
    status: int


@dataclass
class Api:
    """The app as one person's browser on the page's origin reaches it.

    ``http`` belongs to this person alone: its cookies are the person's. ``headers`` go with every request; ``user`` is
    an id that nobody had before; ``origin`` is None where the page and the API are one origin. ``machine`` pins the
    requests to one Machine.
    """

    http: httpx.AsyncClient
    origin: str | None
    user: str = field(default_factory=lambda: f"chk{secrets.token_hex(5)}")
    headers: dict[str, str] = field(default_factory=dict)
    machine: str | None = None
    # Whether a Machine that would hand requests over to another one is to serve them itself.
    served_here: bool = True
    # What a stub was asked, as the harness gives it; None at a deployed app.
    stubs: Callable[[str], Awaitable[Sequence[StubCall]]] | None = None

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers of this person's requests, as the browser and the pinning add them."""
        origin = {"Origin": self.origin} if self.origin else {}
        return {**origin, **self.headers, **self.routing}

    @property
    def routing(self) -> dict[str, str]:
        """Headers that bring a request, or a WebSocket's handshake, to this person's Machine and keep it there.

        The others make the edge say that another Machine was preferred and cannot be had, and that the request was
        replayed once already: an app that sends a person to the Machine that owns their data (``fly-replay``) then
        serves them where they are. The stand-in takes ``Fly-Replay-Src`` from a client only beside the first one.
        """
        machine = BY_WAY_OF.get() or self.machine
        here = {PREFERRED: "another", "Fly-Replay-Src": "instance=harness"} if self.served_here else {}
        return {PINNED: machine, **here} if machine else {}

    async def ask(
        self, method: str, path: str, json: object = None, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """The answer, whatever its status. ``more`` goes to ``httpx`` (``data``, ``files``, ``content``, ``params`` …).

        Raises ``Refused`` with status 0 when the connection broke, ``httpx.ConnectError`` when nothing listens there.
        """
        try:
            return await self.http.request(
                method, path, headers={**self.all_headers, **(headers or {})}, json=json, **more
            )
        except httpx.ConnectError:
            raise
        except httpx.HTTPError as error:
            raise Refused(f"{method} {path}", 0, repr(error)) from None

    async def call(
        self, method: str, path: str, json: object = None, *, expect: int | Collection[int] = 200, **more: Any
    ) -> Any:
        """The answer's JSON; None for an empty body, the text where it is no JSON.

        Raises ``Refused`` for a status that is not expected, ``RateLimited`` for a 429 that is not.
        """
        answer = await self.ask(method, path, json, **more)
        expected = (expect,) if isinstance(expect, int) else expect
        if answer.status_code not in expected:
            if answer.status_code == TOO_MANY:
                raise RateLimited(f"{method} {path} answered 429: {answer.text[:200]}")
            raise Refused(f"{method} {path}", answer.status_code, answer.text)
        if not answer.content:
            return None
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    async def stub_calls(self, stub: str, containing: str = "") -> Sequence[StubCall]:
        """What the app asked of this stub of parity.toml, oldest first, where the body has ``containing``.

        A sign-in that is confirmed by mail finds its code so. Raises ``Refused`` at a deployed app, which asks the real
        service.
        """
        if self.stubs is None:
            raise Refused(f"the stub {stub}", 0, "a deployed app has no stubs: sign_in must do without them there")
        return [call for call in await self.stubs(stub) if containing in call.body]

    async def send_file(
        self,
        url: str,
        data: bytes,
        content_type: str | None = None,
        *,
        method: str = "PUT",
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Send ``data`` to a presigned URL as a browser does, preflight first; the ETag, which a page must be able to
        read.

        Raises ``Refused`` where the bucket's CORS policy or the signature forbids it.
        """
        origin = {"Origin": self.origin} if self.origin else {}
        kind = {"Content-Type": content_type} if content_type else {}
        sent = {**kind, **(headers or {})}
        if self.origin:
            asked = {**origin, "Access-Control-Request-Method": method}
            if sent:
                asked["Access-Control-Request-Headers"] = ",".join(sorted(name.lower() for name in sent))
            preflight = await self.http.options(url, headers=asked)
            allowed = preflight.headers.get("access-control-allow-origin")
            if not preflight.is_success or allowed not in (self.origin, "*"):
                raise Refused("the preflight of the upload", preflight.status_code, preflight.text)
        answer = await self.http.request(method, url, content=data, headers={**origin, **sent})
        if not answer.is_success:
            raise Refused("the upload to R2", answer.status_code, answer.text)
        if self.origin:
            exposed = answer.headers.get("access-control-expose-headers", "").lower()
            if "etag" not in exposed and "*" not in exposed:
                raise Refused("the upload to R2", answer.status_code, "no page can read its ETag: it is not exposed")
        return str(answer.headers.get("etag", ""))


# --- where data lives


@dataclass(frozen=True)
class InBucket:
    """All that people write ends in the bucket, below ``prefix``, within ``within_s`` seconds of its acknowledgement.

    0 means: before the answer. A backend with asynchronous replication names its delay, and durability is polled.
    """

    prefix: str
    within_s: float = 0.0


@dataclass(frozen=True)
class Elsewhere:
    """What people write lives outside of the bucket (Postgres …): an outage of R2 must not stop writes."""


@dataclass(frozen=True)
class Prefix:
    """Environments share one bucket; every key of this one begins with ``name`` and a slash."""

    name: str


@dataclass(frozen=True)
class OwnBucket:
    """Each environment has a bucket of its own."""


@dataclass(frozen=True)
class Rate:
    """At most ``count`` new people within ``per_s`` seconds."""

    count: int
    per_s: float


# --- what optional methods give


@dataclass(frozen=True)
class Call:
    """A request of this person."""

    method: str
    path: str
    json: object = None


@dataclass(frozen=True)
class Refusal:
    """A request that must fail with ``status``."""

    method: str
    path: str
    status: int
    json: object = None


@dataclass(frozen=True)
class Edit:
    """One field of one record: ``do`` changes it to a text, ``shown`` reads it back. Both raise ``Refused``."""

    do: Callable[[str], Awaitable[None]]
    shown: Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Socket:
    """A WebSocket of this person. ``expect`` is a pattern of the first message after ``send``; empty for none.

    ``subprotocols`` are those that a page names (``new WebSocket(url, [...])``), a token among them for many apps: a
    browser adds no header of its own to a WebSocket.
    """

    path: str
    send: str = ""
    expect: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    subprotocols: Sequence[str] = ()


@dataclass(frozen=True)
class Uploaded:
    """A finished upload: its ``key`` in the bucket, and a URL at which a browser reads it, where there is one."""

    key: str
    url: str | None = None


@dataclass(frozen=True)
class JobState:
    """How far a job is. ``reason`` is what the person is told of a failure; ``keys`` are the objects that it made."""

    at: Literal["running", "done", "failed"]
    reason: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """Work that was begun; ``state`` asks the app how far it is. It must end within ``done_s`` seconds."""

    state: Callable[[], Awaitable[JobState]]
    done_s: float = 60.0


@dataclass(frozen=True)
class OldData:
    """What a former release left: objects by full key, and the texts that ``read`` must then show."""

    objects: Mapping[str, bytes]
    shown: Sequence[str]


class Contract(Protocol):
    """What every app must say."""

    keeps: ClassVar[InBucket | Elsewhere]
    api: Api

    def __init__(self, api: Api) -> None: ...

    async def sign_in(self) -> None:
        """A person who was never here comes: ``api.user`` is new."""

    async def write(self, text: str) -> None:
        """Store ``text``; returns once the app has acknowledged it."""

    async def read(self) -> Collection[str]:
        """Every text that this person stored."""


class FullContract(Contract, Protocol):
    """Everything that an app may say. What is absent makes the checks that need it "not declared"."""

    environments: ClassVar[Prefix | OwnBucket]
    # Absent: app.frontend_origin of parity.toml. None: page and API are one origin, there is no CORS.
    origin: ClassVar[str | None]
    people: ClassVar[Rate]
    # Patterns of paths at which everybody may read what one person has, by design: shared films, public profiles.
    public: ClassVar[Collection[str]]
    # The release that comes after this one: a change whose migration only adds (``Wrap``, ``Patch``, ``Env`` …).
    newer_release: ClassVar[Change]
    # Broken variants that only the app can name, by the name that checks use: ``Named("…")``.
    broken: ClassVar[Mapping[str, Change]]

    async def owns(self) -> str:
        """The prefix in the bucket below which this person's data lies. Absent: ``keeps.prefix``, shared by all."""

    async def cold_person(self) -> None:
        """The person comes back in a browser that knows only ``api.user``. Absent: with all headers and cookies."""

    async def edit(self) -> Sequence[Edit]:
        """At least two fields of one record that have nothing to do with each other."""

    async def delete(self, text: str) -> None:
        """Delete what ``write(text)`` stored."""

    async def leave(self) -> None:
        """The person deletes everything that is theirs: throw-away people of a deployed app end so. Absent: what they
        wrote is deleted, where there is ``delete``."""

    async def refused(self) -> Sequence[Refusal]:
        """Requests that must fail, and how: an unknown path, an unknown id, a body that makes no sense …"""

    async def sockets(self) -> Sequence[Socket]:
        """WebSockets that this person may open now."""

    async def upload(self, data: bytes) -> Uploaded:
        """Upload a video as the page does (``api.send_file``) and finish it."""

    async def content(self, key: str) -> bytes:
        """The content of an uploaded object as the app gives it to this person."""

    async def job(self) -> Job:
        """Begin the app's longest work (after ``upload`` where it needs a video); returns at once."""

    async def old_data(self) -> Mapping[str, OldData]:
        """For a person who has not signed in: what each former release would have left, by the release's name."""

    async def crash(self) -> Call:
        """A request that raises inside the app, whatever the app has around its routes. Absent: the harness adds a
        route to an ASGI app for it."""


def _members(what: type) -> frozenset[str]:
    return frozenset(name for name in {*vars(what), *what.__annotations__} if not name.startswith("_"))


REQUIRED = _members(Contract)
KNOWN = REQUIRED | _members(FullContract)
OPTIONAL = KNOWN - REQUIRED
