"""What a browser requires of the app when its page is on another origin: CORS headers, preflights, cookies, redirects.

Most checks send the requests of the contract with the page's ``Origin`` and look at the headers, which is fast and can
run against a deployed app. One check repeats the requests in a real Chromium.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import httpx
from playwright.async_api import Page

from parity.checks import Proxy, Wrap, check
from parity.checks.browser import Pages
from parity.checks.generic.support import not_declared, readable
from parity.checks.person import Person
from parity.checks.stack import TRUST, Stack
from parity.checks.stage import Stage
from parity.contract import Call
from parity.wraps import boot

CRASH = "/parity-crash"
# An impatient person may cause as many reads in a minute; most rate limits are lower.
MANY_READS = 150
STRANGER = "https://stranger.example"
SAFE_HEADERS = frozenset({"accept", "accept-language", "content-language"})
# Runs in the page: returns what a script can read of an answer, or the error that it gets instead.
FETCH = """async ([url, init]) => {
  try {
    const answer = await fetch(url, init);
    return {status: answer.status, read: (await answer.text()).length};
  } catch (error) { return {error: String(error)}; }
}"""


def unreadable(answer: httpx.Response, origin: str | None) -> str:
    """Why a page of that origin may not read the answer; empty where it may."""
    if readable(answer.headers, origin):
        return ""
    allowed = answer.headers.get("access-control-allow-origin")
    said = f"with Access-Control-Allow-Origin: {allowed}" if allowed else "without Access-Control-Allow-Origin"
    return f"{answer.request.method} {answer.request.url.path} answers {answer.status_code} {said}"


async def used(person: Person, stack: Stack) -> list[tuple[str, str]]:
    """Method and path of each request that the contract sends to write and to read."""
    await person.write()
    await person.read()
    asked = [one["asked"].split(" ", 1) for one in stack.said if str(one["answer"]).startswith("2")]
    api = urlsplit(stack.target.api_url).netloc
    found = [(method, urlsplit(url)) for method, url in asked if urlsplit(url).netloc == api]
    return list(dict.fromkeys((method, parts.path) for method, parts in found if method != "OPTIONS"))


@check(
    "E",
    "Requests that must fail answer the status that the contract names, and the page can read the answer",
    broken=Proxy("errors_without_cors"),
    because="without Access-Control-Allow-Origin",
    needs=("refused", "origin"),
    live=True,
    fast=True,
)
async def test_refusals_readable(person: Person, stack: Stack) -> None:
    """Make CORS the outermost middleware, so that every layer's errors carry its headers."""
    wrong = []
    for refusal in await person.app.refused():
        answer = await person.api.ask(refusal.method, refusal.path, refusal.json)
        if answer.status_code != refusal.status:
            wrong.append(f"{refusal.method} {refusal.path} answers {answer.status_code}, not {refusal.status}")
        wrong += filter(None, [unreadable(answer, stack.site.origin)])
    assert not wrong, (
        f'{"; ".join(wrong)}. Where CORS headers are missing the page sees only "Failed to fetch": make CORS the'
        " outermost middleware"
    )


@check(
    "E",
    "The page can read the framework's own errors: unknown path, wrong method, malformed body",
    broken=Proxy("errors_without_cors"),
    because="without Access-Control-Allow-Origin",
    needs=("origin",),
    live=True,
    fast=True,
)
async def test_framework_errors_readable(person: Person, stack: Stack) -> None:
    """Make CORS the outermost middleware, so that the framework's own errors carry its headers."""
    known = await used(person, stack)
    asked = [("GET", f"/no-such-path-{secrets.token_hex(4)}"), *(("PROPFIND", path) for _, path in known)]
    answers = [await person.api.ask(method, path) for method, path in asked]
    for method, path in known:
        if method not in ("GET", "HEAD"):
            json = {"Content-Type": "application/json"}
            answers.append(await person.api.ask(method, path, content=b"{", headers=json))
    wrong = [text for one in answers if (text := unreadable(one, stack.site.origin)) and one.status_code >= 400]
    assert not wrong, (
        f'{"; ".join(wrong)}. The page sees only "Failed to fetch", not the error: make CORS the outermost middleware'
    )


@check(
    "E",
    "A malformed body is refused with 4xx, never answered with 5xx",
    broken=Proxy("nonsense_breaks"),
    because="is answered with 5",
    live=True,
    fast=True,
)
async def test_nonsense_refused(person: Person, stack: Stack) -> None:
    """Validate every body, and answer 400 or 422."""
    bodies = {"half of a JSON object": b'{"a": ', "no text at all": b"\xff\xfe\x00", "a list": b"[1]", "nothing": b""}
    wrong = []
    for method, path in await used(person, stack):
        if method in ("GET", "HEAD", "DELETE"):
            continue
        for what, body in bodies.items():
            answer = await person.api.ask(method, path, content=body, headers={"Content-Type": "application/json"})
            if answer.status_code >= 500:
                wrong.append(f"{method} {path} with {what} is answered with {answer.status_code}")
    assert not wrong, (
        f"{'; '.join(wrong)}. A 5xx counts as a failure of the server, and clients retry it: validate the body, and"
        " answer 400 or 422"
    )


@check(
    "E",
    "An unexpected exception is answered with 500, and the page can read it",
    broken=Proxy("errors_without_cors"),
    because="without Access-Control-Allow-Origin",
    needs=("origin",),
    alone=True,
    deadline_s=150,
)
async def test_exception_readable(person: Person, staged: Stage) -> None:
    """Handle Exception in a middleware inside CORS: Starlette's own handler runs outside every middleware."""
    origin = staged.stack.site.origin
    if person.can("crash"):
        answer = await ask(person, await person.app.crash())
    else:
        async with staged.changed(Wrap(boot.crash_route, {"path": CRASH})):
            answer = await ask(person.on(None), Call("GET", CRASH))
    assert answer.status_code == 500, f"an exception in a route is answered with {answer.status_code}, not 500"
    assert not (wrong := unreadable(answer, origin)), (
        f'{wrong}: the page sees only "Failed to fetch". Starlette\'s own handler of Exception runs outside every'
        " middleware, CORS included: handle Exception in a middleware inside CORS"
    )


async def ask(person: Person, call: Call) -> httpx.Response:
    return await person.api.ask(call.method, call.path, call.json)


@check(
    "E",
    "The preflight of every request succeeds without credentials and allows the page's origin, method and headers",
    broken=Proxy("preflights_refused"),
    because="the preflight of [A-Z]+ /",
    needs=("origin",),
    live=True,
    fast=True,
)
async def test_preflights(person: Person, stack: Stack) -> None:
    """Answer OPTIONS before authentication, and allow every method and header that the page sends."""
    origin = str(stack.site.origin)
    names = sorted({"content-type", *(name.lower() for name in person.api.headers)} - SAFE_HEADERS)
    wrong = []
    for method, path in await used(person, stack):
        asked = {"Origin": origin, "Access-Control-Request-Method": method}
        answer = await stack.http.options(path, headers={**asked, "Access-Control-Request-Headers": ",".join(names)})
        granted = {word.strip().lower() for word in answer.headers.get("access-control-allow-headers", "").split(",")}
        methods = answer.headers.get("access-control-allow-methods", "").upper()
        refused = [name for name in names if name not in granted and ("*" not in granted or name == "authorization")]
        what = f"the preflight of {method} {path} ({', '.join(names)})"
        if not answer.is_success:
            wrong.append(
                f"{what} answers {answer.status_code}, but a browser accepts only 2xx, and sends no credentials in a"
                " preflight"
            )
        elif not readable(answer.headers, origin):
            wrong.append(f"{what} does not allow {origin}")
        elif refused:
            wrong.append(f"{what} does not allow the header {', '.join(refused)}")
        elif method not in ("GET", "HEAD", "POST") and method not in methods and "*" not in methods:
            wrong.append(f"{what} allows {methods or 'no methods'}, but not {method}")
    assert not wrong, (
        f"{'; '.join(wrong)}. The browser blocks these requests of the page: correct the origins, methods and headers"
        " of the CORS middleware, and let it answer before authentication"
    )


@check(
    "E",
    "A page of an unknown origin may not read answers with a person's credentials",
    broken=Proxy("every_origin_allowed"),
    because="to a page of",
    needs=("origin",),
    live=True,
    fast=True,
)
async def test_strangers_kept_out(person: Person, stack: Stack) -> None:
    """List the origins that you trust; never echo the origin of the request."""
    # The second one begins like the trusted origin, to catch an app that compares by prefix.
    for stranger in (STRANGER, f"{stack.site.origin}.stranger.example"):
        for method, path in await used(person, stack):
            answer = await stack.http.options(
                path, headers={"Origin": stranger, "Access-Control-Request-Method": method}
            )
            read = await person.api.ask("GET", path, headers={"Origin": stranger}) if method == "GET" else answer
            for one in (answer, read):
                allowed = one.headers.get("access-control-allow-origin")
                credentials = one.headers.get("access-control-allow-credentials") == "true"
                open_to_all = allowed == stranger or (allowed == "*" and credentials)
                assert not open_to_all, (
                    f"{one.request.method} {path} gives access to a page of {stranger}. When a signed-in person opens"
                    " such a page, it can read and change all their data. Allow only a list of origins that you trust"
                )


@check(
    "E",
    "The cookies that sign-in sets are sent when the page is on another site",
    broken=Proxy("cookie_for_one_site"),
    because="a browser does not send it",
    needs=("origin",),
    rests_on=("test_someone_new_can_come",),
    live=True,
    fast=True,
)
async def test_cookies(newcomer: Person, stack: Stack) -> None:
    """Set SameSite=None; Secure on cookies, or serve page and API from one site."""
    found: list[str] = []

    async def keep(response: httpx.Response) -> None:
        found.extend(response.headers.get_list("set-cookie"))

    newcomer.api.http.event_hooks["response"].append(keep)
    await newcomer.app.sign_in()
    await newcomer.app.read()
    page, api = registrable(str(stack.site.origin)), registrable(f"https://{stack.site.project.api_hostname}")
    for header in found:
        for name, cookie in SimpleCookie(header).items():
            same_site = str(cookie["samesite"]).lower()
            assert page == api or same_site == "none", (
                f"the cookie {name} has SameSite={cookie['samesite'] or 'Lax (the default)'}: from a page on {page} a"
                f" browser does not send it to {api}, so every request after sign-in counts as signed out. Set"
                " SameSite=None; Secure"
            )
            assert same_site != "none" or cookie["secure"], (
                f"the cookie {name} has SameSite=None without Secure: a browser does not send it, because it does not"
                " store such a cookie. Add Secure"
            )


def registrable(url: str) -> str:
    """The registrable domain of the URL, by which a browser decides whether two pages are on one site.

    It has two labels, or three below public suffixes such as fly.dev and pages.dev (publicsuffix.org, 2026).
    """
    labels = (urlsplit(url).hostname or "").split(".")
    public = ".".join(labels[-2:]) in ("fly.dev", "pages.dev", "workers.dev", "vercel.app", "netlify.app", "github.io")
    return ".".join(labels[-3:] if public else labels[-2:])


@check(
    "E",
    "No redirect of the app leads to plain http",
    broken=Proxy("slash_to_http"),
    because="leads to http://",
    live=True,
    fast=True,
)
async def test_redirects_stay_https(person: Person, stack: Stack) -> None:
    """Make the server trust the edge's X-Forwarded-Proto, or do not redirect."""
    wrong = []
    for path in {path for _, path in await used(person, stack)}:
        for other in {path.rstrip("/") or "/", f"{path.rstrip('/')}/"}:
            answer = await person.api.ask("GET", other, follow_redirects=False)
            location = answer.headers.get("location", "")
            if location.startswith("http://"):
                wrong.append(f"the redirect of {other} leads to {location}")
    assert not wrong, f"{'; '.join(wrong)}. A browser blocks it as mixed content. {TRUST}, or do not redirect"


@check(
    "E",
    "In a real browser the page can read all answers of the app, errors too; a page of another origin cannot",
    broken=Proxy("no_cors"),
    because="the browser kept",
    needs=("origin", "browser"),
    deadline_s=120,
)
async def test_in_browser(person: Person, stack: Stack, page: Pages) -> None:
    """Look at screenshot.png and browser.txt, and at the CORS headers in requests.json."""
    api, headers = f"https://{stack.site.project.api_hostname}", dict(person.on(None).api.headers)
    reads = [path for method, path in await used(person, stack) if method == "GET"]
    asked = [*reads, f"/no-such-path-{secrets.token_hex(4)}"]
    # Cookies are sent only where the app signs people in by cookie; an app with tokens need not allow credentials.
    cookies = bool(person.api.http.cookies)
    async with page() as tab:
        await open_blank(tab, str(stack.site.origin))
        seen = {path: await fetched(tab, f"{api}{path}", headers, cookies=cookies) for path in asked}
        await open_blank(tab, STRANGER)
        strange = {path: await fetched(tab, f"{api}{path}", headers, cookies=cookies) for path in reads}
    kept = [f"{path}: {one['error']}" for path, one in seen.items() if one.get("status") is None]
    assert not kept, (
        f"the browser kept the answer from a page of {stack.site.origin}: {'; '.join(kept)}. Allow this origin in the"
        " app's CORS settings; browser.txt has the browser's reason"
    )
    open_to_all = [path for path, one in strange.items() if one.get("status") is not None and headers]
    assert not open_to_all, (
        f"a page of {STRANGER} reads {open_to_all[0]} with the person's headers, and so can any site that a signed-in"
        " person visits. Allow only a list of origins that you trust"
    )


async def open_blank(tab: Page, origin: str) -> None:
    """Open an empty page of that origin. The browser is given the page; nothing needs to be served there."""
    await tab.route(f"{origin}/**", lambda route: route.fulfill(body="<p>", content_type="text/html"))
    await tab.goto(f"{origin}/")


async def fetched(tab: Page, url: str, headers: Mapping[str, str], *, cookies: bool) -> dict[str, Any]:
    init = {"headers": dict(headers), "credentials": "include" if cookies else "omit"}
    got: dict[str, Any] = await tab.evaluate(FETCH, [url, init])
    return got


@check(
    "H",
    "When the app refuses too many requests with 429, the page can read the answer",
    broken=Proxy("limited", requests=60),
    because="without Access-Control-Allow-Origin",
    needs=("origin",),
)
async def test_limits_readable(person: Person, stack: Stack) -> None:
    """Run the rate limiter inside the CORS middleware."""
    path = next((path for method, path in await used(person, stack) if method == "GET"), None)
    if path is None:
        not_declared("the contract reads without a GET request, and this check repeats one")
        return
    answers = [await person.api.ask("GET", path) for _ in range(MANY_READS)]
    refused = [answer for answer in answers if answer.status_code == 429]
    wrong = [text for answer in refused if (text := unreadable(answer, stack.site.origin))]
    assert not wrong, (
        f'{wrong[0]}: the page sees only "Failed to fetch" and cannot tell the person to wait. The rate limiter runs'
        " outside the CORS middleware: put it inside"
    )
    broken = [answer.status_code for answer in answers if answer.status_code >= 500]
    assert not broken, (
        f"of {MANY_READS} reads, one after another, {len(broken)} are answered with {broken[0]}. The app fails under a"
        " load that one person can cause; the Machine's log has the reason"
    )
