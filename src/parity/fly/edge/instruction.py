"""A Machine's answer that is a replay: it is read to its end and not shown to the client."""

from __future__ import annotations

from parity.fly.edge.replay import JSON_LIMIT, Replay, ReplayError, read_json


class Instruction:
    """``replay`` is known from the header; None when the body holds it, in the JSON form."""

    def __init__(self, replay: Replay | None, app: str) -> None:
        self._replay, self._app = replay, app
        self._body = bytearray()

    @property
    def known(self) -> bool:
        """Whether the replay does not depend on the body."""
        return self._replay is not None

    def add(self, data: bytes) -> bool:
        """A piece of the body. False when no more of it is read. Raises ``ReplayError`` for a long JSON body."""
        self._body += data
        if len(self._body) <= JSON_LIMIT:
            return True
        if self.known:
            return False
        raise ReplayError(f"fly-replay: the JSON body is longer than {JSON_LIMIT} bytes")

    def read(self) -> Replay:
        """The replay, once the answer is complete. Raises ``ReplayError``."""
        return self._replay or read_json(bytes(self._body), app=self._app)
