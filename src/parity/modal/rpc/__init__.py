"""The RPCs that are served: one table, put together from one module per subject. All others are UNIMPLEMENTED."""

from __future__ import annotations

from typing import Final, Literal

from parity.modal.rpc import containers, deploys, dicts, invocations, lookups, payloads
from parity.modal.rpc.handler import Handler

HANDLERS: Final[dict[str, Handler]] = {
    **lookups.HANDLERS,
    **invocations.HANDLERS,
    **payloads.HANDLERS,
    **containers.HANDLERS,
    **dicts.HANDLERS,
    **deploys.HANDLERS,
}

# Requests that must not take effect twice: a repeat with the same idempotency key gets the first answer, `durable`
# even from a control plane that was restarted in between.
REPLAYED: Final[dict[str, Literal["durable", "memory"]]] = {
    "FunctionMap": "durable",
    "FunctionPutInputs": "durable",
    "FunctionRetryInputs": "durable",
    "FunctionGetInputs": "memory",
    "FunctionGetOutputs": "memory",
    "DictPop": "memory",
}
