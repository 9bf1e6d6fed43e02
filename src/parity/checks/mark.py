"""The decorator that makes a test a check."""

from __future__ import annotations

import asyncio
import contextlib
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

# How often a test is run that ends with ``RunAgain``.
TRIES = 3


class RunAgain(Exception):
    """Something outside of the app and the stack disturbed the test: it is run again, as often as ``TRIES``."""


F = TypeVar("F", bound=Callable[..., Any])

# Classes of incidents (docs/checks.md), and where to look first when a check of the class fails.
CLASSES: Mapping[str, tuple[str, str]] = {
    "A": ("boot", "compare requirements, Dockerfile and start command with what the code imports and needs"),
    "B": ("durability", "follow one write from its answer to its object in the bucket: r2-requests.json"),
    "C": ("R2's faults", "look at how the code treats an error of R2: it is neither 'missing' nor 'empty'"),
    "D": ("two Machines", "look for state that one Machine keeps to itself, and for writes without a condition"),
    "E": ("browsers", "look at the order of middlewares, CORS origins, cookies and the scheme behind the proxy"),
    "F": ("the bucket's door", "look at the bucket's CORS file and at what the presigned URLs sign"),
    "G": ("GPU jobs", "compare payload keys and prefixes on both sides: modal-calls.json"),
    "H": ("bursts", "look for locks held while R2 is asked, and for several writers of one key"),
    "I": ("stops", "look at the shutdown handler and at what is acknowledged before it is stored"),
    "J": ("configuration", "compare fly.toml, the secrets and parity.toml: parity diff"),
    "K": ("old data", "look at the migrations: do they reach the bucket, and do they run on an empty database?"),
    "L": ("memory", "look for whole files in memory, and for ffmpeg beside the server"),
    "M": ("environments", "look for keys and prefixes without the environment in them"),
    "N": ("process groups", "look at the groups of fly.toml: what wakes them, and their memory"),
    "O": ("the health check", "the health check must say whether this process serves, and nothing else"),
    "P": ("volumes", "look at who owns what the app writes to"),
    "Q": ("boot budget", "look at what runs before the port opens: imports, migrations, models, waiting"),
    "R": ("auxiliary services", "look at time limits, retries and pools of connections to the service"),
    "S": ("caches", "look at Cache-Control and at keys that are written twice"),
    "T": ("deletion", "look at who else refers to what is deleted"),
    "U": ("the event loop", "look for blocking calls in async handlers"),
    "V": ("identity", "every route and socket must ask who it is, and whose the thing is"),
    "W": ("size and shape", "look for a first page taken for the whole, and for names beyond ASCII"),
    "X": ("drift", "compare fly.toml with the running Machine"),
}
# What a check may need beside optional methods of the contract.
FACTS = {
    "in_bucket": "keeps = InBucket(…)",
    "elsewhere": "keeps = Elsewhere()",
    "prefix": "environments = Prefix(…)",
    "origin": "a page on another origin (app.frontend_origin of parity.toml, or Contract.origin)",
    "gpu": "[gpu] in parity.toml",
    "services": "[services] in parity.toml",
    "docker": "Machines as containers of the image",
    "browser": "Chromium, and the page over TLS",
    "ffmpeg": "ffmpeg and ffprobe on PATH",
}


@dataclass(frozen=True)
class About:
    """What the mark says of a check."""

    kind: str
    title: str
    broken: Change | None
    because: str
    unproven: str
    needs: tuple[str, ...]
    rests_on: tuple[str, ...]
    live: bool
    alone: bool
    fast: bool
    deadline_s: float

    @classmethod
    def of(cls, item: pytest.Item | pytest.Function) -> About | None:
        """What ``item``'s mark says; None for a test that is no check."""
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
    fast: bool = False,
    deadline_s: float = 60.0,
) -> Callable[[F], F]:
    """Make a test function, plain or async, a check. Mistakes here fail the collection.

    - ``kind``: the class of incidents, A to X; ``title``: the promise, in a sentence. The test's docstring says what to
      do when it fails; without one the class does.
    - ``broken``: the variant that the check must notice, or the name of one of the contract; ``because``: a pattern of
      the reason for which it must fail then. ``unproven`` says why there is no variant, where there can be none.
    - ``needs``: optional methods of the contract and names of ``FACTS``; without them it is "not declared" or
      "not shown".
    - ``rests_on``: names of checks; where one of them did not pass, this one is "not judged".
    - ``live``: may run against a deployed app, as a throw-away person.
    - ``alone``: it stops or replaces Machines that others use, or changes what everybody meets.
    - ``fast``: part of ``--fast``.
    - ``deadline_s``: how long the test itself may take; waiting for its turn does not count.
    """
    if kind not in CLASSES:
        raise ValueError(f"check {title!r}: class {kind!r}; one of {', '.join(CLASSES)} is wanted")
    if (broken is None) != (not because):
        raise ValueError(f"check {title!r}: broken and because come together")
    if (broken is None) != bool(unproven):
        raise ValueError(f"check {title!r}: either broken with because, or unproven with the reason why there is none")
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
        fast=fast,
        deadline_s=deadline_s,
    )
    mark = pytest.mark.check(**{field.name: getattr(about, field.name) for field in fields(about)})

    def marked(function: F) -> F:
        bound = within_deadline if inspect.iscoroutinefunction(function) else plain_within_deadline
        return cast(F, mark(bound(function, deadline_s)))

    return marked


def plain_within_deadline(function: Callable[..., None], deadline_s: float) -> Callable[..., None]:
    """``function`` under a deadline, by the process's alarm clock. Raises ``TimeoutError`` when it passes."""

    def passed(_number: int, _frame: object) -> None:
        raise TimeoutError(f"the check's deadline of {deadline_s:g} s passed")

    @functools.wraps(function)
    def run(**fixtures: Any) -> None:
        __tracebackhide__ = True
        if threading.current_thread() is not threading.main_thread():  # only that one may set the clock
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
    """A plain function for pytest, which runs ``function`` in the event loop of its fixtures (``runner``) under a
    deadline. Raises ``TimeoutError`` when it passes.

    A plain one, because an async plugin of the host project (pytest-asyncio in auto mode) would take an ``async def``
    for its own and run it in another loop than the fixtures'.
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
        for _ in range(TRIES - 1):
            with contextlib.suppress(RunAgain):
                return runner.run(bounded(fixtures))
        return runner.run(bounded(fixtures))

    del run.__wrapped__  # pytest and its plugins look through it
    parameters = [p for p in signature.parameters.values() if p.name != "runner"]
    run.__signature__ = signature.replace(parameters=[*parameters, runner])  # type: ignore[attr-defined]
    return run
