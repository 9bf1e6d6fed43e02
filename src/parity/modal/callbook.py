"""Calls, their inputs and outputs: in memory, written through, so that a spawned call outlives a restart."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from modal_proto import api_pb2 as pb

from parity.modal.identifiers import fresh_id

State = Literal["queued", "running", "done"]

# Modal keeps results for seven days.
RESULT_LIFETIME_S = 7 * 24 * 3600.0
# How many finished calls whose results were fetched are kept, for retries and the admin API.
_CLEARED_KEPT = 1000


@dataclass(eq=False)
class Input:
    """One call of a function by one item."""

    id: str
    call: Call
    idx: int
    item: pb.FunctionInput
    state: State = "queued"
    retries: int = 0  # failed attempts that were or are being repeated
    crashes: int = 0  # containers that died under it
    task_id: str = ""
    started_at: float = 0.0


@dataclass(eq=False)
class Call:
    """A function call: one input for remote and spawn, many for map."""

    id: str
    function_id: str
    invocation: int
    created_at: float
    inputs: dict[int, Input] = field(default_factory=dict)
    outputs: dict[int, pb.FunctionGetOutputsItem] = field(default_factory=dict)
    chunks: list[pb.DataChunk] = field(default_factory=list)
    expired: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def unfinished(self) -> int:
        return 0 if self.expired else sum(each.state != "done" for each in self.inputs.values())

    def notify(self) -> None:
        """Wake everyone who waits for outputs or chunks."""
        self.changed.set()
        self.changed = asyncio.Event()


class CallBook:
    """Every call that the control plane knows."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.calls: dict[str, Call] = {}
        self.inputs: dict[str, Input] = {}
        self._cleared: OrderedDict[str, None] = OrderedDict()
        self._load()
        row = database.execute("SELECT coalesce(max(sequence), 0) FROM output").fetchone()
        # Clients remember the last sequence they saw, so numbers never go back, not even after outputs were cleared.
        self._sequence = max(int(row[0]), int(time.time() * 1000))

    def create(self, function_id: str, invocation: int) -> Call:
        call = Call(fresh_id("fc"), function_id, invocation, time.time())
        self.calls[call.id] = call
        self._database.execute(
            "INSERT INTO call VALUES (?, ?, ?, ?)", (call.id, function_id, invocation, call.created_at)
        )
        return call

    def add(self, call: Call, idx: int, item: pb.FunctionInput, retries: int = 0) -> Input:
        """A new input. One that repeats ``idx`` takes the place of the earlier one and of its outputs."""
        previous = call.inputs.get(idx)
        added = Input(fresh_id("in"), call, idx, item, retries=retries)
        if previous is not None:
            added.retries, added.crashes = max(retries, previous.retries + 1), previous.crashes
            self.inputs.pop(previous.id, None)
            self._database.execute("DELETE FROM input WHERE id = ?", (previous.id,))
            self._drop_outputs(call, [seq for seq, output in call.outputs.items() if output.idx == idx])
        call.inputs[idx] = self.inputs[added.id] = added
        self._cleared.pop(call.id, None)
        self._save(added)
        return added

    def start(self, item: Input, task_id: str) -> None:
        item.state, item.task_id, item.started_at = "running", task_id, time.time()
        self._save(item)

    def requeue(self, item: Input) -> None:
        item.state, item.task_id = "queued", ""
        self._save(item)

    def finish(self, item: Input, result: pb.GenericResult, data_format: int) -> bool:
        """Record the result; False when the input was finished before (a cancelled one that ended after all)."""
        if item.state == "done":
            return False
        item.state = "done"
        self._save(item)
        self._sequence += 1
        output = pb.FunctionGetOutputsItem(
            result=result,
            idx=item.idx,
            input_id=item.id,
            data_format=data_format,  # type: ignore[arg-type]  # enums arrive as plain numbers
            task_id=item.task_id,
            input_started_at=item.started_at,
            output_created_at=time.time(),
            retry_count=item.retries,
        )
        item.call.outputs[self._sequence] = output
        self._database.execute(
            "INSERT INTO output VALUES (?, ?, ?, ?)",
            (self._sequence, item.call.id, item.idx, output.SerializeToString()),
        )
        item.call.notify()
        return True

    def clear(self, call: Call, sequences: list[int]) -> None:
        """Forget outputs that a client has taken; later the whole call."""
        self._drop_outputs(call, sequences)
        if not call.unfinished and not call.outputs:
            self._cleared[call.id] = None
            while len(self._cleared) > _CLEARED_KEPT:
                self.forget(self._cleared.popitem(last=False)[0])

    def forget(self, call_id: str) -> None:
        """Remove a call with its inputs and outputs."""
        call = self.calls.pop(call_id, None)
        for item in call.inputs.values() if call else ():
            self.inputs.pop(item.id, None)
        for table, column in (("call", "id"), ("input", "call_id"), ("output", "call_id")):
            self._database.execute(f"DELETE FROM {table} WHERE {column} = ?", (call_id,))

    def _drop_outputs(self, call: Call, sequences: list[int]) -> None:
        for sequence in sequences:
            call.outputs.pop(sequence, None)
            self._database.execute("DELETE FROM output WHERE sequence = ?", (sequence,))

    def _save(self, item: Input) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO input VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                item.id,
                item.call.id,
                item.idx,
                item.item.SerializeToString(),
                item.state,
                item.retries,
                item.crashes,
                item.task_id,
                item.started_at,
            ),
        )

    def _load(self) -> None:
        for call_id, function_id, invocation, created_at in self._database.execute("SELECT * FROM call"):
            self.calls[call_id] = Call(call_id, function_id, invocation, created_at)
        for row in self._database.execute("SELECT * FROM input"):
            input_id, call_id, idx, item, state, retries, crashes, task_id, started_at = row
            call = self.calls[call_id]
            loaded = Input(
                input_id, call, idx, pb.FunctionInput.FromString(item), state, retries, crashes, task_id, started_at
            )
            call.inputs[idx] = self.inputs[input_id] = loaded
        for sequence, call_id, _idx, item in self._database.execute("SELECT * FROM output ORDER BY sequence"):
            self.calls[call_id].outputs[sequence] = pb.FunctionGetOutputsItem.FromString(item)
        oldest = time.time() - RESULT_LIFETIME_S
        for call_id in [call.id for call in self.calls.values() if call.created_at < oldest]:
            self.forget(call_id)
        for call in self.calls.values():
            if not call.unfinished and not call.outputs:
                self._cleared[call.id] = None
