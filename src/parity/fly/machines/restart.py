"""When a Machine that exited is started again: ``[[restart]]`` of fly.toml."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

# Retries are counted over this window, in seconds: 10 in 5 minutes, then the Machine stays stopped.
WINDOW_S = 300.0


@dataclass
class RestartPolicy:
    """Decides for one Machine; ``now`` is any monotonic time in seconds."""

    policy: str
    max_retries: int
    _restarts: deque[float] = field(default_factory=deque)

    def restart(self, exit_code: int, now: float) -> bool:
        """Whether to start it again after it exited by itself with ``exit_code``; a yes is counted."""
        if self.policy == "never" or (self.policy == "on-failure" and exit_code == 0):
            return False
        while self._restarts and now - self._restarts[0] > WINDOW_S:
            self._restarts.popleft()
        if len(self._restarts) >= self.max_retries:
            return False
        self._restarts.append(now)
        return True
