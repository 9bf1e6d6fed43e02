"""What counts as an edit that another one undid."""

from __future__ import annotations

from parity.checks.generic.test_two_machines import shown_by
from parity.contract import Edit, Refused


async def test_a_read_that_is_refused_for_a_moment_is_asked_again() -> None:
    answers: list[str | Refused] = [Refused("GET /x", 503, ""), Refused("GET /x", 503, ""), "the text"]

    async def shown() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def do(_text: str) -> None: ...

    assert await shown_by(Edit(do, shown)) == "the text"
