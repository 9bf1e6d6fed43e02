"""Names on the wire that the control plane and the worker share."""

from typing import Final

# Carries "<container id>/<proof>" on every RPC of a container.
TASK_HEADER: Final = "x-parity-task"
