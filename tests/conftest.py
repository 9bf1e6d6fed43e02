"""Which tests stay in one worker when they run side by side (``pytest -n 3 --dist loadgroup``).

A file stays together, because its module's fixtures start servers. Folders whose tests share one set of servers stay
together as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SHARED = ("parity/modal", "gpu", "image", "backends", "frontend")
BUILDS = ("parity/fly/machines", "parity/fly/api")


def group_of(path: Path) -> str:
    """The group of a test file: its folder where that shares servers, else the file itself."""
    relative = path.relative_to(TESTS).as_posix()
    if relative.startswith(BUILDS):
        return "builds"
    return next((folder for folder in SHARED if relative.startswith(f"{folder}/")), relative)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group_of(item.path)))
