"""When checks may run apart: two people who come, write and read, against an R2 that remembers what it was asked."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parity.checks.apart import can_be_apart, runs_alone
from parity.checks.person import Person
from parity.checks.stack import Stack
from parity.contract import Elsewhere, InBucket, Rate, RateLimited, Refused


class Told:
    """What R2 was asked, as the admin API shows it."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = [{"time": 1.0, "key": "before", "prefix": ""}]

    async def admin(self, method: str, path: str) -> dict[str, Any]:
        assert (method, path.partition("?")[0]) == ("GET", "/r2/requests")
        return {"requests": self.requests}


async def answer(
    owns: list[str], *, asks: list[dict[str, str]] | None = None, error: Exception | None = None, **contract: Any
) -> bool:
    """Whether the checks of an app may run apart whose people own these prefixes and whose writes ask for ``asks``."""
    told = Told()

    class App:
        def __init__(self, prefix: str) -> None:
            self.prefix = prefix

        async def write(self, _text: str) -> None:
            if error:
                raise error
            for one in asks if asks is not None else [{"key": f"{self.prefix}log/1"}, {"prefix": self.prefix}]:
                told.requests.append({"time": time.time(), "key": "", "prefix": "", **one})

        async def read(self) -> list[str]:
            return []

    left = list(owns)

    async def people() -> Person:
        return Person(cast(Any, App(prefix := left.pop(0))), prefix, cast(Any, None))

    kind = SimpleNamespace(**{"keeps": InBucket(""), "owns": object(), **contract})
    return await can_be_apart(cast(Stack, told), cast(Any, kind), people)


async def test_people_with_prefixes_of_their_own_are_apart() -> None:
    assert await answer(["users/ada/", "users/bob/"])


@pytest.mark.parametrize("owns", [["all/", "all/"], ["", ""], ["users/a", "users/ab"], ["users/ab", "users/a"]])
async def test_people_who_share_keys_are_not(owns: list[str]) -> None:
    assert not await answer(owns)


@pytest.mark.parametrize("asked", [{"key": "index.json"}, {"prefix": "users/"}, {}])
async def test_a_write_that_asks_for_anything_else_would_miss_the_fault(asked: dict[str, str]) -> None:
    assert not await answer(["users/ada/", "users/bob/"], asks=[asked])


async def test_nothing_is_known_of_an_app_that_asks_r2_for_nothing() -> None:
    assert not await answer(["users/ada/", "users/bob/"], asks=[])


@pytest.mark.parametrize("contract", [{"keeps": Elsewhere()}, {"keeps": InBucket("", 5.0)}, {"people": Rate(2, 60)}])
async def test_one_machine_at_a_time_data_elsewhere_and_few_people_are_not_tried(contract: dict[str, Any]) -> None:
    assert not await answer(["users/ada/", "users/bob/"], **contract)


@pytest.mark.parametrize("error", [Refused("POST /", 503, ""), RateLimited("429")])
async def test_a_refusal_is_no_verdict_and_the_checks_run_alone(error: Exception) -> None:
    assert not await answer(["users/ada/", "users/bob/"], error=error)


@pytest.mark.parametrize(
    ("marked", "fixtures", "one_machine", "alone"),
    [
        ({}, ("person",), True, False),
        ({}, ("person", "machines"), False, False),
        ({}, ("person", "machines"), True, True),
        ({"alone": True}, (), False, True),
        ({"apart": True}, (), False, True),
    ],
)
def test_a_check_that_replaces_the_only_machine_runs_alone(
    marked: dict[str, bool], fixtures: tuple[str, ...], one_machine: bool, alone: bool
) -> None:
    about = cast(Any, SimpleNamespace(**{"alone": False, "apart": False, **marked}))
    assert runs_alone(about, fixtures, apart=False, one_machine=one_machine) is alone
