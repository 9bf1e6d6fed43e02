"""Calling functions: inputs in, outputs out, cancel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from modal_proto import api_pb2 as pb

from parity.modal.callbook import Call
from parity.modal.identifiers import decode_token, encode_token
from parity.modal.plane import Caller, Plane
from parity.modal.rpc.errors import invalid, not_found
from parity.modal.rpc.handler import Handler
from parity.modal.rpc.lookups import known_function

_MAX_OUTSTANDING = 1000
_OUTPUTS_PER_ANSWER = 100
# A stream of generator output ends now and then; the client asks again from its last index.
_STREAM_S = 50.0


async def function_map(plane: Plane, request: pb.FunctionMapRequest, _caller: Caller) -> pb.FunctionMapResponse:
    function = known_function(plane, request.function_id)
    call = plane.calls.create(function.id, request.function_call_invocation_type)
    return pb.FunctionMapResponse(
        function_call_id=call.id,
        function_call_jwt=encode_token(fc=call.id),
        retry_policy=function.definition.retry_policy,
        sync_client_retries_enabled=True,
        max_inputs_outstanding=_MAX_OUTSTANDING,
        pipelined_inputs=[_put(plane, call, item) for item in request.pipelined_inputs],
    )


async def function_put_inputs(
    plane: Plane, request: pb.FunctionPutInputsRequest, _caller: Caller
) -> pb.FunctionPutInputsResponse:
    call = _known_call(plane, request.function_call_id)
    return pb.FunctionPutInputsResponse(inputs=[_put(plane, call, item) for item in request.inputs])


async def function_retry_inputs(
    plane: Plane, request: pb.FunctionRetryInputsRequest, _caller: Caller
) -> pb.FunctionRetryInputsResponse:
    call = _known_call(plane, str(_claims(request.function_call_jwt).get("fc")))
    tokens = []
    for item in request.inputs:
        idx = int(_claims(item.input_jwt).get("idx", 0))
        repeated = plane.calls.add(call, idx, item.input, item.retry_count)
        plane.scheduler.submit(repeated)
        tokens.append(_input_token(call, repeated.idx, repeated.id))
    return pb.FunctionRetryInputsResponse(input_jwts=tokens)


async def function_finish_inputs(_plane: Plane, _request: object, _caller: Caller) -> None:
    """The end of a map's inputs; nothing waits for it."""


async def function_get_outputs(
    plane: Plane, request: pb.FunctionGetOutputsRequest, _caller: Caller
) -> pb.FunctionGetOutputsResponse:
    call = _known_call(plane, request.function_call_id)
    after = int(request.last_entry_id.partition("-")[0] or 0)
    by_index = request.HasField("start_idx")

    def found() -> list[int]:
        if by_index:
            return [seq for seq, o in call.outputs.items() if request.start_idx <= o.idx <= request.end_idx]
        return [seq for seq in call.outputs if seq > after]

    await _until(call, lambda: bool(found()) or call.expired, request.timeout)
    taken = [] if call.expired else found()[: request.max_values or _OUTPUTS_PER_ANSWER]
    outputs = [call.outputs[seq] for seq in taken]
    if request.clear_on_success:
        plane.calls.clear(call, taken)
    return pb.FunctionGetOutputsResponse(
        outputs=outputs,
        idxs=[output.idx for output in outputs],
        last_entry_id=f"{max(taken, default=after)}-0",
        num_unfinished_inputs=call.unfinished,
    )


async def function_call_get_data_out(
    plane: Plane, request: pb.FunctionCallGetDataRequest, _caller: Caller
) -> AsyncIterator[pb.DataChunk]:
    call, last = _known_call(plane, request.function_call_id), request.last_index
    end = time.monotonic() + _STREAM_S
    while (left := end - time.monotonic()) > 0:
        for chunk in [chunk for chunk in call.chunks if chunk.index > last]:
            last = chunk.index
            yield chunk
        seen = last
        await _until(call, lambda seen=seen: bool(call.chunks) and call.chunks[-1].index > seen, left)  # type: ignore[misc]


async def function_call_cancel(plane: Plane, request: pb.FunctionCallCancelRequest, _caller: Caller) -> None:
    call = _known_call(plane, request.function_call_id)
    plane.scheduler.cancel(call, terminate=request.terminate_containers)


async def function_call_from_id(
    plane: Plane, request: pb.FunctionCallFromIdRequest, _caller: Caller
) -> pb.FunctionCallFromIdResponse:
    call = _known_call(plane, request.function_call_id)
    function = known_function(plane, call.function_id)
    metadata = pb.FunctionCallHandleMetadata(app_id=function.app_id, function_id=function.id)
    return pb.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=len(call.inputs), metadata=metadata)


def _put(plane: Plane, call: Call, item: pb.FunctionPutInputsItem) -> pb.FunctionPutInputsResponseItem:
    added = plane.calls.add(call, item.idx, item.input)
    plane.scheduler.submit(added)
    token = _input_token(call, item.idx, added.id)
    return pb.FunctionPutInputsResponseItem(idx=item.idx, input_id=added.id, input_jwt=token)


def _input_token(call: Call, idx: int, input_id: str) -> str:
    return encode_token(idx=idx, iid=input_id, fc=call.id)


def _known_call(plane: Plane, call_id: str) -> Call:
    call = plane.calls.calls.get(call_id)
    if call is None:
        raise not_found(f"Function call {call_id} not found")
    return call


def _claims(token: str) -> dict[str, Any]:
    try:
        return decode_token(token)
    except ValueError as error:
        raise invalid(str(error)) from error


async def _until(call: Call, ready: Callable[[], bool], timeout_s: float) -> None:
    """Return when ``ready`` holds or the time is over."""
    end = time.monotonic() + timeout_s
    while not ready() and (left := end - time.monotonic()) > 0:
        try:
            await asyncio.wait_for(call.changed.wait(), left)
        except TimeoutError:
            return


HANDLERS: dict[str, Handler] = {
    "FunctionMap": function_map,
    "FunctionPutInputs": function_put_inputs,
    "FunctionRetryInputs": function_retry_inputs,
    "FunctionFinishInputs": function_finish_inputs,
    "FunctionGetOutputs": function_get_outputs,
    "FunctionCallGetDataOut": function_call_get_data_out,
    "FunctionCallCancel": function_call_cancel,
    "FunctionCallFromId": function_call_from_id,
}
