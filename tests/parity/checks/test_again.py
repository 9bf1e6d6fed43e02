"""A check that something outside the app and the stack disturbed is run again, and only its last attempt counts."""

from __future__ import annotations

import asyncio

import pytest
from tests.parity.checks.repository import Ended, Repository

from parity.checks.browser import NetworkChanged, Notes, Pages, find_chromium
from parity.report.findings import Verdict

CHECKS = """
    from parity.checks.again import RunAgain

    made = []

    @pytest.fixture
    def number():
        made.append(None)
        return len(made)

    @check("B", "is disturbed twice", broken=Env({"X": "1"}), because="the reason")
    def test_twice(number, variant):
        if number < 3: raise RunAgain("an interface came")
        assert variant is None, "the reason"

    @check("B", "rests on it", rests_on=("test_twice",), unproven="it is about the host")
    def test_rests(): pass

    @check("B", "is always disturbed", unproven="it is about the host")
    def test_always(): raise RunAgain("an interface came")

    @check("B", "fails", unproven="it is about the host")
    def test_fails(number): assert number == 1, f"attempt {number}"
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return Repository.at(tmp_path_factory.mktemp("again"), CHECKS).check("--prove")


def test_each_attempt_has_new_fixtures_and_only_the_last_one_counts(ended: Ended) -> None:
    assert ended.verdict("test_twice") is Verdict.PASSED
    assert ended.verdict("test_rests") is Verdict.PASSED
    assert ended.verdict("test_twice", proof=True) is Verdict.CAUGHT
    assert ended.junit["tests"] == 5


def test_a_check_that_is_always_disturbed_is_an_error_and_no_failure_of_the_app(ended: Ended) -> None:
    assert (ended.verdict("test_always"), ended.junit["errors"]) == (Verdict.ERROR, 1)
    assert "an interface came" in ended.one("test_always").reason


def test_a_failure_is_not_run_again(ended: Ended) -> None:
    assert ended.verdict("test_fails") is Verdict.FAILED
    assert "attempt 4" in ended.one("test_fails").reason  # 3 attempts of test_twice came before


@pytest.mark.parametrize(
    ("counts_when_done", "fails", "disturbed"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_a_change_of_the_network_counts_unless_the_page_showed_all_that_it_must(
    counts_when_done: bool, fails: bool, disturbed: bool
) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or set PARITY_CHROMIUM")
    pages = Pages(program, [], Notes())

    async def look() -> None:
        async with pages(counts_when_done=counts_when_done) as tab:
            async with tab.expect_console_message():
                await tab.evaluate("console.error('GET /: net::ERR_NETWORK_CHANGED')")
            assert not fails, "the page showed nothing"

    if disturbed:
        with pytest.raises(NetworkChanged):
            asyncio.run(look())
    else:
        asyncio.run(look())
