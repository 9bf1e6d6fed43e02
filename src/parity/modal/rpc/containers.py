"""RPCs of Modal's container runtime: it fetches inputs and cancellations, and reports outputs and failed starts."""

from __future__ import annotations

import asyncio

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from parity.modal.plane import Caller, Plane
from parity.modal.rpc.errors import not_found
from parity.modal.rpc.handler import Handler

# Shorter than the runtime's own deadline for a heartbeat.
_HEARTBEAT_S = 10.0


async def container_hello(_plane: Plane, _request: object, caller: Caller) -> None:
    _container(caller)


async def container_heartbeat(plane: Plane, _request: object, caller: Caller) -> pb.ContainerHeartbeatResponse | None:
    """A long poll: answered at once when an input is to be cancelled."""
    task = plane.scheduler.tasks.get(_container(caller))
    if task is None:
        return None
    if not task.to_cancel:
        try:
            await asyncio.wait_for(task.wake.wait(), _HEARTBEAT_S)
        except TimeoutError:
            return None
    task.wake.clear()
    cancelled, task.to_cancel = task.to_cancel, []
    return pb.ContainerHeartbeatResponse(cancel_input_event=pb.CancelInputEvent(input_ids=cancelled))


async def function_get_inputs(
    plane: Plane, _request: pb.FunctionGetInputsRequest, caller: Caller
) -> pb.FunctionGetInputsResponse:
    task = plane.scheduler.tasks.get(_container(caller))
    item = await plane.scheduler.fetch(task) if task is not None else None
    if item is None:
        return pb.FunctionGetInputsResponse(inputs=[pb.FunctionGetInputsItem(kill_switch=True)])
    got = pb.FunctionGetInputsItem(
        input_id=item.id,
        input=item.item,
        function_call_id=item.call.id,
        function_call_invocation_type=item.call.invocation,  # type: ignore[arg-type]  # a plain number here
        retry_count=item.retries,
    )
    return pb.FunctionGetInputsResponse(inputs=[got])


async def function_put_outputs(plane: Plane, request: pb.FunctionPutOutputsRequest, caller: Caller) -> None:
    task_id = _container(caller)
    for output in request.outputs:
        plane.scheduler.put_output(task_id, output.input_id, output.result, output.data_format)


async def function_call_put_data_out(plane: Plane, request: pb.FunctionCallPutDataRequest, caller: Caller) -> None:
    _container(caller)
    call = plane.calls.calls.get(request.function_call_id)
    if call is None:
        raise not_found(f"Function call {request.function_call_id} not found")
    last = call.chunks[-1].index if call.chunks else 0
    call.chunks.extend(chunk for chunk in request.data_chunks if chunk.index > last)
    call.notify()


async def task_result(plane: Plane, request: pb.TaskResultRequest, caller: Caller) -> None:
    """A container could not start its function, such as for an error at import."""
    task = plane.scheduler.tasks.get(_container(caller))
    if task is not None and request.result.status not in (0, pb.GenericResult.GENERIC_STATUS_SUCCESS):
        task.start_error = request.result


def _container(caller: Caller) -> str:
    if not caller.task_id:
        raise GRPCError(Status.PERMISSION_DENIED, "only a container may ask this")
    return caller.task_id


HANDLERS: dict[str, Handler] = {
    "ContainerHello": container_hello,
    "ContainerHeartbeat": container_heartbeat,
    "FunctionGetInputs": function_get_inputs,
    "FunctionPutOutputs": function_put_outputs,
    "FunctionCallPutDataOut": function_call_put_data_out,
    "TaskResult": task_result,
}
