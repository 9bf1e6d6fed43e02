"""Fly's CPU quota as numbers."""

from __future__ import annotations

import pytest

from parity.fly.machines.container import cpu_quota
from parity.fly.machines.cpu import BASELINE, STEP_S, CpuMode, CpuQuota


def test_a_shared_cpu_begins_with_five_seconds_and_is_throttled_once_they_are_spent() -> None:
    quota = CpuQuota(CpuMode.BURST, "shared", 1)
    assert (quota.balance_s, quota.share, quota.throttled) == (5.0, 1.0, False)
    seconds = 0.0
    while not quota.throttled:
        quota.spend(quota.share * STEP_S, STEP_S)
        seconds += STEP_S
    assert seconds == pytest.approx(5 / (1 - BASELINE), abs=2 * STEP_S)
    while quota.balance_s:
        quota.spend(quota.share * STEP_S, STEP_S)
    assert quota.share == BASELINE


def test_idle_time_is_saved_up_to_five_hundred_seconds_a_cpu() -> None:
    quota = CpuQuota(CpuMode.BURST, "shared", 2)
    quota.balance_s = 0.0
    quota.spend(0.0, 16.0)
    assert quota.balance_s == pytest.approx(2.0)
    quota.spend(0.0, 1e6)
    assert quota.balance_s == 1000.0


def test_the_baseline_alone_has_no_balance() -> None:
    quota = CpuQuota(CpuMode.BASELINE, "shared", 4)
    quota.spend(0.0, 100.0)
    assert (quota.balance_s, quota.share, quota.throttled) == (0.0, 4 * BASELINE, True)
    assert cpu_quota(CpuQuota(CpuMode.BASELINE, "shared", 1).share) == 5_000


@pytest.mark.parametrize(("mode", "kind"), [(CpuMode.OFF, "shared"), (CpuMode.BURST, "performance")])
def test_performance_cpus_and_off_have_the_whole_of_each_cpu(mode: CpuMode, kind: str) -> None:
    quota = CpuQuota(mode, kind, 2)
    quota.spend(1e6, 1.0)
    assert (quota.share, quota.throttled) == (2.0, False)
    assert cpu_quota(quota.share) == 160_000
