"""Runs a check again, with new fixtures, when something outside the app and the stack disturbed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from _pytest.runner import runtestprotocol

from parity.checks.mark import About
from parity.checks.outcome import DURING

# How often a check is run at most while it ends with ``RunAgain``.
TRIES = 3
_LAST_TRY = pytest.StashKey[bool]()
_DISTURBED = pytest.StashKey[bool]()


class RunAgain(Exception):
    """Something outside the app and the stack disturbed the check. It is run again, ``TRIES`` times in all at most."""


def is_disturbed(item: pytest.Item, call: pytest.CallInfo[None]) -> bool:
    """Whether this attempt at ``item`` counts for nothing, because it is going to be run again."""
    raised = call.excinfo is not None and isinstance(call.excinfo.value, RunAgain)
    if raised and not item.stash.get(_LAST_TRY, True):
        item.stash[_DISTURBED] = True
    return item.stash.get(_DISTURBED, False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a check until it is not disturbed. Each attempt has new fixtures: a person may have used the app already."""
    if About.of(item) is None:
        return None

    def begin(last: bool) -> None:
        if DURING in item.stash:
            del item.stash[DURING]
        item.stash[_DISTURBED], item.stash[_LAST_TRY] = False, last

    repeat(item, nextitem, begin, lambda _reports: item.stash[_DISTURBED])
    return True


def repeat(
    item: pytest.Item,
    nextitem: pytest.Item | None,
    begin: Callable[[bool], None],
    disturbed: Callable[[Sequence[pytest.TestReport]], bool],
) -> None:
    """Run a test with new fixtures until an attempt is not ``disturbed``, ``TRIES`` times at most, and report only the
    last attempt. ``begin`` is called before each, with whether it is the last one that is possible."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, TRIES + 1):
        begin(attempt == TRIES)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if attempt == TRIES or not disturbed(reports):
            break
        item._initrequest()  # type: ignore[attr-defined]  # no public way; pytest-rerunfailures calls it too
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
