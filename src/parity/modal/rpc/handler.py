"""The type of the RPC handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# (plane, request, caller) → a response (None for an empty one), or an async generator of messages for a stream.
Handler = Callable[..., Any]
