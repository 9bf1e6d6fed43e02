"""Every answer of the table, with its rule and without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from tests.parity.r2.battery import TRIGGERS
from tests.parity.r2.conftest import SETTINGS
from tests.parity.r2.effects import EFFECTS
from tests.parity.r2.lab import Answer, Lab, lab
from tests.parity.r2.stores import STORES, available

from parity.r2 import answers
from parity.r2.answers import ANSWERS
from parity.r2.rules import RULE_OF, RULES
from parity.r2.settings import Upstream

# With rule 19 R2 accepts what S3 refuses: its answer comes when the rule is off.
REVERSED = {"PART_ORDER"}


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


def _is(found: Answer, expected: answers.Answer, *, captured: bool = False) -> bool:
    wanted = expected.captured if captured else (expected.status, expected.code)
    return (found.status, found.code) == wanted and found.message.startswith(expected.message.partition("{")[0])


def test_every_answer_belongs_to_a_rule_and_has_a_trigger() -> None:
    assert TRIGGERS.keys() == set(ANSWERS.values()) == RULE_OF.keys()


def test_the_rules_are_numbered_from_one_without_gaps() -> None:
    assert [rule.number for rule in RULES] == list(range(1, len(RULES) + 1))


def test_every_rule_that_refuses_nothing_has_an_effect_that_is_looked_at() -> None:
    assert EFFECTS.keys() == {rule.number for rule in RULES if not rule.answers}


@pytest.mark.parametrize("number", EFFECTS)
async def test_an_effect_is_there_with_its_rule_and_not_without_it(ask: Lab, number: int) -> None:
    effect = EFFECTS[number]
    assert await effect.look(ask) == effect.on
    await ask.service.reset()
    ask.without(number)
    assert await effect.look(ask) == effect.off


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_comes_with_its_rule_and_not_without_it(ask: Lab, name: str) -> None:
    answer = ANSWERS[name]
    with_rule = await TRIGGERS[answer](ask)
    await ask.service.reset()
    ask.without(RULE_OF[answer].number)
    without_rule = await TRIGGERS[answer](ask)
    came, stayed_away = (without_rule, with_rule) if name in REVERSED else (with_rule, without_rule)
    assert _is(came, answer), (came.status, came.body)
    assert _is(stayed_away, answer) is answer.always, (stayed_away.status, stayed_away.body)


@pytest.mark.parametrize("name", [name for name, answer in ANSWERS.items() if answer.captured])
async def test_an_answer_is_the_captured_one_when_that_is_chosen(ask: Lab, name: str) -> None:
    ask.front.behave(replace(SETTINGS.behaviour, error_codes="captured"))
    found = await TRIGGERS[ANSWERS[name]](ask)
    assert _is(found, ANSWERS[name], captured=True), (found.status, found.body)


@pytest.mark.parametrize("name", sorted(ANSWERS.keys() - REVERSED))
async def test_a_refused_request_changes_nothing(ask: Lab, name: str) -> None:
    await ask("PUT", body=b"12345")
    await TRIGGERS[ANSWERS[name]](ask)
    expected = b"1" if ANSWERS[name] is answers.BUSY else b"12345"
    ask.front.behave(SETTINGS.behaviour)
    assert (await ask()).body == expected
