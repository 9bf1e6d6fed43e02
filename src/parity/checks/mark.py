"""The decorator that makes a test a check."""

from __future__ import annotations

import asyncio
import difflib
import functools
import inspect
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, cast

import pytest

from parity.checks import patience
from parity.checks.variants import Change, Named
from parity.contract import OPTIONAL

# A busy host may run the whole stack several times slower than a quiet one. A deadline only ends a check that hangs, so
# it is this many times the seconds that the check may take on a quiet host.
BUSY = 4

F = TypeVar("F", bound=Callable[..., Any])

# Classes of incidents (docs/checks.md), and a hint where to look first when a check of the class fails.
CLASSES: Mapping[str, tuple[str, str]] = {
    "A": ("boot", "compare requirements, Dockerfile and start command with what the code imports and needs"),
    "B": ("durability", "follow one write from its answer to its object in the bucket: r2-requests.json"),
    "C": ("R2's faults", "look at how the code treats an error of R2: an error does not mean 'missing' or 'empty'"),
    "D": (
        "two Machines",
        "look for state in the memory of one Machine, and for uploads without If-Match or If-None-Match",
    ),
    "E": ("browsers", "look at the order of middlewares, the CORS origins, cookies, and X-Forwarded-Proto"),
    "F": ("uploads and links", "look at the bucket's CORS policy, and at which headers the presigned URLs sign"),
    "G": ("GPU jobs", "compare the keys in the payload with those that the app expects: modal-calls.json"),
    "H": ("bursts", "look for locks that are held during a request to R2, and for several writers of one key"),
    "I": ("stops", "look at the shutdown handler, and for writes that are acknowledged before they are stored"),
    "J": ("configuration", "compare fly.toml, the secrets and parity.toml: run parity diff"),
    "K": ("old data", "look whether the migrations reach the bucket, and run on an empty database"),
    "L": ("memory", "look for code that reads whole files into memory, and for ffmpeg running beside the server"),
    "M": ("environments", "look for keys and prefixes that do not begin with the environment"),
    "N": ("process groups", "look at the process groups of fly.toml: their memory, and what starts their Machines"),
    "O": ("the health check", "the health check must say whether this process serves, and nothing else"),
    "P": ("volumes", "look at the owner of the folders to which the app writes"),
    "Q": ("boot budget", "look at what runs before the port opens: imports, migrations, models, waiting"),
    "R": ("auxiliary services", "look at timeouts, retries and connection pools for the service"),
    "S": ("caches", "look at Cache-Control, and for keys that are written twice"),
    "T": ("deletion", "look for other records that refer to the deleted object"),
    "U": ("the event loop", "look for blocking calls in async handlers"),
    "V": ("identity", "every route and WebSocket must check who sends the request and who owns the record"),
    "W": ("size and shape", "look for lists of which only the first page is read, and for code that assumes ASCII"),
    "X": ("drift", "compare fly.toml with the running Machine"),
}
# What a check may need besides optional methods of the contract, and where it is declared or found.
FACTS = {
    "in_bucket": "keeps = InBucket(…)",
    "elsewhere": "keeps = Elsewhere()",
    "prefix": "environments = Prefix(…)",
    "origin": "a page on another origin (app.frontend_origin of parity.toml, or Contract.origin)",
    "gpu": "[gpu] in parity.toml",
    "services": "[services] in parity.toml",
    "stubs": "[stubs] in parity.toml",
    "docker": "Machines as containers of the image",
    "browser": "Chromium, and the page over TLS",
    "ffmpeg": "ffmpeg and ffprobe on PATH",
}


@dataclass(frozen=True)
class About:
    """The arguments of a check's mark."""

    kind: str
    title: str
    broken: Change | None
    because: str
    unproven: str
    needs: tuple[str, ...]
    rests_on: tuple[str, ...]
    live: bool
    alone: bool
    apart: bool
    fast: bool
    deadline_s: float

    @classmethod
    def of(cls, item: pytest.Item | pytest.Function) -> About | None:
        """The arguments of ``item``'s mark; None for a test that is not a check."""
        mark = item.get_closest_marker("check")
        return cls(**mark.kwargs) if mark else None


def check(
    kind: str,
    title: str,
    *,
    broken: Change | str | None = None,
    because: str = "",
    unproven: str = "",
    needs: Sequence[str] = (),
    rests_on: Sequence[str] = (),
    live: bool = False,
    alone: bool = False,
    apart: bool = False,
    fast: bool = False,
    deadline_s: float = 60.0,
) -> Callable[[F], F]:
    """Make a test function, plain or async, a check. Raises ``ValueError`` for wrong arguments, at collection.

    - ``kind``: the class of incidents, A to X; ``title``: what is checked, in a sentence. The test's docstring is
      required: it says what to do when the check fails, and stands below the reason in every report.
    - ``broken``: the variant on which the check must fail, or the name of one in the contract; ``because``: a pattern
      (``re.search``) that the reason of this failure must match. ``unproven``: why no variant is possible.
    - ``needs``: optional methods of the contract and names of ``FACTS``; where one is absent, the check ends as "not
      declared" or "not shown".
    - ``rests_on``: names of checks; where one of them does not pass, this check ends as "not judged".
    - ``live``: may run against a deployed app, as a throw-away person.
    - ``alone``: it stops or replaces Machines that other checks use, or changes the whole stack, and so runs alone.
    - ``apart``: it stops Machines or causes faults, and needs only a Machine of its own and its own person's data for
      that (``Faults.reach``). It runs beside other checks, or alone where ``parity.checks.apart`` finds that it must.
    - ``fast``: ``parity check --fast`` runs it too.
    - ``deadline_s``: seconds that the test may take on a quiet host; waiting for other checks does not count. The test
      ends as an error after ``BUSY`` times as long.
    """
    if kind not in CLASSES:
        raise ValueError(f"check {title!r}: the class {kind!r} is unknown; use one of {', '.join(CLASSES)}")
    if (broken is None) != (not because):
        raise ValueError(f"check {title!r}: give both broken and because, or neither")
    if (broken is None) != bool(unproven):
        raise ValueError(
            f"check {title!r}: give either broken with because, or unproven with the reason why no variant is possible"
        )
    if alone and apart:
        raise ValueError(f"check {title!r}: give alone or apart, not both")
    known = {*OPTIONAL, *FACTS}
    for need in (need for need in needs if need not in known):
        close = difflib.get_close_matches(need, known, 1)
        raise ValueError(f"check {title!r}: needs {need!r} is unknown" + (f"; is it {close[0]!r}?" if close else ""))
    about = About(
        kind=kind,
        title=title,
        broken=Named(broken) if isinstance(broken, str) else broken,
        because=because,
        unproven=unproven,
        needs=tuple(needs),
        rests_on=tuple(rests_on),
        live=live,
        alone=alone,
        apart=apart,
        fast=fast,
        deadline_s=BUSY * deadline_s,
    )
    mark = pytest.mark.check(**{field.name: getattr(about, field.name) for field in fields(about)})

    def marked(function: F) -> F:
        if "." in function.__qualname__.rpartition("<locals>.")[2]:
            raise ValueError(
                f"check {title!r}: {function.__qualname__} is a method of a class. A check must be a function of its"
                " module: verdicts and rests_on know checks by the function's name. Move it out of the class"
            )
        if not (function.__doc__ or "").strip():
            raise ValueError(
                f"check {title!r}: {function.__name__} has no docstring; say in it what to do when the check fails"
            )
        bound = within_deadline if inspect.iscoroutinefunction(function) else plain_within_deadline
        return cast(F, mark(bound(function, about.deadline_s)))

    return marked


def plain_within_deadline(function: Callable[..., None], deadline_s: float) -> Callable[..., None]:
    """Run ``function`` under a deadline, set with SIGALRM. The result raises ``TimeoutError`` when it passes."""

    def passed(_number: int, _frame: object) -> None:
        raise TimeoutError(f"the check's deadline of {deadline_s:g} s passed")

    @functools.wraps(function)
    def run(**fixtures: Any) -> None:
        __tracebackhide__ = True
        if threading.current_thread() is not threading.main_thread():  # signals work only there
            return function(**fixtures)
        before = signal.signal(signal.SIGALRM, passed)
        signal.setitimer(signal.ITIMER_REAL, patience.limit(deadline_s) or 0)
        try:
            return function(**fixtures)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return run


def within_deadline(function: Callable[..., Awaitable[None]], deadline_s: float) -> Callable[..., None]:
    """Make a plain function for pytest that runs the async ``function`` in the event loop of its fixtures (``runner``).

    The result raises ``TimeoutError`` when the deadline passes. It is a plain function because pytest-asyncio, which
    the host project may use in auto mode, would run an ``async def`` in another event loop than the fixtures'.
    """
    signature = inspect.signature(function)
    runner = inspect.Parameter("runner", inspect.Parameter.KEYWORD_ONLY)

    async def bounded(fixtures: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(patience.limit(deadline_s)) as deadline:
                await function(**fixtures)
        except TimeoutError:
            if deadline.expired():
                raise TimeoutError(f"the check's deadline of {deadline_s:g} s passed") from None
            raise

    @functools.wraps(function)
    def run(*, runner: asyncio.Runner, **fixtures: Any) -> None:
        __tracebackhide__ = True
        if "runner" in signature.parameters:
            fixtures["runner"] = runner
        runner.run(bounded(fixtures))

    del run.__wrapped__  # pytest and its plugins would follow it to the async function
    parameters = [p for p in signature.parameters.values() if p.name != "runner"]
    run.__signature__ = signature.replace(parameters=[*parameters, runner])  # type: ignore[attr-defined]
    return run
