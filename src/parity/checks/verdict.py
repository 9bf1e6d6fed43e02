"""What the end of a check means. Pure; the plugin asks it once for each test.

========== ===========================================================================================================
passed     the check held
failed     an ``AssertionError``: the check's own, or ``Refused`` of a contract method
error      anything else: the harness, the stack, a deadline, a mistake in the check or in the contract
not declared, not judged, not shown
           the contract says nothing of it; what it rests on failed, or its fault never met a request; this target or
           this host cannot show it
caught     with ``--prove``: as it is the check passed, and broken on purpose it failed for the reason that it names
not caught broken on purpose, and the check passed all the same
void       the check did not pass as it is, so that its failing when broken proves nothing
========== ===========================================================================================================
"""

from __future__ import annotations

import re

from _pytest.outcomes import Skipped

from parity.report.findings import Verdict


class NotDeclared(Skipped):
    """The contract says nothing of what the check needs."""


class NotJudged(Skipped):
    """What the check rests on does not hold: nothing is known of what it is about."""


class AsItIs(NotJudged):
    """The check as it is was not judged, so neither is its proof."""


class NotShown(Skipped):
    """This target or this host cannot show it."""


class Void(Exception):
    """The check did not pass as it is: the proof is not run."""


def not_judged(reason: str) -> None:
    """End the check: what it rests on does not hold. Raises ``NotJudged``."""
    raise NotJudged(reason)


_SKIPPED = {NotDeclared: Verdict.NOT_DECLARED, NotJudged: Verdict.NOT_JUDGED, NotShown: Verdict.NOT_SHOWN}


def judge(error: BaseException | None, *, in_test: bool, because: str | None) -> tuple[Verdict | None, str]:
    """The verdict and its reason. ``because`` is None for a check as it is, else the pattern of the proof's reason.

    ``in_test`` is False in fixtures: there an assertion of the app's contract (a refused sign-in) is a failure of the
    app only for the check as it is. None: this phase says nothing.
    """
    reason = words(error)
    if error is None:
        if not in_test:
            return None, ""
        return (Verdict.PASSED, "") if because is None else (Verdict.NOT_CAUGHT, "it passes although it is broken")
    if isinstance(error, NotJudged) and not isinstance(error, AsItIs) and because is not None:
        # As it is the check was judged: the variant broke what it rests on, and not what it is about.
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
    """An exception as a person reads it: the message alone where it was written for people."""
    if error is None:
        return ""
    # pytest's assertion rewriting adds the expression after the message.
    text = str(error).split("\nassert ")[0].strip()
    if isinstance(error, AssertionError | Skipped | Void):
        return text or "an assertion without a message failed"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
