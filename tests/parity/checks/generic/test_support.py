"""The pure parts of the generic checks."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parity.checks.generic import support
from parity.checks.generic.support import patterns, readable
from parity.checks.generic.test_browser import registrable
from parity.checks.generic.test_durability import may_be_kept
from parity.checks.generic.test_jobs import elsewhere

PAGE = "https://page.example"


def test_what_differs_between_two_people_becomes_a_wildcard() -> None:
    one = [("GetObject", "s/users/a/profiles/p1/db"), ("HeadBucket", ""), ("ListObjectsV2", "s/users/a/")]
    other = [("GetObject", "s/users/b/profiles/p2/db"), ("HeadBucket", ""), ("ListObjectsV2", "s/users/b/")]
    assert patterns(one, other, ("s/users/a/", "s/users/b/")) == [
        ("GetObject", "{owns}profiles/*/db"),
        ("HeadBucket", ""),
        ("ListObjectsV2", "{owns}"),
    ]


def test_another_order_of_operations_loses_no_pattern() -> None:
    one = [("GetObject", "k1"), ("PutObject", "c")]
    other = [("PutObject", "c"), ("GetObject", "k2")]
    assert patterns(one, other, ("", "")) == [("GetObject", "*"), ("PutObject", "c")]


@pytest.mark.parametrize(
    ("allowed", "credentials", "origin", "is_readable"),
    [
        (PAGE, "true", PAGE, True),
        ("*", "", PAGE, True),
        ("*", "true", PAGE, False),
        ("https://other.example", "true", PAGE, False),
        (None, "", PAGE, False),
        (None, "", None, True),
    ],
)
def test_a_page_reads_what_cors_lets_it(
    allowed: str | None, credentials: str, origin: str | None, is_readable: bool
) -> None:
    headers = {"access-control-allow-credentials": credentials}
    if allowed is not None:
        headers["access-control-allow-origin"] = allowed
    assert readable(headers, origin) is is_readable


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("", False),
        ("no-store", False),
        ("max-age=0", False),
        ("private, max-age=60", True),
        ("no-cache, max-age=9", False),
    ],
)
def test_what_a_cache_may_keep(value: str, kept: bool) -> None:
    assert may_be_kept(value) == kept


def test_two_apps_of_fly_are_two_sites_and_two_hosts_of_a_domain_are_one() -> None:
    assert registrable("https://a.fly.dev") != registrable("https://b.fly.dev")
    assert registrable("https://api.shop.example") == registrable("https://www.shop.example")


def test_a_case_with_two_reasons_is_one_case() -> None:
    assert support.how_many([["lost", "refused"], [], ["lost"]]) == "2 of 3"


class Waking:
    """A person whose first reads are refused."""

    def __init__(self, *answers: list[str] | str) -> None:
        self._answers = list(answers)

    async def reads(self) -> list[str] | str:
        return self._answers.pop(0)


async def test_a_refusal_counts_only_when_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await support.answered(cast(Any, Waking("503", "502", ["a"]))) == ["a"]
    monkeypatch.setattr(support, "PATIENCE_S", 0.0)
    assert await support.answered(cast(Any, Waking("503", "503"))) == "503"


async def test_a_probe_that_outlasts_its_time_is_followed_by_a_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deadline:
        """It passes while the first probe is under way."""

        def __init__(self, _within_s: float) -> None:
            self.looks = 0

        @property
        def passed(self) -> bool:
            self.looks += 1
            return self.looks > 1

    monkeypatch.setattr(support, "patience", SimpleNamespace(Deadline=Deadline))
    for within_s, probes in ((5.0, 2), (0.0, 1)):
        shown = iter(range(1, 4))

        async def probe(shown: Iterator[int] = shown) -> int:
            return next(shown)

        assert await support.until(probe, lambda found: found > 3, within_s) == probes


def test_an_output_that_lies_under_another_prefix_is_found() -> None:
    assert "it lies at live/out/1.txt" in elsewhere("staging/out/1.txt", ["live/out/1.txt"])
    record = ["staging/ada/renders/1.json"]
    assert "acknowledged its output" in elsewhere("staging/ada/out/1.json", record), "its state, not its output"
    assert "it lies at lens/ada/out/1.txt" in elsewhere("staging/lens/ada/out/1.txt", ["lens/ada/out/1.txt", "x/2.txt"])
    assert (
        elsewhere("staging/out/1.txt", ["staging/out/2.txt"])
        == "call a job done only when R2 has acknowledged its output"
    )
