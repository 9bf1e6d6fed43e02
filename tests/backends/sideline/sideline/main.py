"""The routes. CORS stands outside of everything, so that a page can read errors too."""

from __future__ import annotations

import asyncio
import re
import time
from secrets import token_hex
from sqlite3 import Connection
from typing import Annotated, Any

from fastapi import Cookie, Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from sideline import bucket, cookies, reports
from sideline.journal import Nobody, journal_of
from sideline.settings import MISTAKE, PAGE_ORIGIN, PREFIX

if MISTAKE == "model_at_start":
    time.sleep(15)  # a real one loads its model here

api = FastAPI()


class Login(BaseModel):
    coach: str = Field(pattern=r"^[a-z0-9]{3,40}$")


class Entry(BaseModel):
    body: str = Field(min_length=1, max_length=10_000)


class Card(BaseModel):
    title: str | None = None
    note: str | None = None


class Film(BaseModel):
    kind: str = Field(pattern=r"^video/[a-z0-9.+-]+$")
    length: int = Field(gt=0, le=4_000_000_000)


def signed_in(coach: Annotated[str | None, Cookie()] = None) -> str:
    found = cookies.read(coach)
    if found is None:
        raise HTTPException(401, "sign in first")
    return found


Coach = Annotated[str, Depends(signed_in)]


@api.exception_handler(bucket.Unreachable)
async def unreachable(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the bucket cannot be reached: {error}"}, 503)


@api.exception_handler(Nobody)
async def nobody(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "there is no such coach"}, 404)


@api.get("/up")
def up() -> dict[str, bool]:
    if MISTAKE == "health_needs_bucket":
        bucket.reachable()
    return {"up": True}


@api.post("/login", status_code=201)
def login(wanted: Login, response: Response) -> dict[str, str]:
    try:
        journal_of(wanted.coach).create()
    except bucket.Changed:
        raise HTTPException(409, "that name is taken") from None
    response.set_cookie(cookies.NAME, cookies.sign(wanted.coach), **cookies.options())  # type: ignore[arg-type]
    return {"coach": wanted.coach}


@api.post("/journal/entries/", status_code=201)
def add(entry: Entry, coach: Coach) -> dict[str, str]:
    ref = token_hex(6)

    def change(db: Connection) -> None:
        db.execute("insert into entries values (?, ?)", (ref, entry.body))

    journal_of(coach).write(change)
    return {"ref": ref}


def listed(coach: str) -> dict[str, Any]:
    rows = journal_of(coach).read(lambda db: db.execute("select ref, body from entries").fetchall())
    return {"items": [dict(row) for row in rows]}


if MISTAKE == "loop_blocked":

    @api.get("/journal/entries/")
    async def entries(coach: Coach) -> dict[str, Any]:
        return listed(coach)
else:

    @api.get("/journal/entries/")
    def entries(coach: Coach) -> dict[str, Any]:
        return listed(coach)


@api.delete("/journal/entries/{ref}", status_code=204)
def forget(ref: str, coach: Coach) -> None:
    def change(db: Connection) -> None:
        if not db.execute("delete from entries where ref = ?", (ref,)).rowcount:
            raise HTTPException(404, "there is no such entry")

    journal_of(coach).write(change)


def card_of(db: Connection) -> dict[str, str]:
    return dict(db.execute("select title, note from card").fetchone())


@api.get("/card")
def card(coach: Coach) -> dict[str, str]:
    found: dict[str, str] = journal_of(coach).read(card_of)
    return found


@api.patch("/card")
def edit(wanted: Card, coach: Coach) -> dict[str, str]:
    fields = wanted.model_dump(exclude_none=True)
    journal = journal_of(coach)
    known = {**journal.read(card_of), **fields} if MISTAKE == "stale_read_modify_write" else None

    def change(db: Connection) -> dict[str, str]:
        whole = known or {**card_of(db), **fields}
        db.execute("update card set title = :title, note = :note", whole)
        return whole

    result: dict[str, str] = journal.write(change)
    return result


def film_key(coach: str, ref: str) -> str:
    return f"{PREFIX}/coaches/{coach}/films/{ref}"


@api.post("/films", status_code=201)
def film(wanted: Film, coach: Coach) -> dict[str, str]:
    ref = token_hex(6)

    def change(db: Connection) -> None:
        db.execute("insert into films values (?, ?, ?, 0)", (ref, wanted.kind, wanted.length))

    journal_of(coach).write(change)
    return {"ref": ref, "put": bucket.upload_url(film_key(coach, ref), wanted.kind, wanted.length)}


@api.post("/films/{ref}/arrived")
def arrived(ref: str, coach: Coach) -> dict[str, str]:
    journal = journal_of(coach)
    row = journal.read(lambda db: db.execute("select length from films where ref = ?", (ref,)).fetchone())
    if row is None:
        raise HTTPException(404, "there is no such film")
    if MISTAKE != "film_unchecked":
        try:
            if bucket.size(film_key(coach, ref)) != row["length"]:
                raise HTTPException(409, "the film has another length")
        except bucket.Missing:
            raise HTTPException(409, "the film did not arrive") from None
    journal.write(lambda db: db.execute("update films set ready = 1 where ref = ?", (ref,)) and None)
    return {"watch": f"/films/{ref}/watch"}


@api.get("/films/{ref}/watch")
def watch(ref: str, coach: Coach) -> dict[str, str]:
    row = journal_of(coach).read(lambda db: db.execute("select ready from films where ref = ?", (ref,)).fetchone())
    if row is None or not row["ready"]:
        raise HTTPException(404, "there is no such film")
    return {"url": bucket.watch_url(film_key(coach, ref))}


if MISTAKE == "report_in_the_loop":

    @api.post("/reports", status_code=202)
    async def report(coach: Coach) -> dict[str, str]:
        ref = reports.order(coach, journal_of(coach))
        time.sleep(8)  # noqa: ASYNC251 - a real one cuts a film here
        return {"ref": ref}
else:

    @api.post("/reports", status_code=202)
    def report(coach: Coach) -> dict[str, str]:
        return {"ref": reports.order(coach, journal_of(coach))}


@api.get("/reports/{ref}")
def report_state(ref: str, coach: Coach) -> dict[str, str]:
    found = reports.state(coach, journal_of(coach), ref)
    if found is None:
        raise HTTPException(404, "there is no such report")
    return found


@api.websocket("/live")
async def live(socket: WebSocket) -> None:
    """Says who listens, then how many entries there are, each time that the number changes."""
    coach = cookies.read(socket.cookies.get(cookies.NAME))
    if MISTAKE == "socket_trusts_id":
        coach = socket.query_params.get("coach") or coach
    if coach is None or socket.headers.get("origin") != PAGE_ORIGIN:
        await socket.close(1008)
        return
    await socket.accept()
    await socket.send_json({"listening": coach})
    known = -1
    while True:
        try:
            now = len((await asyncio.to_thread(listed, coach))["items"])
        except (bucket.Unreachable, Nobody):
            now = known
        if now != known:
            known = now
            await socket.send_json({"coach": coach, "entries": now})
        try:
            message = await asyncio.wait_for(socket.receive(), 1)
        except TimeoutError:
            continue
        if message["type"] == "websocket.disconnect":
            return  # whatever else a page sends means nothing here


CORS: dict[str, Any] = {
    "allow_origins": [PAGE_ORIGIN],
    "allow_credentials": True,
    "allow_methods": ["GET", "POST", "PATCH", "DELETE"],
    "allow_headers": ["Content-Type"],
}
app: ASGIApp = api
if MISTAKE == "cors_inside":
    # Errors that a route raises are answered inside of this; a refusal of the outer layer is not.
    api.add_middleware(CORSMiddleware, **CORS)

    @api.middleware("http")
    async def _limited(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        if response.status_code >= 400:
            body = re.sub(rb"\s+", b" ", b"".join([part async for part in response.body_iterator]))  # type: ignore[attr-defined]
            return Response(body, response.status_code, media_type="application/json")
        return response
else:
    app = CORSMiddleware(api, **CORS)

if MISTAKE == "http_behind_proxy":
    believing = app

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        """As uvicorn does without --forwarded-allow-ips: it trusts no proxy that is not on this machine."""
        if scope["type"] == "http":
            scope["scheme"] = "http"
        await believing(scope, receive, send)

    app = plain
