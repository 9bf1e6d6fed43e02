"""The decorator: what it refuses, and how it runs a test."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

from parity.checks import Env, check
from parity.checks.mark import CLASSES, plain_within_deadline, within_deadline


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "B"}, "either broken with because, or unproven"),
        ({"kind": "B", "broken": Env({})}, "both broken and because, or neither"),
        ({"kind": "B", "because": "x", "unproven": "y"}, "both broken and because, or neither"),
        ({"kind": "b", "unproven": "x"}, "class 'b'"),
        ({"kind": "B", "unproven": "x", "needs": ("uplaod",)}, "is it 'upload'?"),
    ],
)
def test_a_mistake_is_refused_where_it_stands(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(title="t", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("docstring", [None, "", "  \n "])
def test_a_check_that_does_not_say_what_to_do_is_refused(docstring: str | None) -> None:
    def test_something() -> None: ...

    test_something.__doc__ = docstring
    with pytest.raises(ValueError, match="test_something has no docstring; say in it what to do"):
        check("B", "t", unproven="x")(test_something)


def test_a_method_of_a_class_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"TestNotes\.test_kept is a method of a class.*Move it out of the class"):

        class TestNotes:
            @check("B", "t", unproven="x")
            async def test_kept(self, person: object) -> None:
                """Keep it."""


def test_every_class_of_incidents_has_a_name_and_a_place_to_look() -> None:
    assert list(CLASSES) == list("ABCDEFGHIJKLMNOPQRSTUVWX")
    assert all(name and look for name, look in CLASSES.values())


def test_a_test_that_outlasts_its_deadline_is_ended_and_cleans_up() -> None:
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    with asyncio.Runner() as runner, pytest.raises(TimeoutError, match=r"the check's deadline of 0\.05 s passed"):
        within_deadline(endless, 0.05)(runner=runner)
    assert ended == ["cleaned up"]


def test_a_plain_test_has_a_deadline_too() -> None:
    def hangs(**_: Any) -> None:
        threading.Event().wait(60)

    with pytest.raises(TimeoutError, match=r"the check's deadline of 0\.05 s passed"):
        plain_within_deadline(hangs, 0.05)()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_time_limit_inside_the_test_is_not_its_deadline() -> None:
    async def limited() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    with asyncio.Runner() as runner, pytest.raises(TimeoutError) as raised:
        within_deadline(limited, 60)(runner=runner)
    assert "deadline" not in str(raised.value)


def test_pytest_sees_the_fixtures_and_no_coroutine() -> None:
    @check("B", "t", unproven="x")
    async def test_something(person: object, machines: object) -> None:
        """Correct it."""

    import inspect

    assert not inspect.iscoroutinefunction(test_something)
    assert list(inspect.signature(test_something).parameters) == ["person", "machines", "runner"]
