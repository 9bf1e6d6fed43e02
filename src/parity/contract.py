"""The contract: the class in which an app tells the generic checks how its people sign in, write and read.

The generic checks know no route and no header of any app, so a checked repository has one Python file with a class
``Contract``. Each instance stands for one person. The harness creates it with an ``Api``, an HTTP client that behaves
like that person's browser, and calls its methods. The attribute ``keeps`` and the methods of ``Contract`` below are
required. Everything in ``FullContract`` is optional: a check that needs an absent part ends as "not declared". A method
raises ``Refused`` when the app does not acknowledge its request; ``api.call`` does so for the method.

We tried a YAML description first and rejected it. Sign-ins with several steps, uploads in parts, polling and redirects
would have needed a language of their own; plain Python with httpx can express all of them.
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

# Fly Proxy sends a request with ``Fly-Force-Instance-Id`` only to that Machine, and starts the Machine if needed
# (superfly/docs, dynamic request routing).
PINNED = "Fly-Force-Instance-Id"
PREFERRED = "Fly-Prefer-Instance-Id"
TOO_MANY = 429
# The Machine that receives the requests of the current task; it overrides ``Api.machine``. It lets two concurrent
# calls of one person go to two Machines.
BY_WAY_OF: ContextVar[str | None] = ContextVar("by_way_of", default=None)


class Refused(AssertionError):
    """The app did not give the answer that the contract expects. ``status`` is the HTTP status; 0 without an answer.

    It is an ``AssertionError``, so a check that does not catch it fails: the app is at fault, not the harness.
    """

    def __init__(self, what: str, status: int, text: str) -> None:
        super().__init__(f"{what} answered {status or 'nothing'}: {text[:300]}")
        self.status = status


class RateLimited(Exception):
    """The app answered 429, and the contract does not expect it.

    The check ends as an error, not as a failure: the run sent too many requests, which tells nothing about the app. Set
    ``people`` in the contract to the number of people that the app lets sign up within a time.
    """


@dataclass(frozen=True)
class StubCall:
    """A request that the app sent to a stub of ``[stubs]`` in parity.toml, such as a mail with a code or a payment."""

    method: str
    path: str
    body: str
    status: int


@dataclass
class Api:
    """An HTTP client that sends requests to the app as one person's browser does from the page's origin.

    ``http`` belongs to this person and keeps their cookies. ``headers`` are sent with every request. ``user`` is a new
    id, unique to this person. ``origin`` is the page's; None where page and API have the same origin. ``machine`` pins
    the requests to one Machine.
    """

    http: httpx.AsyncClient
    origin: str | None
    user: str = field(default_factory=lambda: f"chk{secrets.token_hex(5)}")
    headers: dict[str, str] = field(default_factory=dict)
    machine: str | None = None
    # True: the pinned Machine must serve the request itself. False: it may replay it to another Machine (fly-replay).
    served_here: bool = True
    # Returns the requests that a stub has received. The harness sets it; None at a deployed app, which has no stubs.
    stubs: Callable[[str], Awaitable[Sequence[StubCall]]] | None = None

    @property
    def all_headers(self) -> dict[str, str]:
        """All headers of a GET request: ``headers``, the browser's ``Origin`` and those of ``routing``."""
        return self.headers_for("GET")

    def headers_for(self, method: str) -> dict[str, str]:
        """All headers of a request with this method.

        A page of the API's own origin sends ``Origin`` too, except with GET and HEAD (Fetch standard, "append a request
        Origin header"). Apps check it against forged requests. ``WEBSOCKET`` is a handshake, which always has it.
        """
        url = self.http.base_url
        own = f"{url.scheme}://{url.netloc.decode()}" if url.host and method not in ("GET", "HEAD") else None
        origin = self.origin or own
        return {**({"Origin": origin} if origin else {}), **self.headers, **self.routing}

    @property
    def routing(self) -> dict[str, str]:
        """Headers that send a request, or a WebSocket's handshake, to this person's Machine; empty without one.

        ``Fly-Force-Instance-Id`` selects the Machine. With ``served_here``, two more headers tell the app that another,
        preferred Machine is unavailable and that the request was replayed once already. An app that replays requests
        to the Machine that owns the person's data (``fly-replay``) then serves this one itself. The stand-in accepts
        ``Fly-Replay-Src`` from a client only together with ``Fly-Force-Instance-Id``.
        """
        machine = BY_WAY_OF.get() or self.machine
        here = {PREFERRED: "another", "Fly-Replay-Src": "instance=harness"} if self.served_here else {}
        return {PINNED: machine, **here} if machine else {}

    async def ask(
        self, method: str, path: str, json: object = None, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """Send a request, and return the answer of any status.

        ``more`` is passed to ``httpx`` (``data``, ``files``, ``content``, ``params`` …). Raises ``Refused`` with status
        0 when the connection breaks, and ``httpx.ConnectError`` when nothing listens at the address.
        """
        try:
            return await self.http.request(
                method, path, headers={**self.headers_for(method), **(headers or {})}, json=json, **more
            )
        except httpx.ConnectError:
            raise
        except httpx.HTTPError as error:
            raise Refused(f"{method} {path}", 0, repr(error)) from None

    async def call(
        self, method: str, path: str, json: object = None, *, expect: int | Collection[int] = 200, **more: Any
    ) -> Any:
        """Send a request, and return the JSON of the answer: None for an empty body, the text where it is not JSON.

        Raises ``RateLimited`` for an unexpected 429, and ``Refused`` for any other unexpected status.
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

    async def first_event(self, path: str, *, headers: Mapping[str, str] | None = None) -> str:
        """The data of the first server-sent event of this path; the stream is then closed.

        Raises ``Refused`` for another status, for a broken connection, and for a stream that ends without an event.
        """
        asked, data = f"GET {path}", list[str]()
        try:
            async with self.http.stream("GET", path, headers={**self.all_headers, **(headers or {})}) as answer:
                if not answer.is_success:
                    raise Refused(asked, answer.status_code, (await answer.aread()).decode("utf-8", "replace"))
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        data.append(line.removeprefix("data:").removeprefix(" "))
                    elif not line and data:
                        return "\n".join(data)
        except httpx.ConnectError:
            raise
        except httpx.HTTPError as error:
            raise Refused(asked, 0, repr(error)) from None
        raise Refused(asked, answer.status_code, "the stream ended without an event")

    async def stub_calls(self, stub: str, containing: str = "") -> Sequence[StubCall]:
        """The requests that the app sent to this stub of parity.toml with ``containing`` in the body, oldest first.

        A sign-in that is confirmed by mail finds its code here. Raises ``Refused`` at a deployed app, which calls the
        real service instead of the stub.
        """
        if self.stubs is None:
            raise Refused(
                f"the stub {stub}",
                0,
                "a deployed app has no stubs, it calls the real service: sign_in must do without them",
            )
        return [call for call in await self.stubs(stub) if containing in call.body]

    async def send_file(
        self,
        url: str,
        data: bytes,
        content_type: str | None = None,
        *,
        method: str = "PUT",
        headers: Mapping[str, str] | None = None,
        etag: bool | None = None,
    ) -> str:
        """Send ``data`` to a presigned URL as a browser does, with the preflight first.

        Returns the ETag; empty where the bucket's CORS policy does not let the page read it. ``etag`` says whether the
        page needs it; by default it does for a part of a multipart upload, which is completed with the ETags, and not
        for a whole file. Raises ``Refused`` where the policy or the signature forbids the upload, or the policy hides
        an ETag that the page needs.
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
        exposed = answer.headers.get("access-control-expose-headers", "").lower()
        if not self.origin or "etag" in exposed or "*" in exposed:
            return str(answer.headers.get("etag", ""))
        if etag or (etag is None and "partNumber" in httpx.URL(url).params):
            raise Refused(
                "the upload to R2",
                answer.status_code,
                "its ETag is not exposed to the page: add ETag to ExposeHeaders of its CORS policy",
            )
        return ""


# --- where data lives


@dataclass(frozen=True)
class InBucket:
    """Everything that people write is in the bucket, below ``prefix``, ``within_s`` seconds after its acknowledgement.

    0 means that the write is in the bucket before its answer. A backend with asynchronous replication (Litestream)
    gives its delay, and the checks of durability then poll for so long.
    """

    prefix: str
    within_s: float = 0.0


@dataclass(frozen=True)
class Elsewhere:
    """What people write is stored outside the bucket, for example in Postgres. An outage of R2 must not stop writes."""


@dataclass(frozen=True)
class Prefix:
    """Several environments share one bucket. Every key of this environment begins with ``name`` and a slash."""

    name: str


@dataclass(frozen=True)
class OwnBucket:
    """Each environment has its own bucket."""


@dataclass(frozen=True)
class Rate:
    """The app lets at most ``count`` new people sign in within ``per_s`` seconds; the harness waits accordingly."""

    count: int
    per_s: float


# --- what optional methods give


@dataclass(frozen=True)
class Call:
    """A request that is sent as this person."""

    method: str
    path: str
    json: object = None


@dataclass(frozen=True)
class Refusal:
    """A request that the app must answer with ``status``, an error."""

    method: str
    path: str
    status: int
    json: object = None


@dataclass(frozen=True)
class Edit:
    """One field of one record. ``do`` sets it to a text, ``shown`` returns its text. Both raise ``Refused``."""

    do: Callable[[str], Awaitable[None]]
    shown: Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Socket:
    """A WebSocket of this person.

    ``send`` is the message to send first; empty for none. ``expect`` is a pattern (``re.search``) for the first message
    that then comes; empty where none is expected. ``subprotocols`` are those that the page names
    (``new WebSocket(url, [...])``). Many apps pass a token there, because a page cannot add headers to a WebSocket.
    """

    path: str
    send: str = ""
    expect: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    subprotocols: Sequence[str] = ()


@dataclass(frozen=True)
class Uploaded:
    """A finished upload: its ``key`` in the bucket, and the URL at which a browser reads it; None without one."""

    key: str
    url: str | None = None


@dataclass(frozen=True)
class JobState:
    """The state of a job. ``reason`` is the text that the app shows for a failure; ``keys`` are the output objects."""

    at: Literal["running", "done", "failed"]
    reason: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A job that has begun. ``state`` asks the app for its state. The job must end within ``done_s`` seconds."""

    state: Callable[[], Awaitable[JobState]]
    done_s: float = 60.0


@dataclass(frozen=True)
class OldData:
    """The data of one person under a former release: objects by full key, and the texts that ``read`` must show."""

    objects: Mapping[str, bytes]
    shown: Sequence[str]


class Contract(Protocol):
    """The required part of a contract."""

    keeps: ClassVar[InBucket | Elsewhere]
    api: Api

    def __init__(self, api: Api) -> None: ...

    async def sign_in(self) -> None:
        """Sign in a new person. ``api.user`` is an id that no person had before."""

    async def write(self, text: str) -> None:
        """Store ``text``, and return once the app has acknowledged it."""

    async def read(self) -> Collection[str]:
        """Every text that this person has stored."""


class FullContract(Contract, Protocol):
    """The whole contract, optional parts included. A check that needs an absent part ends as "not declared"."""

    # How environments are separated in R2.
    environments: ClassVar[Prefix | OwnBucket]
    # The origin of the page. None: page and API have the same origin, so CORS does not apply. Absent: parity.toml's
    # app.frontend_origin counts.
    origin: ClassVar[str | None]
    # How many new people the app accepts within a time, where it has a limit.
    people: ClassVar[Rate]
    # Patterns of paths at which everyone may read a person's data by design, such as shared films or public profiles.
    public: ClassVar[Collection[str]]
    # A change that plays the next release, whose migration only adds (``Wrap``, ``Patch``, ``Env`` …).
    newer_release: ClassVar[Change]
    # Broken variants that only the app can build, by the names that checks use in ``Named("…")``.
    broken: ClassVar[Mapping[str, Change]]

    async def owns(self) -> str:
        """The prefix of this person's data in the bucket. Absent: ``keeps.prefix``, which all people share."""

    async def cold_person(self) -> None:
        """The person returns in a new browser that knows only ``api.user``.

        Absent: the new browser has the person's headers and cookies.
        """

    async def edit(self) -> Sequence[Edit]:
        """At least two independent fields of one record."""

    async def delete(self, text: str) -> None:
        """Delete what ``write(text)`` stored."""

    async def leave(self) -> None:
        """Delete everything of this person. The harness calls it at the end of a check of a deployed app.

        Absent: what the person wrote is deleted with ``delete``, where the contract has it.
        """

    async def refused(self) -> Sequence[Refusal]:
        """Requests that must fail, with their statuses: an unknown path, an unknown id, a malformed body …"""

    async def sockets(self) -> Sequence[Socket]:
        """WebSockets that this person may open now."""

    async def upload(self, data: bytes) -> Uploaded:
        """Upload a video as the page does (``api.send_file``), and finish the upload."""

    async def content(self, key: str) -> bytes:
        """The content of an uploaded object as the app gives it to this person."""

    async def job(self) -> Job:
        """Begin the app's longest work and return at once. The harness calls ``upload`` first, where there is one.

        After a job that failed, it may be called again without another upload.
        """

    async def old_data(self) -> Mapping[str, OldData]:
        """The data that each former release would have left, by the release's name. The person has not signed in."""

    async def crash(self) -> Call:
        """A request that raises an unhandled exception inside the app. Absent: the harness adds such a route (ASGI)."""


def _members(what: type) -> frozenset[str]:
    return frozenset(name for name in {*vars(what), *what.__annotations__} if not name.startswith("_"))


REQUIRED = _members(Contract)
KNOWN = REQUIRED | _members(FullContract)
OPTIONAL = KNOWN - REQUIRED
