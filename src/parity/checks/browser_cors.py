"""A real browser on the staging frontend's origin reads what the API answers, errors included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Page

from parity.checks.broken import errors_without_cors
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Need, Wrap

# Runs in the page: what a script of the frontend could see of an answer, or the error that it would get instead.
FETCH = """async ([url, init]) => {
  try {
    const answer = await fetch(url, {...init, credentials: 'include'});
    return {status: answer.status, type: answer.headers.get('content-type') || '', read: (await answer.text()).length};
  } catch (error) { return {error: String(error)}; }
}"""
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Seen:
    """What the page saw; ``status`` None: the browser kept the answer from it, ``error`` is what it said."""

    what: str
    expected: int
    status: int | None
    error: str
    content_type: str = ""


@dataclass(frozen=True)
class BrowserObservation:
    origin: str
    api: str
    seen: list[Seen]
    stranger: Seen


async def observe(tools: Tools) -> BrowserObservation:
    user = {"X-User-ID": tools.user}
    asked: list[tuple[str, int, str, Mapping[str, Any]]] = [
        ("health", 200, "/api/health", {}),
        (
            "preflighted POST",
            201,
            "/api/profiles",
            {"method": "POST", "headers": {**JSON, **user}, "body": '{"name":"b"}'},
        ),
        ("list", 200, "/api/profiles", {"headers": user}),
        ("404", 404, "/api/no-such-path", {"headers": user}),
        ("400", 400, "/api/profiles", {}),
        ("422", 422, "/api/profiles", {"method": "POST", "headers": {**JSON, **user}, "body": '{"name":7}'}),
        ("DELETE of nothing", 404, "/api/profiles/nobody", {"method": "DELETE", "headers": user}),
    ]
    origin, api = tools.target.frontend_origin, tools.api_origin
    async with tools.page() as page:
        await page.goto(f"{origin}/", wait_until="domcontentloaded")
        seen = [await _fetch(page, what, expected, f"{api}{path}", init) for what, expected, path, init in asked]
        # The same page under another site: a browser must keep the answer from it.
        await page.route(
            "https://stranger.example/**", lambda route: route.fulfill(body="<p>", content_type="text/html")
        )
        await page.goto("https://stranger.example/")
        stranger = await _fetch(page, "stranger", 0, f"{api}/api/profiles", {"headers": user})
    return BrowserObservation(origin, api, seen, stranger)


async def _fetch(page: Page, what: str, expected: int, url: str, init: Mapping[str, Any]) -> Seen:
    got = await page.evaluate(FETCH, [url, dict(init)])
    return Seen(what, expected, got.get("status"), got.get("error", ""), got.get("type", ""))


def judge(seen: BrowserObservation) -> list[str]:
    reasons = []
    for one in seen.seen:
        if one.status is None:
            reasons.append(f"{one.what}: the browser kept the answer from a page of {seen.origin}: {one.error}")
        elif one.status != one.expected:
            reasons.append(f"{one.what}: {one.status}, {one.expected} expected")
        elif "json" not in one.content_type:
            reasons.append(f"{one.what}: {one.content_type or 'no content type'} instead of JSON")
    if seen.stranger.status is not None:
        reasons.append(f"a page of another site can read {seen.api}/api/profiles")
    return reasons


IN_BROWSER: Check[BrowserObservation] = Check(
    id="cors-in-browser",
    title="A page on the staging frontend reads every answer of the API in a real browser, errors included",
    capability="E",
    observe=observe,
    judge=judge,
    broken=Broken("CORS is an inner middleware", Wrap(errors_without_cors)),
    needs=frozenset({Need.BROWSER, Need.FRONTEND_TLS}),
)
