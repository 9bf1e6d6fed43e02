"""Every answer of the table, with its rule and without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from tests.parity.r2.battery import TRIGGERS
from tests.parity.r2.conftest import SETTINGS
from tests.parity.r2.lab import Answer, Lab, lab
from tests.parity.r2.stores import STORES, available

from parity.r2.rules import ANSWERS, RULES
from parity.r2.settings import Upstream

# With rule 19 R2 accepts what S3 refuses: its answer comes when the rule is off.
REVERSED = {"part-order"}


# The whole battery passes on every store.
@pytest.fixture(scope="module", params=STORES)
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream | None]:
    with available(request.param) as found:
        yield found


@pytest.fixture
async def ask(upstream: Upstream | None) -> AsyncIterator[Lab]:
    async with lab(replace(SETTINGS, upstream=upstream)) as found:
        await found.service.reset()
        yield found


def _is(answer: Answer, answer_id: str) -> bool:
    _, expected = ANSWERS[answer_id]
    if (answer.status, answer.code) != (expected.status, expected.code):
        return False
    fixed = expected.message.partition("{")[0]
    return answer.message.startswith(fixed)


def test_every_answer_of_the_table_has_a_trigger() -> None:
    assert TRIGGERS.keys() == ANSWERS.keys()


def test_the_rules_are_numbered_from_one_without_gaps() -> None:
    assert [rule.number for rule in RULES] == list(range(1, len(RULES) + 1))


@pytest.mark.parametrize("answer_id", ANSWERS)
async def test_an_answer_comes_with_its_rule_and_not_without_it(ask: Lab, answer_id: str) -> None:
    rule, answer = ANSWERS[answer_id]
    with_rule = await TRIGGERS[answer_id](ask)
    await ask.service.reset()
    ask.without(rule.number)
    without_rule = await TRIGGERS[answer_id](ask)
    came, stayed_away = (without_rule, with_rule) if answer_id in REVERSED else (with_rule, without_rule)
    assert _is(came, answer_id), (came.status, came.body)
    assert _is(stayed_away, answer_id) is answer.always, (stayed_away.status, stayed_away.body)


@pytest.mark.parametrize("answer_id", sorted(ANSWERS.keys() - REVERSED))
async def test_a_refused_request_changes_nothing(ask: Lab, answer_id: str) -> None:
    await ask("PUT", body=b"12345")
    await TRIGGERS[answer_id](ask)
    expected = b"1" if answer_id == "busy" else b"12345"
    ask.front.behave(SETTINGS.behaviour)
    assert (await ask()).body == expected
