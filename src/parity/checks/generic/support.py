"""Helpers that several generic checks share: polling with a deadline, requests to R2, a Machine with an empty disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

import httpx

from parity.checks import patience
from parity.checks.bucket import Bucket
from parity.checks.machines import Machines
from parity.checks.person import Attempt, Person
from parity.checks.stack import Stack
from parity.checks.verdict import NotDeclared, NotShown
from parity.contract import InBucket, Refused

T = TypeVar("T")
POLL_S = 0.1
MOST_PROBES = 20
# Statuses with which R2 refuses a request that is malformed, not implemented, or not allowed for these credentials.
NOT_TAKEN = (400, 401, 403, 411, 501)
UPLOADS = ("PutObject", "CompleteMultipartUpload")
# Seconds that a check waits beyond a promised time, because the host that runs it may be busy.
PATIENCE_S = 20.0


def acknowledged(writes: Collection[Attempt]) -> int:
    """How many of these writes the app acknowledged."""
    return sum(one.acknowledged for one in writes)


async def until(probe: Callable[[], Awaitable[T]], good: Callable[[T], bool], within_s: float) -> T:
    """Poll ``probe`` until its result is ``good``. Returns that result, or the last one after ``within_s`` seconds.

    The last one is asked for after these seconds, so that a probe which takes long on a busy host does not use them up.
    With 0 seconds it is asked for once.
    """
    deadline = patience.Deadline(within_s)
    while True:
        is_last = within_s <= 0 or deadline.passed
        found = await probe()
        if good(found) or is_last:
            return found
        await asyncio.sleep(POLL_S)


async def answered(person: Person) -> Collection[str] | str:
    """Every text that the app shows to the person; the text of the refusal where reads fail for ``PATIENCE_S`` seconds.

    Reads are retried because the edge may answer 503 for a Machine that has just started, and no data is lost by that.
    """
    return await until(person.reads, lambda shown: not isinstance(shown, str), PATIENCE_S)


def how_many(wrong: Collection[Collection[str]]) -> str:
    """In how many of all cases something was wrong, such as ``2 of 8``; ``wrong`` has the reasons of each case."""
    return f"{sum(map(bool, wrong))} of {len(wrong)}"


def within_s(person: Person) -> float:
    """By the contract, how many seconds after its acknowledgement a write is in the bucket. 0: it is there before."""
    keeps = person.keeps
    return keeps.within_s if isinstance(keeps, InBucket) else 0.0


# Statuses with which an app says that it does not know who sent the request.
UNKNOWN = (401, 403)


async def refusal_of(person: Person) -> Refused | None:
    """The error with which the app refuses a read; None where it answers the read."""
    try:
        await person.read()
    except Refused as refused:
        return refused
    return None


async def changed(bucket: Bucket, person: Person, before: Mapping[str, str]) -> Mapping[str, str]:
    """Wait until the objects below the person's prefix differ from ``before``, and return them.

    Returns ``before`` where nothing changes within the seconds that the contract names (``InBucket.within_s``).
    """
    late_s = within_s(person)
    patience_s = PATIENCE_S if late_s else 0.0
    return await until(lambda: bucket.objects(person.owns), lambda found: found != before, late_s + patience_s)


async def replicated(person: Person, stack: Stack) -> None:
    """Wait until the bucket must have what was acknowledged: for ``within_s`` of the contract.

    On a busy host the app's timer and disk may be late; so it is also waited, for a while, until R2 took an upload that
    began after now.
    """
    if not (late_s := within_s(person)):
        return
    since = time.time()
    await asyncio.sleep(late_s)

    async def uploaded() -> bool:
        found = (await stack.admin("GET", "/r2/requests?limit=1000"))["requests"]
        return any(
            float(one["time"]) >= since and one["status"] == 200 and one["operation"] in UPLOADS for one in found
        )

    await until(uploaded, bool, PATIENCE_S)


def not_declared(reason: str) -> NoReturn:
    """End the check as "not declared": the app or its contract lacks what the check tests. Raises ``NotDeclared``."""
    raise NotDeclared(reason)


def not_shown(reason: str) -> NoReturn:
    """End the check as "cannot be shown here": what it tests could not be brought about. Raises ``NotShown``."""
    raise NotShown(reason)


def asks_r2(person: Person) -> bool:
    """Whether, by the contract, the app must send a request to R2 before it answers a write.

    Where it must, a fault of R2 that no request met proves nothing, and the check ends as "not judged".
    """
    return isinstance(person.keeps, InBucket) and person.keeps.within_s == 0


def several_machines(person: Person) -> None:
    """Ends the check as "not declared" unless several Machines of the app may write at the same time."""
    if within_s(person):
        not_declared(
            "the contract says that a write reaches the bucket only after its answer (within_s): such an app runs on"
            " one Machine at a time, and this check needs two"
        )


@asynccontextmanager
async def empty_machine(person: Person, machines: Machines) -> AsyncIterator[str]:
    """The id of a Machine with an empty disk.

    It runs beside the first Machine where the app allows several Machines. Otherwise it replaces the first one, after
    the seconds within which the contract promises every write in the bucket; such a check is marked ``alone``.
    """
    if within_s(person):
        await replicated(person, machines.stack)
        yield await machines.replace_all()
        return
    async with machines.one_more() as cold:
        yield cold


async def probed(stack: Stack, machine: str) -> str:
    """The answer to the health check, sent as Fly sends it: directly to the Machine, plain HTTP, no forwarded headers.

    The text begins with the status; with 0 where no answer came.
    """
    checks = stack.site.project.fly.service.checks
    path, method, headers = (
        (checks[0].path, checks[0].method, checks[0].headers) if checks else (stack.site.health, "get", {})
    )
    host, port = (await stack.admin("GET", f"/fly/machines/{machine}"))["address"]
    try:
        answer = await stack.http.request(method.upper(), f"http://{host}:{port}{path}", headers=headers)
    except httpx.HTTPError as error:
        return f"0: {error!r}"
    return f"{answer.status_code}: {answer.text[:200]}"


async def probed_in_time(stack: Stack, machine: str) -> str:
    """What the health check answers within the timeout that fly.toml gives it; "nothing" where it does not."""
    try:
        return await asyncio.wait_for(probed(stack, machine), stack.site.probe_timeout_s)
    except TimeoutError:
        return "nothing"


async def probes_beside(busy: Collection[asyncio.Task[object]], stack: Stack, machine: str) -> list[str]:
    """What the health check answers again and again while these requests wait."""
    answers: list[str] = []
    while not all(task.done() for task in busy) and len(answers) < MOST_PROBES:
        answers.append(await probed_in_time(stack, machine))
        await asyncio.sleep(POLL_S)
    return answers


@asynccontextmanager
async def r2_behaviour(stack: Stack, **changes: str) -> AsyncIterator[None]:
    """R2's stand-in with other limits or latency (the fields of POST /r2/behaviour); restored at the end."""
    before = await stack.admin("GET", "/r2/behaviour")
    await stack.admin("POST", "/r2/behaviour", changes)
    try:
        yield
    finally:
        await stack.admin("POST", "/r2/behaviour", {name: before[name] for name in changes})


async def asked_since(stack: Stack, since: float, owns: str = "") -> list[tuple[str, str]]:
    """The requests that R2 received since then (Unix seconds), oldest first: operation and key, or a list's prefix.

    For a check that runs apart only those below ``owns``: other checks made the rest.
    """
    found = (await stack.admin("GET", "/r2/requests?limit=20000"))["requests"]
    late = sorted((one for one in found if float(one["time"]) >= since), key=lambda one: float(one["time"]))
    asked = [(one["operation"], one["key"] or one["prefix"]) for one in late]
    return [one for one in asked if stack.own is None or one[1].startswith(owns)]


async def not_taken(stack: Stack, since: float) -> tuple[list[dict[str, Any]], int]:
    """What R2 was asked since then (Unix seconds) by the app or its GPU functions, and refused because it does not
    understand it or does not let this client do it; and how many requests there were."""
    entries = (await stack.admin("GET", "/r2/requests?limit=20000"))["requests"]
    asked = [one for one in entries if float(one["time"]) >= since and not one["presigned"]]
    return [one for one in asked if one["status"] in NOT_TAKEN], len(asked)


def as_refused(one: Mapping[str, Any]) -> str:
    """Such a request, for a reason."""
    return (
        f"{one['operation']} {one['key']}: {one['status']} {one['code']} (rule {one['rule']} of"
        " docs/standins/r2-rules.md)"
    )


def patterns(
    one: list[tuple[str, str]], other: list[tuple[str, str]], prefixes: tuple[str, str]
) -> list[tuple[str, str]]:
    """Turn the requests of two people into patterns that fit any person: pairs of operation and key pattern.

    A part of a key in which the two people differ becomes ``*``. ``prefixes`` are the prefixes of the two people; in a
    pattern ``{owns}`` stands for the prefix.
    """
    places = [
        [(operation, key.replace(prefix, "{owns}", 1) if prefix else key) for operation, key in dict.fromkeys(asked)]
        for asked, prefix in ((one, prefixes[0]), (other, prefixes[1]))
    ]
    found = []
    for operation in dict.fromkeys(operation for operation, _ in places[0]):
        mine, theirs = ([key.split("/") for op, key in place if op == operation] for place in places)
        for key, key2 in zip(mine, theirs, strict=False):
            if len(key) == len(key2):
                found.append((operation, "/".join(a if a == b else "*" for a, b in zip(key, key2, strict=True))))
    return list(dict.fromkeys(found))


def readable(headers: Mapping[str, str], origin: str | None) -> bool:
    """Whether a browser lets a page of ``origin`` read an answer with these headers.

    ``origin`` is None where page and API share one origin: then every answer may be read.
    """
    allowed = headers.get("access-control-allow-origin")
    if origin is None or allowed == origin:
        return True
    return allowed == "*" and headers.get("access-control-allow-credentials") != "true"
