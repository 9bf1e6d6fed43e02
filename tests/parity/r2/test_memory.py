"""Much passes through, and stays, in bounded memory."""

from __future__ import annotations

import os

import pytest

from parity.bench.r2 import _memory, gigabyte
from parity.bench.r2_servers import BUCKET, client, stand_in

MIB = 1 << 20


@pytest.mark.timeout(900)
def test_a_gigabyte_in_parts_is_joined_and_read_within_150_megabytes() -> None:
    (peak,) = (figure for figure in gigabyte() if figure.bar)
    assert (peak.bar, peak.met) == ("≤ 150", True), peak


@pytest.mark.parametrize("size", [MIB, 100 << 10])
def test_many_small_objects_are_held_within_150_megabytes(size: int) -> None:
    body = os.urandom(size)
    with stand_in() as (target, pid):
        s3 = client(target)
        for number in range(200 * MIB // size):
            s3.put_object(Bucket=BUCKET, Key=f"k{number}", Body=body)
        assert _memory(pid) < 150
        assert s3.get_object(Bucket=BUCKET, Key="k0")["Body"].read() == body
