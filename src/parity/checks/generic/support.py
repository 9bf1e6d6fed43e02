"""What several generic checks share: what is lost, waiting with a deadline, a Machine with an empty disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import NoReturn, TypeVar

import httpx

from parity.checks.bucket import Bucket
from parity.checks.machines import Machines
from parity.checks.person import Attempt, Person
from parity.checks.stack import Stack
from parity.checks.verdict import NotDeclared
from parity.contract import InBucket, Refused

T = TypeVar("T")
POLL_S = 0.1
# How much longer than promised anything is waited for on a busy machine, in seconds.
PATIENCE_S = 20.0


def acknowledged(writes: Collection[Attempt]) -> int:
    return sum(one.acknowledged for one in writes)


async def until(probe: Callable[[], Awaitable[T]], good: Callable[[T], bool], within_s: float) -> T:
    """What ``probe`` gives once it is ``good``, or what it gave last when ``within_s`` seconds have passed."""
    end = time.monotonic() + within_s
    while True:
        found = await probe()
        if good(found) or time.monotonic() > end:
            return found
        await asyncio.sleep(POLL_S)


async def answered(person: Person) -> Collection[str] | str:
    """Every text that is shown. A refusal counts only when it lasts: then its text.

    A Machine that has just started on a busy host may be refused by the edge for a moment, and nothing is lost by that.
    """
    return await until(person.reads, lambda shown: not isinstance(shown, str), PATIENCE_S)


def within_s(person: Person) -> float:
    """How many seconds after its acknowledgement a write may reach the bucket, by the contract; 0: before it."""
    keeps = person.keeps
    return keeps.within_s if isinstance(keeps, InBucket) else 0.0


# How an app says that it does not know who asks.
UNKNOWN = (401, 403)


async def refusal_of(person: Person) -> Refused | None:
    """How a read is refused; None where it is answered."""
    try:
        await person.read()
    except Refused as refused:
        return refused
    return None


async def changed(bucket: Bucket, person: Person, before: Mapping[str, str]) -> Mapping[str, str]:
    """What lies below the person's prefix once it is another than ``before``; ``before`` where it never is, within the
    seconds that the contract names."""
    return await until(lambda: bucket.objects(person.owns), lambda found: found != before, within_s(person))


def not_declared(reason: str) -> NoReturn:
    """End the check: the app, or what it says of itself, has no such thing. Raises ``NotDeclared``."""
    raise NotDeclared(reason)


def asks_r2(person: Person) -> bool:
    """Whether a write must ask R2 before its answer, by the contract: then a fault that meets nothing is no proof."""
    return isinstance(person.keeps, InBucket) and person.keeps.within_s == 0


def several_machines(person: Person) -> None:
    """Leaves the check to be judged only where several Machines may write at once."""
    if within_s(person):
        not_declared(
            "writes reach the bucket later than their answer (within_s): one Machine at a time is all it promises"
        )


@asynccontextmanager
async def empty_machine(person: Person, machines: Machines) -> AsyncIterator[str]:
    """A Machine with an empty disk. Beside the first one where several may run, else in its place (``alone``)."""
    if within_s(person):
        await asyncio.sleep(within_s(person))  # what it promises: later than that the bucket has the writes
        yield await machines.replace_all()
        return
    async with machines.one_more() as cold:
        yield cold


async def probed(stack: Stack, machine: str) -> str:
    """What the health check answers as Fly calls it: straight to the Machine, plain HTTP, no forwarded headers.

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


@asynccontextmanager
async def r2_behaviour(stack: Stack, **changes: str) -> AsyncIterator[None]:
    """R2 with other limits or latency, as POST /r2/behaviour takes them; as before afterwards."""
    before = await stack.admin("GET", "/r2/behaviour")
    await stack.admin("POST", "/r2/behaviour", changes)
    try:
        yield
    finally:
        await stack.admin("POST", "/r2/behaviour", {name: before[name] for name in changes})


async def asked_since(stack: Stack, since: float) -> list[tuple[str, str]]:
    """What R2 was asked since then (Unix seconds): operation and key (of a list the prefix), in order."""
    found = (await stack.admin("GET", "/r2/requests?limit=20000"))["requests"]
    late = [entry for entry in found if float(entry["time"]) >= since]
    return [
        (entry["operation"], entry["key"] or entry["prefix"]) for entry in sorted(late, key=lambda e: float(e["time"]))
    ]


def patterns(
    one: list[tuple[str, str]], other: list[tuple[str, str]], prefixes: tuple[str, str]
) -> list[tuple[str, str]]:
    """Operations with patterns of keys that fit anyone: what differs between two people in the same place is a ``*``.

    ``prefixes``: below which each of the two has what is theirs; ``{owns}`` stands for it in a pattern.
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
    """Whether a page of that origin may read an answer with these headers; None: page and API are one origin."""
    allowed = headers.get("access-control-allow-origin")
    if origin is None or allowed == origin:
        return True
    return allowed == "*" and headers.get("access-control-allow-credentials") != "true"
