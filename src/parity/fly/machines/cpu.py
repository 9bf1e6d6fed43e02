"""Fly's CPU quota: a baseline for each vCPU, and a balance of unused time that is spent in bursts.

Source: superfly/docs, machines/cpu-performance (read November 2026): shared vCPUs get 5 ms of every 80 ms, begin with
5 s of balance and keep at most 500 s; performance vCPUs run without a limit. The quota applies to the
Machine, over all vCPUs. Only CPU time above the baseline reduces the balance. This module has no I/O; a driver sets the
quota and reads the CPU time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PERIOD_S = 0.080
BASELINE = 5 / 80
FIRST_BALANCE_S = 5.0  # per vCPU
MOST_BALANCE_S = 500.0  # per vCPU
# Interval at which the CPU time is read and the quota is set, in seconds.
STEP_S = 0.5


class CpuMode(StrEnum):
    """Which part of Fly's quota is reproduced."""

    OFF = "off"  # no quota
    BURST = "burst"  # as on Fly
    BASELINE = "baseline"  # as on Fly when the balance is used up


@dataclass
class CpuQuota:
    """The quota of one Machine since its start. ``share`` is in CPUs: 1.0 is one full CPU."""

    mode: CpuMode
    kind: str
    cpus: int
    balance_s: float = 0.0

    def __post_init__(self) -> None:
        self.balance_s = FIRST_BALANCE_S * self.cpus if self.limited and self.mode is CpuMode.BURST else 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a quota."""
        return self.kind == "shared" and self.mode is not CpuMode.OFF

    @property
    def share(self) -> float:
        """CPUs that the Machine may use until the next step, so that the balance cannot become negative."""
        if not self.limited:
            return float(self.cpus)
        return min(float(self.cpus), BASELINE * self.cpus + self.balance_s / STEP_S)

    @property
    def throttled(self) -> bool:
        """Whether the quota is below the Machine's vCPUs now."""
        return self.share < self.cpus

    def spend(self, used_s: float, elapsed_s: float) -> None:
        """Account for ``used`` CPU seconds: subtract those above the baseline from the balance."""
        if self.limited and self.mode is CpuMode.BURST:
            unused = BASELINE * self.cpus * elapsed_s - used_s
            self.balance_s = min(MOST_BALANCE_S * self.cpus, max(0.0, self.balance_s + unused))

    def as_json(self) -> dict[str, object]:
        """For ``/fly/machines``; ``baseline`` and ``share`` in CPUs."""
        return {
            "mode": str(self.mode),
            "kind": self.kind,
            "cpus": self.cpus,
            "baseline": BASELINE * self.cpus if self.kind == "shared" else float(self.cpus),
            "share": round(self.share, 4),
            "balance_s": round(self.balance_s, 3),
            "throttled": self.throttled,
        }
