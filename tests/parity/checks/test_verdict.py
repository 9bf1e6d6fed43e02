"""How the outcome of a test becomes a verdict."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from parity.checks.verdict import MODULE, AsItIs, NotDeclared, NotJudged, NotShown, Void, judge, not_judged
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
        (NotDeclared("no edit"), True, "is lost", Verdict.ERROR),
        (NotShown("over at once"), True, "is lost", Verdict.ERROR),
        (NotDeclared("the contract has no such variant"), False, "is lost", Verdict.NOT_DECLARED),
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


def test_an_error_of_the_contract_names_its_file_line_and_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "theirs.py"
    file.write_text("class Contract:\n    def read(self):\n        return self.token\n")
    spec = importlib.util.spec_from_file_location(MODULE, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, MODULE, module)
    spec.loader.exec_module(module)
    with pytest.raises(AttributeError) as raised:
        module.Contract().read()
    verdict, reason = judge(raised.value, in_test=True, because=None)
    assert verdict is Verdict.ERROR
    assert "has no attribute 'token'" in reason
    assert f"raised in read at line 3 of the contract, {file}" in reason
    assert "contract" not in judge(OSError("no network"), in_test=True, because=None)[1]
