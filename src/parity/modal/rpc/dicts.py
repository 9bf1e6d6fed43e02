"""modal.Dict."""

from __future__ import annotations

from collections.abc import AsyncIterator

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from parity.modal.plane import Caller, Plane
from parity.modal.rpc.errors import not_found, unserved
from parity.modal.rpc.handler import Handler

_CREATES = {pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING, pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS}


async def get_or_create(
    plane: Plane, request: pb.DictGetOrCreateRequest, _caller: Caller
) -> pb.DictGetOrCreateResponse:
    name, kind = request.deployment_name, request.object_creation_type
    if kind not in {pb.OBJECT_CREATION_TYPE_UNSPECIFIED, *_CREATES} or not name:
        raise unserved("a Dict without a name")
    if kind == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS and plane.dicts.named(name, create=False):
        raise GRPCError(Status.ALREADY_EXISTS, f"Dict {name!r} exists already")
    dict_id = plane.dicts.named(name, create=kind in _CREATES)
    if dict_id is None:
        raise not_found(f"Dict {name!r} not found in environment 'main'.")
    return pb.DictGetOrCreateResponse(dict_id=dict_id, metadata=pb.DictMetadata(name=name))


async def get_by_id(plane: Plane, request: pb.DictGetByIdRequest, _caller: Caller) -> pb.DictGetByIdResponse:
    dict_id = _known(plane, request.dict_id)
    return pb.DictGetByIdResponse(dict_id=dict_id, metadata=pb.DictMetadata(name=plane.dicts.name(dict_id) or ""))


async def update(plane: Plane, request: pb.DictUpdateRequest, _caller: Caller) -> pb.DictUpdateResponse:
    dict_id = _known(plane, request.dict_id)
    created = plane.dicts.update(dict_id, request.updates, if_not_exists=request.if_not_exists)
    return pb.DictUpdateResponse(created=created)


async def get(plane: Plane, request: pb.DictGetRequest, _caller: Caller) -> pb.DictGetResponse:
    value = plane.dicts.get(_known(plane, request.dict_id), request.key)
    return pb.DictGetResponse(found=value is not None, value=value)


async def contains(plane: Plane, request: pb.DictContainsRequest, _caller: Caller) -> pb.DictContainsResponse:
    return pb.DictContainsResponse(found=plane.dicts.get(_known(plane, request.dict_id), request.key) is not None)


async def pop(plane: Plane, request: pb.DictPopRequest, _caller: Caller) -> pb.DictPopResponse:
    value = plane.dicts.pop(_known(plane, request.dict_id), request.key)
    return pb.DictPopResponse(found=value is not None, value=value)


async def clear(plane: Plane, request: pb.DictClearRequest, _caller: Caller) -> None:
    plane.dicts.clear(_known(plane, request.dict_id))


async def length(plane: Plane, request: pb.DictLenRequest, _caller: Caller) -> pb.DictLenResponse:
    return pb.DictLenResponse(len=plane.dicts.count(_known(plane, request.dict_id)))


async def contents(plane: Plane, request: pb.DictContentsRequest, _caller: Caller) -> AsyncIterator[pb.DictEntry]:
    for key, value in plane.dicts.entries(_known(plane, request.dict_id)):
        yield pb.DictEntry(key=key if request.keys else b"", value=value if request.values else b"")


def _known(plane: Plane, dict_id: str) -> str:
    if plane.dicts.name(dict_id) is None:
        raise not_found(f"Dict {dict_id} not found")
    return dict_id


HANDLERS: dict[str, Handler] = {
    "DictGetOrCreate": get_or_create,
    "DictGetById": get_by_id,
    "DictUpdate": update,
    "DictGet": get,
    "DictContains": contains,
    "DictPop": pop,
    "DictClear": clear,
    "DictLen": length,
    "DictContents": contents,
}
