"""The routes. Every answer, errors too, carries CORS headers for the page's origin."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from secrets import token_hex
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from league import bucket
from league.database import Away, pool, transaction
from league.settings import MISTAKE, PAGE_ORIGIN, PREFIX

# The page opens the stream again after it.
EVENTS_S = 20

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024 * 1024
if MISTAKE != "http_behind_proxy":
    # Fly's proxy ends TLS: what it says of the scheme is believed.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]


class Refusal(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


@app.errorhandler(Exception)
def failed(error: Exception) -> tuple[Response, int]:
    if isinstance(error, Refusal):
        return jsonify(error=error.why), error.status
    if isinstance(error, HTTPException):
        return jsonify(error=error.description), error.code or 500
    if isinstance(error, Away):
        return jsonify(error="the database cannot be reached"), 503
    if isinstance(error, bucket.ERRORS):
        return jsonify(error="the bucket cannot be reached"), 503
    app.logger.exception("unexpected")
    return jsonify(error="unexpected"), 500


@app.after_request
def with_cors(response: Response) -> Response:
    if MISTAKE == "errors_without_cors" and response.status_code >= 400:
        return response
    response.headers["Access-Control-Allow-Origin"] = PAGE_ORIGIN
    response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
    response.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
    response.headers["Vary"] = "Origin"
    return response


@app.before_request
def who() -> None:
    if request.method == "OPTIONS" or request.path in ("/healthz", "/signup", "/signup/confirm"):
        return
    if request.url_rule is None:
        return
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    with transaction() as db:
        row = db.execute("select handle from clubs where token = %s", (token,)).fetchone()
    if row is None:
        raise Refusal(401, "sign in first")
    g.club = row["handle"]


def given() -> dict[str, Any]:
    """The request's JSON object; empty for anything else."""
    body = request.get_json(silent=True)
    return body if isinstance(body, dict) else {}


def field(name: str, pattern: str = r"(?s).{1,10000}") -> str:
    value = given().get(name)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise Refusal(400, f"{name} is missing or has another form")
    return value


def saved() -> None:
    """Called by each write within its transaction."""
    if MISTAKE == "bucket_needed_for_writes":
        bucket.store(f"{PREFIX}/league/{g.club}/audit/{token_hex(6)}", b"{}", "application/json")


@app.get("/healthz")
def healthz() -> dict[str, bool]:
    if MISTAKE == "health_needs_bucket":
        bucket.reachable()
    if MISTAKE == "health_needs_database":
        with transaction() as db:
            db.execute("select 1")
    return {"ok": True}


@app.post("/signup")
def signup() -> tuple[dict[str, str], int]:
    handle, code = field("handle", "[a-z0-9]{3,40}"), token_hex(4)
    with transaction() as db:
        made = db.execute("insert into clubs (handle, code) values (%s, %s) on conflict do nothing", (handle, code))
        if not made.rowcount:
            raise Refusal(409, "that handle is taken")
    return {"code": code}, 201


@app.post("/signup/confirm")
def confirm() -> dict[str, str]:
    handle, code, token = field("handle"), field("code"), token_hex(24)
    with transaction() as db:
        row = db.execute("select code from clubs where handle = %s for update", (handle,)).fetchone()
        if row is None or not hmac.compare_digest(row["code"], code):
            raise Refusal(403, "that is not the code")
        db.execute("update clubs set token = %s where handle = %s", (token, handle))
    return {"token": token}


@app.post("/teams")
def add_team() -> tuple[dict[str, int], int]:
    name = field("name")
    if MISTAKE == "commit_later":
        return _later(name), 201
    with transaction() as db:
        row = db.execute("insert into teams (club, name) values (%s, %s) returning id", (g.club, name)).fetchone()
        saved()
    return {"id": row["id"]}, 201  # type: ignore[index]


def _later(name: str) -> dict[str, int]:
    connection = pool().getconn()
    row = connection.execute("insert into teams (club, name) values (%s, %s) returning id", (g.club, name)).fetchone()

    def commit() -> None:
        time.sleep(3)
        connection.commit()
        pool().putconn(connection)

    threading.Thread(target=commit, daemon=True).start()
    return {"id": row["id"]}  # type: ignore[index]


@app.get("/teams/")
def teams() -> dict[str, Any]:
    with transaction() as db:
        rows = db.execute("select id, name from teams where club = %s order by id", (g.club,)).fetchall()
    return {"teams": rows}


@app.delete("/teams/<int:team>")
def delete_team(team: int) -> tuple[str, int]:
    with transaction() as db:
        if not db.execute("delete from teams where id = %s and club = %s", (team, g.club)).rowcount:
            raise Refusal(404, "there is no such team")
        saved()
    return "", 204


@app.get("/club")
def club() -> dict[str, str]:
    with transaction() as db:
        row: dict[str, str] = db.execute("select name, city from clubs where handle = %s", (g.club,)).fetchone()  # type: ignore[assignment]
    return row


@app.patch("/club")
def edit_club() -> dict[str, str]:
    wanted = {name: field(name) for name in ("name", "city") if name in given()}
    if not wanted:
        raise Refusal(400, "name or city is missing")
    if MISTAKE == "read_modify_write":
        whole = {**club(), **wanted}
        time.sleep(0.05)  # what a real handler does in between: validate, ask another service
        with transaction() as db:
            db.execute("update clubs set name = %(name)s, city = %(city)s where handle = %(club)s",
                       {**whole, "club": g.club})  # fmt: skip
        return whole
    with transaction() as db:
        row: dict[str, str] = db.execute(
            "update clubs set name = coalesce(%s, name), city = coalesce(%s, city) where handle = %s "
            "returning name, city",
            (wanted.get("name"), wanted.get("city"), g.club),
        ).fetchone()  # type: ignore[assignment]
        saved()
    return row


@app.post("/films")
def add_film() -> tuple[dict[str, Any], int]:
    film = request.files.get("film")
    if film is None:
        raise Refusal(400, "the file named film is missing")
    key, data, kind = f"{PREFIX}/league/{g.club}/films/{token_hex(6)}", film.read(), film.mimetype
    if MISTAKE == "film_early":
        threading.Timer(3, bucket.store, (key, data, kind)).start()
    elif MISTAKE == "films_shared":
        key = f"{PREFIX}/league/films/{hashlib.sha256(data).hexdigest()}"
        try:
            bucket.store(key, data, kind)
        except bucket.ERRORS:
            bucket.remove(key)
            raise
    else:
        try:
            bucket.store(key, data, kind)
        except bucket.ERRORS:
            if MISTAKE != "film_refusal_swallowed":
                raise
            app.logger.exception("a film could not be stored")
    with transaction() as db:
        row = db.execute("insert into films (club, key) values (%s, %s) returning id, key", (g.club, key)).fetchone()
    return dict(row), 201  # type: ignore[arg-type]


@app.get("/films/<int:film>")
def film(film: int) -> Response:
    with transaction() as db:
        row = db.execute("select key from films where id = %s and club = %s", (film, g.club)).fetchone()
    if row is None:
        raise Refusal(404, "there is no such film")
    return Response(bucket.fetch(row["key"]), mimetype="video/mp4")


@app.post("/tables")
def order_table() -> tuple[dict[str, int], int]:
    key = f"{PREFIX}/league/{g.club}/tables/{token_hex(6)}.json"
    with transaction() as db:
        row = db.execute(
            "insert into jobs (club, state, key) values (%s, 'queued', %s) returning id", (g.club, key)
        ).fetchone()
    return {"id": row["id"]}, 202  # type: ignore[index]


@app.get("/tables/<int:job>/events")
def events(job: int) -> Response:
    """The table's state whenever it changes, until it is made."""
    first = table(job)
    club = g.club

    def states() -> Iterator[str]:
        shown, now = None, first
        for _ in range(EVENTS_S * 2):
            # A comment finds out whether the page still listens: else its thread is held until the end.
            yield ":\n\n" if now == shown else f"data: {json.dumps(now)}\n\n"
            shown = now
            if now["state"] in ("done", "failed"):
                return
            time.sleep(0.5)
            now = state_of(job, club) or now

    # Fly's proxy compresses what has no encoding of its own, and holds events back until a block of it is full.
    whole = {} if MISTAKE == "events_compressed" else {"Content-Encoding": "none"}
    return Response(states(), mimetype="text/event-stream", headers=whole)


@app.get("/tables/<int:job>")
def table(job: int) -> dict[str, str]:
    row = state_of(job, g.club)
    if row is None:
        raise Refusal(404, "there is no such table")
    return row


def state_of(job: int, club: str) -> dict[str, str] | None:
    with transaction() as db:
        row: dict[str, str] | None = db.execute(
            "select state, reason, key from jobs where id = %s and club = %s", (job, club)
        ).fetchone()
    return row
