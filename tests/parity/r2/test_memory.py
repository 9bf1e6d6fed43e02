"""A gigabyte passes through in bounded memory."""

from __future__ import annotations

import pytest

from parity.bench.r2 import gigabyte


@pytest.mark.timeout(300)
def test_a_gigabyte_in_parts_is_joined_and_read_within_150_megabytes() -> None:
    assert gigabyte()["peak_mb"] < 150
