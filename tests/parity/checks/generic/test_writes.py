"""What the control of all writes says of an app that refuses, and of one that loses."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from parity.checks.generic.test_writes import test_writes_last as check_writes
from parity.checks.person import Person
from parity.contract import Refused


class Notes:
    """``reads`` and ``writes`` are statuses with which it refuses, in turn; 0 where it does not."""

    def __init__(self, reads: list[int], writes: list[int], loses: bool) -> None:
        self.kept: list[str] = []
        self.reads, self.writes, self.loses = reads, writes, loses

    async def write(self, text: str) -> None:
        if self.writes and (status := self.writes.pop(0)):
            raise Refused("POST /notes", status, "")
        self.kept.append(text)

    async def read(self) -> list[str]:
        if self.reads and (status := self.reads.pop(0)):
            raise Refused("GET /notes", status, "")
        return self.kept[:-1] if self.loses and len(self.kept) > 2 else self.kept


SESSIONS = "do not know each other's sessions"


@pytest.mark.parametrize(
    ("reads", "writes", "loses", "said", "not_said"),
    [
        ([], [], False, "", "x"),
        ([], [0, 0, 0, 503], False, "", "x"),  # a busy app may refuse one of eight at once
        ([401], [], False, SESSIONS, "are not shown"),
        ([0, 403], [], False, SESSIONS, "are not shown"),
        ([], [0, 401], False, SESSIONS, "are not shown"),
        ([], [0, 0, 0, 401], False, SESSIONS, "are not shown"),
        ([503], [], False, "the read was refused: GET /notes answered 503", SESSIONS),
        ([], [0, 0, 500], False, "The app raised an exception", SESSIONS),
        ([], [], True, "1 of 8 acknowledged writes are not shown", "refused"),
    ],
)
def test_a_refusal_is_not_called_a_lost_write(
    reads: list[int], writes: list[int], loses: bool, said: str, not_said: str
) -> None:
    app: Any = Notes(reads, writes, loses)
    check: Any = check_writes
    with asyncio.Runner() as runner:
        if not said:
            check(runner=runner, person=Person(app, "", SimpleNamespace))  # type: ignore[arg-type]
            return
        with pytest.raises(AssertionError) as raised:
            check(runner=runner, person=Person(app, "", SimpleNamespace))  # type: ignore[arg-type]
    assert said in str(raised.value)
    assert not_said not in str(raised.value)
