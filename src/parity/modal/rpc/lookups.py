"""Finding things by name: the client's greeting, functions, classes."""

from __future__ import annotations

import time

from modal_proto import api_pb2 as pb

from parity.modal.definitions import function_data
from parity.modal.identifiers import encode_token
from parity.modal.plane import Caller, Plane
from parity.modal.registry import Function
from parity.modal.rpc.errors import not_found, unserved
from parity.modal.rpc.handler import Handler

IMAGE_BUILDER = "2025.06"
_TOKEN_LIFETIME_S = 1200


async def client_hello(_plane: Plane, _request: object, _caller: Caller) -> pb.ClientHelloResponse:
    return pb.ClientHelloResponse(image_builder_version=IMAGE_BUILDER)


async def auth_token_get(_plane: Plane, _request: object, _caller: Caller) -> pb.AuthTokenGetResponse:
    return pb.AuthTokenGetResponse(token=encode_token(exp=int(time.time()) + _TOKEN_LIFETIME_S))


async def function_get(plane: Plane, request: pb.FunctionGetRequest, _caller: Caller) -> pb.FunctionGetResponse:
    function = plane.registry.find(request.app_name, request.object_tag)
    if function is None:
        if plane.registry.find(request.app_name, f"{request.object_tag}.*"):
            reason = pb.FunctionLookupError(reason=pb.FunctionLookupError.REASON_CLASS_NAME_USED)
            raise not_found(f"{request.object_tag!r} is a class, not a function", [reason])
        if plane.registry.app_named(request.app_name) is None:
            raise not_found(f"App {request.app_name!r} not found in environment 'main'.")
        raise not_found(f"App {request.app_name!r} has no function {request.object_tag!r}.")
    return pb.FunctionGetResponse(
        function_id=function.id, handle_metadata=function.metadata, function=function_data(function.definition)
    )


async def function_get_by_id(
    plane: Plane, request: pb.FunctionGetByIdRequest, _caller: Caller
) -> pb.FunctionGetByIdResponse:
    function = known_function(plane, request.function_id)
    return pb.FunctionGetByIdResponse(handle_metadata=function.metadata, function=function_data(function.definition))


async def class_get(plane: Plane, request: pb.ClassGetRequest, _caller: Caller) -> pb.ClassGetResponse:
    app = plane.registry.app_named(request.app_name)
    class_id = app.class_ids.get(request.object_tag) if app else None
    function = plane.registry.find(request.app_name, f"{request.object_tag}.*")
    if class_id is None or function is None:
        raise not_found(f"App {request.app_name!r} has no class {request.object_tag!r}.")
    metadata = pb.ClassHandleMetadata(class_function_id=function.id, class_function_metadata=function.metadata)
    return pb.ClassGetResponse(class_id=class_id, handle_metadata=metadata)


async def function_bind_params(
    plane: Plane, request: pb.FunctionBindParamsRequest, _caller: Caller
) -> pb.FunctionBindParamsResponse:
    base = known_function(plane, request.function_id)
    try:
        bound = plane.registry.bind(base, request.serialized_params, request.function_options)
    except ValueError as error:
        raise unserved(f"FunctionBindParams: {error}") from error
    return pb.FunctionBindParamsResponse(bound_function_id=bound.id, handle_metadata=bound.metadata)


async def function_get_current_stats(
    plane: Plane, request: pb.FunctionGetCurrentStatsRequest, _caller: Caller
) -> pb.FunctionStats:
    function = known_function(plane, request.function_id)
    tasks = [task for task in plane.scheduler.tasks.values() if task.function_id == function.id]
    return pb.FunctionStats(
        backlog=plane.scheduler.waiting(function.id),
        num_total_tasks=len(tasks),
        num_running_inputs=sum(len(task.running) for task in tasks),
    )


def known_function(plane: Plane, function_id: str) -> Function:
    """The deployed function of that id, or NOT_FOUND."""
    function = plane.registry.functions.get(function_id)
    if function is None:
        raise not_found(f"Function {function_id} not found")
    return function


HANDLERS: dict[str, Handler] = {
    "ClientHello": client_hello,
    "AuthTokenGet": auth_token_get,
    "FunctionGet": function_get,
    "FunctionGetById": function_get_by_id,
    "FunctionBindParams": function_bind_params,
    "FunctionGetCurrentStats": function_get_current_stats,
    "ClassGet": class_get,
}
