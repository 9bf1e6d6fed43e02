"""The routes. Who it is says a bearer token; on the WebSocket a subprotocol, because browsers send no other header."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware

from scout import accounts, bucket, digests, films, notes, tokens
from scout.settings import MISTAKE, ORIGINS

SPOKEN = "scout.v1"


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    if MISTAKE == "sigterm_ignored":
        signal.signal(signal.SIGTERM, lambda *_: None)
    yield


api = FastAPI(lifespan=lifespan, redirect_slashes=False)


class Registration(BaseModel):
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=200)
    password: str = Field(min_length=8, max_length=200)


class Confirmation(BaseModel):
    email: str = Field(max_length=200)
    code: str = Field(max_length=20)


class Note(BaseModel):
    text: str = Field(min_length=1, max_length=20_000)


class Profile(BaseModel):
    club: str = Field(max_length=500)
    motto: str = Field(max_length=500)


class Film(BaseModel):
    bytes: int = Field(gt=0, le=2_000_000_000)
    kind: str = Field(pattern=r"^video/[a-z0-9.+-]+$")


class Part(BaseModel):
    number: int
    etag: str


class Parts(BaseModel):
    parts: list[Part] = Field(min_length=1, max_length=10_000)


def signed_in(authorization: Annotated[str, Header()] = "") -> str:
    account = tokens.account_of(authorization.removeprefix("Bearer "))
    if account is None:
        raise HTTPException(401, "sign in first", {"WWW-Authenticate": "Bearer"})
    return account


Account = Annotated[str, Depends(signed_in)]


def problem(status: int, text: str) -> JSONResponse:
    return JSONResponse({"title": text, "status": status}, status, media_type="application/problem+json")


PROBLEMS = {
    bucket.Unreachable: (503, "the bucket cannot be reached"),
    bucket.Absent: (404, "there is no such thing"),
    bucket.Changed: (409, "it was changed meanwhile"),
    accounts.Taken: (409, "that address has an account"),
    accounts.Wrong: (403, "address, password or code are wrong"),
    accounts.NoMail: (503, "no mail can be sent now"),
    films.Unfinished: (409, "the film did not arrive as announced"),
}
for kind, (status, text) in PROBLEMS.items():
    api.add_exception_handler(kind, lambda _request, _error, status=status, text=text: problem(status, text))


@api.middleware("http")
async def unexpected(request: Request, call_next: Any) -> Response:
    """Inside of CORS, so that the page can read this too."""
    try:
        response: Response = await call_next(request)
    except Exception:
        logging.getLogger("uvicorn.error").exception("unexpected")
        return problem(500, "unexpected")
    response.headers.setdefault("Cache-Control", "public, max-age=60" if MISTAKE == "notes_cached" else "no-store")
    return response


@api.get("/internal/live")
def live() -> dict[str, bool]:
    if MISTAKE == "health_needs_bucket":
        bucket.ask("head_bucket")
    return {"live": True}


@api.post("/v1/accounts", status_code=202)
def register(wanted: Registration) -> dict[str, str]:
    accounts.register(wanted.email, wanted.password)
    return {"next": "/v1/accounts/confirm"}


@api.post("/v1/accounts/confirm", status_code=204)
def confirm(wanted: Confirmation) -> None:
    accounts.confirm(wanted.email, wanted.code)


@api.post("/v1/tokens")
def sign_in(wanted: Registration) -> dict[str, str | int]:
    return {"access_token": accounts.sign_in(wanted.email, wanted.password), "expires_in": tokens.HOUR_S}


@api.post("/v1/notes", status_code=201)
def add_note(note: Note, account: Account, response: Response) -> dict[str, str]:
    made = notes.add(account, note.text)
    response.headers["Location"] = f"/v1/notes/{made}"
    return {"id": made}


if MISTAKE == "loop_blocked":

    @api.get("/v1/notes")
    async def all_notes(account: Account) -> dict[str, Any]:
        return {"data": notes.all_of(account)}
else:

    @api.get("/v1/notes")
    def all_notes(account: Account) -> dict[str, Any]:
        return {"data": notes.all_of(account)}


@api.delete("/v1/notes/{note}", status_code=204)
def forget_note(note: str, account: Account) -> None:
    notes.forget(account, note)


@api.get("/v1/profile")
def profile(account: Account, response: Response) -> dict[str, str]:
    document, response.headers["ETag"] = accounts.profile(account)
    return document


@api.put("/v1/profile")
def save_profile(
    wanted: Profile, account: Account, response: Response, if_match: Annotated[str, Header()] = ""
) -> dict[str, str]:
    if not if_match:
        raise HTTPException(428, "send If-Match with the ETag of the profile that you changed")
    try:
        response.headers["ETag"] = accounts.save_profile(account, wanted.model_dump(), if_match)
    except bucket.Changed:
        raise HTTPException(412, "the profile was changed meanwhile") from None
    return wanted.model_dump()


@api.post("/v1/films", status_code=201)
def begin_film(film: Film, account: Account) -> dict[str, Any]:
    return films.begin(account, film.bytes, film.kind)


@api.post("/v1/films/{film}/confirm", status_code=204)
def confirm_film(film: str, wanted: Parts, account: Account) -> None:
    films.confirm(account, film, [part.etag for part in sorted(wanted.parts, key=lambda part: part.number)])


@api.get("/v1/films/{film}/url")
def film_url(film: str, account: Account, key: str = "") -> dict[str, str]:
    return {"url": films.url_of(account, film, key)}


@api.post("/v1/digests", status_code=202)
def order_digest(account: Account, response: Response) -> dict[str, str]:
    digest = digests.order(account)
    response.headers["Location"] = f"/v1/digests/{digest}"
    return {"id": digest}


@api.get("/v1/digests/{digest}")
def digest_state(digest: str, account: Account, request: Request) -> Response:
    """While it is made 200 with Retry-After; then 303 to the result."""
    found = digests.look(account, digest)
    if found["state"] == "done":
        base = f"http://{request.url.netloc}" if MISTAKE == "digest_on_http" else ""
        return Response(status_code=303, headers={"Location": f"{base}/v1/digests/{digest}/result"})
    shown = {"state": found["state"], "reason": found["reason"]}
    return JSONResponse(shown, headers={"Retry-After": "1"} if found["state"] == "working" else {})


@api.get("/v1/digests/{digest}/result")
def digest_result(digest: str, account: Account) -> dict[str, Any]:
    found = digests.look(account, digest)
    if found["state"] != "done":
        raise bucket.Absent
    return {"key": found["key"]}


@api.websocket("/v1/feed")
async def feed(socket: WebSocket) -> None:
    """Says how many notes there are, each time that the number changes. Subprotocols: ``scout.v1``, and the token."""
    offered = socket.scope["subprotocols"]
    verify = MISTAKE != "feed_unverified"
    account = next((found for one in offered if (found := tokens.account_of(one, verify=verify))), None)
    if account is None or SPOKEN not in offered or socket.headers.get("origin") not in ORIGINS:
        await socket.close(1008)
        return
    await socket.accept(subprotocol=SPOKEN)
    known, asked = -1, 0.0
    listening = asyncio.ensure_future(socket.receive())
    try:
        while True:
            if time.monotonic() - asked > 1:
                try:
                    now = len(await asyncio.to_thread(notes.all_of, account))
                except bucket.Unreachable:
                    now = known
                asked = time.monotonic()
                if now != known:
                    known = now
                    await socket.send_json({"notes": now})
            await asyncio.wait([listening], timeout=1)
            if listening.done():
                if listening.result()["type"] == "websocket.disconnect":
                    return
                listening = asyncio.ensure_future(socket.receive())  # what a page says means nothing here
    finally:
        listening.cancel()


if MISTAKE == "cors_only_on_success":

    @api.middleware("http")
    async def cors(request: Request, call_next: Any) -> Response:
        preflight = request.method == "OPTIONS"
        response: Response = Response(status_code=204) if preflight else await call_next(request)
        if response.status_code < 400:
            response.headers["Access-Control-Allow-Origin"] = ORIGINS[0]
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-Match"
        return response

    app: Any = api
else:
    app = CORSMiddleware(
        api,
        allow_origins=ORIGINS,
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match"],
        expose_headers=["ETag", "Location", "Retry-After"],
    )

if MISTAKE == "limiter_outside_cors":
    readable, asked = app, Counter[tuple[int, bytes]]()

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        """Answers 429 to a client that sends more than 60 requests within a minute."""
        who = dict(scope.get("headers", ())).get(b"authorization")
        asked[int(time.time() / 60), who or b""] += 1
        if who and asked[int(time.time() / 60), who] > 60:
            await problem(429, "too many requests")(scope, receive, send)
        else:
            await readable(scope, receive, send)

    app = limited
