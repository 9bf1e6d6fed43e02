"""How the outcome of a test becomes a verdict."""

from __future__ import annotations

import pytest

from parity.checks.verdict import AsItIs, NotDeclared, NotJudged, NotShown, Void, judge, not_judged
from parity.contract import RateLimited, Refused
from parity.report.findings import Verdict


@pytest.mark.parametrize(
    ("error", "in_test", "because", "verdict"),
    [
        (None, True, None, Verdict.PASSED),
        (None, False, None, None),
        (None, True, "lost", Verdict.NOT_CAUGHT),
        (AssertionError("a write is lost"), True, None, Verdict.FAILED),
        (AssertionError("a write is lost"), True, "is lost", Verdict.CAUGHT),
        (AssertionError("sign-in fails"), True, "is lost", Verdict.ERROR),
        (AssertionError("a write is lost"), False, "is lost", Verdict.ERROR),
        (Refused("GET /x", 500, ""), True, None, Verdict.FAILED),
        (RateLimited("GET /x answered 429"), True, None, Verdict.ERROR),
        (OSError("a write is lost"), True, "is lost", Verdict.ERROR),
        (TimeoutError(), True, None, Verdict.ERROR),
        (NotDeclared("no edit"), False, None, Verdict.NOT_DECLARED),
        (NotJudged("the control failed"), True, None, Verdict.NOT_JUDGED),
        (NotJudged("nobody can sign in"), False, "is lost", Verdict.ERROR),
        (AsItIs("the check as it is: not judged"), False, "is lost", Verdict.NOT_JUDGED),
        (NotShown("no Chromium"), False, None, Verdict.NOT_SHOWN),
        (pytest.skip.Exception("by hand"), True, None, Verdict.NOT_SHOWN),
        (Void("it failed as it is"), False, "is lost", Verdict.VOID),
    ],
)
def test_each_end_has_one_verdict(
    error: BaseException | None, in_test: bool, because: str | None, verdict: Verdict | None
) -> None:
    assert judge(error, in_test=in_test, because=because)[0] is verdict


def test_the_reason_is_the_message_that_was_written_for_people() -> None:
    rewritten = AssertionError("2 of 3 writes are lost\nassert ['w1'] == []")
    assert judge(rewritten, in_test=True, because=None)[1] == "2 of 3 writes are lost"
    assert judge(OSError("no route"), in_test=True, because=None)[1] == "OSError: no route"


def test_a_proof_that_fails_for_another_reason_says_both() -> None:
    _, reason = judge(AssertionError("sign-in fails"), in_test=True, because="is lost")
    assert "'is lost'" in reason
    assert "sign-in fails" in reason


def test_a_check_ends_itself_as_not_judged() -> None:
    with pytest.raises(NotJudged, match="no fault was met"):
        not_judged("no fault was met")
