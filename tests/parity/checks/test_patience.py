"""No deadline of a check passes where the app is debugged."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.parity.json_server import json_server

from parity.checks import patience
from parity.checks.mark import plain_within_deadline, within_deadline


@pytest.fixture
def admin() -> Iterator[tuple[dict[str, object], str]]:
    shown: dict[str, object] = {"on": True, "debug": True}
    with json_server(shown) as url:
        yield shown, url
    patience.look(None)


async def longer() -> None:
    await asyncio.sleep(0.05)


def test_a_check_of_a_debugged_stack_may_take_as_long_as_it_likes(admin: tuple[dict[str, object], str]) -> None:
    shown, url = admin
    bounded = within_deadline(longer, 0.001)
    with asyncio.Runner() as runner:
        assert patience.look(url)
        bounded(runner=runner)
        shown["debug"] = False
        assert not patience.look(url)
        with pytest.raises(TimeoutError, match="deadline"):
            bounded(runner=runner)


def test_the_alarm_of_a_plain_check_is_not_set_either(admin: tuple[dict[str, object], str]) -> None:
    _, url = admin
    patience.look(url)
    plain_within_deadline(lambda: asyncio.run(longer()), 0.001)()


def test_what_a_check_waits_for_has_no_end_while_a_debugger_is_attached(admin: tuple[dict[str, object], str]) -> None:
    shown, url = admin
    shown["attached"] = True
    patience.look(url)
    deadline = patience.Deadline(-1.0)
    assert not deadline.passed
    shown["attached"] = False
    assert deadline.passed
    shown.update(attached=True, debug=False)
    patience.look(url)
    assert deadline.passed


def test_a_stack_that_does_not_answer_and_a_deployed_app_keep_the_deadlines() -> None:
    assert not patience.look("http://127.0.0.1:9")
    assert not patience.look(None)
    assert patience.limit(3.0) == 3.0
