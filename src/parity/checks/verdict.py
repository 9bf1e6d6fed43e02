"""Maps the outcome of a test to a verdict. Pure functions; the plugin calls ``judge`` for each phase of a test.

========== ===========================================================================================================
passed     the check held
failed     the app is at fault: an ``AssertionError`` of the check, or ``Refused`` raised by the contract
error      any other exception: the harness, the stack, a deadline, a mistake in the check or in the contract
not declared, not judged, not shown
           the contract or parity.toml lacks what the check needs; a check that it rests on failed, or no request met
           its fault; this target or this host cannot run it
caught     with ``--prove``: the check passed on the app as it is, and failed on the broken variant for the reason that
           it names (``because``)
not caught with ``--prove``: the check passed on the broken variant too
void       with ``--prove``: the check did not pass on the app as it is, so a failure on the variant proves nothing
========== ===========================================================================================================
"""

from __future__ import annotations

import re
import sys
import traceback

from _pytest.outcomes import Skipped

from parity.report.findings import Verdict

# As what the contract's file is loaded.
MODULE = "parity_contract"


class NotDeclared(Skipped):
    """The contract, parity.toml or fly.toml does not have what the check needs."""


class NotJudged(Skipped):
    """A precondition of the check does not hold, so the check says neither that the app is good nor that it is bad."""


class AsItIs(NotJudged):
    """The check was not judged on the app as it is, so its proof is not run."""


class NotShown(Skipped):
    """This target or this host cannot run the check."""


class Void(Exception):
    """The check did not pass on the app as it is, so its proof is not run."""


def not_judged(reason: str) -> None:
    """End the check as "not judged", because a precondition does not hold. Raises ``NotJudged``."""
    raise NotJudged(reason)


_SKIPPED = {NotDeclared: Verdict.NOT_DECLARED, NotJudged: Verdict.NOT_JUDGED, NotShown: Verdict.NOT_SHOWN}


def judge(error: BaseException | None, *, in_test: bool, because: str | None) -> tuple[Verdict | None, str]:
    """The verdict of one phase of a test, and its reason. The verdict is None where the phase decides nothing.

    ``because`` is None for a check of the app as it is, else the pattern that the proof's reason must match.
    ``in_test`` is False in fixtures: a refusal of the app there, such as of a sign-in, fails a check of the app as it
    is, but proves nothing with a broken variant.
    """
    reason = words(error)
    if error is None:
        if not in_test:
            return None, ""
        return (Verdict.PASSED, "") if because is None else (Verdict.NOT_CAUGHT, "it passes although it is broken")
    disturbed = in_test or (isinstance(error, NotJudged) and not isinstance(error, AsItIs))
    if isinstance(error, Skipped) and disturbed and because is not None:
        # The check could be judged on the app as it is. So the variant broke a precondition, not what the check tests.
        return Verdict.ERROR, f"the variant breaks something else: {reason}"
    if isinstance(error, Skipped):
        return next(
            (verdict for kind, verdict in _SKIPPED.items() if isinstance(error, kind)), Verdict.NOT_SHOWN
        ), reason
    if isinstance(error, Void):
        return Verdict.VOID, reason
    if not isinstance(error, AssertionError):
        return Verdict.ERROR, reason
    if because is None:
        return Verdict.FAILED, reason
    if in_test and re.search(because, reason):
        return Verdict.CAUGHT, reason
    return Verdict.ERROR, f"it fails, but not because of {because!r}: {reason}"


def words(error: BaseException | None) -> str:
    """The text of an exception for the report: the message alone where it was written for readers."""
    if error is None:
        return ""
    # pytest's assertion rewriting appends the expression to the message.
    text = str(error).split("\nassert ")[0].strip()
    if isinstance(error, AssertionError | Skipped | Void):
        return text or "an assertion without a message failed"
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind) + _in_contract(error)


def _in_contract(error: BaseException) -> str:
    """Where in the app's contract it was raised: such an error is neither the app's nor the harness's."""
    found = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == contract_file()]
    if not found:
        return ""
    return (
        f". It was raised in {found[-1].name} at line {found[-1].lineno} of the contract, {found[-1].filename}: correct"
        " that file"
    )


def contract_file() -> str:
    """The file of the contract of this run; empty where none is loaded."""
    return getattr(sys.modules.get(MODULE), "__file__", None) or ""
