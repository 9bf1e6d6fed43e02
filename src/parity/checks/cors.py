"""CORS as a browser on the staging frontend meets it: preflights and answers, errors included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parity.checks.broken import errors_without_cors
from parity.checks.kit.http import Http
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, Wrap

LOCAL_ORIGIN = "http://localhost:5173"
STRANGER = "https://stranger.example"
ELSEWHERE = "https://elsewhere.example"
# What the product's own page asks for: a JSON POST with both identity headers.
ASKED_HEADERS = ("content-type", "x-profile-id", "x-user-id")


@dataclass(frozen=True)
class CorsAnswer:
    """One answer to a request with an Origin; header names in lower case."""

    what: str
    origin: str
    allowed: bool
    status: int
    headers: Mapping[str, str]

    @property
    def granted(self) -> str:
        return self.headers.get("access-control-allow-origin", "")


async def _ask(http: Http, what: str, origin: str, allowed: bool, method: str, path: str, **more: str) -> CorsAnswer:
    answer = await http.request(method, path, headers={"Origin": origin, **more})
    return CorsAnswer(what, origin, allowed, answer.status_code, dict(answer.headers))


async def observe_preflights(tools: Tools) -> list[CorsAnswer]:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ",".join(ASKED_HEADERS)}
    origins = {tools.target.frontend_origin: True, LOCAL_ORIGIN: True, STRANGER: False}
    # An origin that only begins like the right one catches comparison by prefix.
    origins[f"{tools.target.frontend_origin}.stranger.example"] = False
    return [
        await _ask(tools.http, "preflight", origin, allowed, "OPTIONS", "/api/profiles", **asked)
        for origin, allowed in origins.items()
    ]


def judge_preflights(answers: list[CorsAnswer]) -> list[str]:
    reasons = []
    for answer in answers:
        reasons += judge_grant(answer)
        if not answer.allowed:
            continue
        if not 200 <= answer.status < 300:
            reasons.append(f"preflight from {answer.origin}: {answer.status}, a browser takes only 2xx")
        granted = {word.strip().lower() for word in answer.headers.get("access-control-allow-headers", "").split(",")}
        missing = [name for name in ASKED_HEADERS if name not in granted]
        if missing:
            reasons.append(f"preflight from {answer.origin}: does not allow {', '.join(missing)}")
        methods = answer.headers.get("access-control-allow-methods", "")
        if "POST" not in methods:
            reasons.append(f"preflight from {answer.origin}: allows {methods or 'no methods'}, POST was asked for")
    return reasons


def judge_grant(answer: CorsAnswer) -> list[str]:
    """Access is granted to exactly the origin that asked, with credentials, and to no stranger."""
    where = f"{answer.what} from {answer.origin} ({answer.status})"
    if not answer.allowed:
        return [f"{where}: grants {answer.granted} to a stranger"] if answer.granted in (answer.origin, "*") else []
    reasons = []
    if answer.granted != answer.origin:
        reasons.append(f"{where}: Access-Control-Allow-Origin is {answer.granted or 'absent'}")
    if answer.headers.get("access-control-allow-credentials") != "true":
        reasons.append(f"{where}: Access-Control-Allow-Credentials is not true")
    if answer.what != "preflight" and "origin" not in answer.headers.get("vary", "").lower():
        reasons.append(f"{where}: no Vary: Origin, a cache would serve it to another origin")
    return reasons


@dataclass(frozen=True)
class ErrorAnswers:
    """Answers of error kinds, with the status that each must have."""

    answers: list[CorsAnswer]
    expected: Mapping[str, int]


async def observe_errors(tools: Tools) -> ErrorAnswers:
    """4xx of three layers: routing, the context middleware, the router's methods."""
    origin = tools.target.frontend_origin
    ask = [
        ("unknown path", 404, "GET", "/api/no-such-path", {"X-User-ID": tools.user}),
        ("missing user", 400, "GET", "/api/profiles", {}),
        ("bad user", 400, "GET", "/api/profiles", {"X-User-ID": "../other"}),
        ("wrong method", 405, "PUT", "/api/health", {}),
    ]
    answers = [
        await _ask(tools.http, what, who, who == origin, method, path, **headers)
        for what, _status, method, path, headers in ask
        for who in (origin, STRANGER)
    ]
    return ErrorAnswers(answers, {what: status for what, status, *_ in ask})


def judge_errors(seen: ErrorAnswers) -> list[str]:
    reasons = []
    for answer in seen.answers:
        expected = seen.expected[answer.what]
        if answer.status != expected:
            reasons.append(f"{answer.what}: {answer.status}, {expected} expected")
        reasons += judge_grant(answer)
        if not answer.headers.get("content-type", "").startswith("application/problem+json"):
            reasons.append(f"{answer.what}: content type {answer.headers.get('content-type')}, a problem body expected")
    return reasons


PREFLIGHT: Check[list[CorsAnswer]] = Check(
    id="cors-preflight",
    title="Preflights allow the staging frontend and localhost, and no stranger",
    capability="E",
    observe=observe_preflights,
    judge=judge_preflights,
    broken=Broken("CORS_ORIGINS names another origin", Env({"CORS_ORIGINS": ELSEWHERE})),
    live_safe=True,
)

ERRORS: Check[ErrorAnswers] = Check(
    id="cors-on-errors",
    title="Error responses are readable to the frontend, whichever layer answers",
    capability="E",
    observe=observe_errors,
    judge=judge_errors,
    broken=Broken("CORS is an inner middleware", Wrap(errors_without_cors)),
    live_safe=True,
)
