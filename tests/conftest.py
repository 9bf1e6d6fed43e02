"""Which tests stay in one worker when they run side by side (``pytest -n 3 --dist loadscope``), and which begin first.

A file stays together, because its module's fixtures start servers. Folders whose tests share one set of servers stay
together as well. The mark ``xdist_group`` cannot say this: xdist 3.8 writes the group into ``Item._nodeid``, which
pytest 9.2 no longer reads, so that every test was a group of its own.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Hypothesis fails an example that takes more than 200 ms, which says something of the machine and nothing of the code.
# It turns that off by itself where CI is set. All else stays as it is, there and elsewhere.
settings.register_profile("any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SHARED = ("parity/modal", "gpu", "image", "backends", "frontend")
# Docker's classic builder must not run twice at once.
BUILDS = ("parity/fly/machines", "parity/fly/api", "backends/test_docker.py")
# The groups that take minutes: one that began last would run alone.
LONG = ("image", "builds", "backends", "frontend", "reel/test_matrix.py", "parity/promote/test_situations.py")


def group_of(nodeid: str) -> str:
    """The group of a test: its folder where that shares servers, else its file."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    if path.startswith(BUILDS):
        return "builds"
    return next((folder for folder in SHARED if path.startswith(f"{folder}/")), path)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a worker one group of tests after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {group: place for place, group in enumerate(LONG)}
    items.sort(key=lambda item: order.get(group_of(item.nodeid), len(LONG)))
