"""`modal deploy`: app, images, mounts, secrets, functions, classes, publish."""

from __future__ import annotations

import hashlib

from modal_proto import api_pb2 as pb

from parity.modal.definitions import function_data
from parity.modal.identifiers import stable_id
from parity.modal.plane import Caller, Plane
from parity.modal.registry import App, Function
from parity.modal.rpc.errors import invalid, not_found, unserved
from parity.modal.rpc.handler import Handler
from parity.modal.rpc.lookups import IMAGE_BUILDER

_BUILT = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)


async def environment_get_or_create(
    _plane: Plane, request: pb.EnvironmentGetOrCreateRequest, _caller: Caller
) -> pb.EnvironmentGetOrCreateResponse:
    name = request.deployment_name or "main"
    if name != "main":
        raise not_found(f"Environment {name!r} not found: this stand-in has one, main")
    settings = pb.EnvironmentSettings(image_builder_version=IMAGE_BUILDER, webhook_suffix="standin")
    metadata = pb.EnvironmentMetadata(name=name, settings=settings)
    return pb.EnvironmentGetOrCreateResponse(environment_id="en-main", metadata=metadata)


async def app_get_by_deployment_name(
    plane: Plane, request: pb.AppGetByDeploymentNameRequest, _caller: Caller
) -> pb.AppGetByDeploymentNameResponse:
    app = plane.registry.app_named(request.name)
    return pb.AppGetByDeploymentNameResponse(app_id=app.id if app else "", environment_name="main")


async def app_create(plane: Plane, request: pb.AppCreateRequest, _caller: Caller) -> pb.AppCreateResponse:
    if request.app_state != pb.APP_STATE_INITIALIZING:
        raise unserved("AppCreate for an app that is not being deployed (modal run, modal serve)")
    app = plane.registry.create_app(request.description)
    return pb.AppCreateResponse(app_id=app.id)


async def app_get_layout(plane: Plane, request: pb.AppGetLayoutRequest, _caller: Caller) -> pb.AppGetLayoutResponse:
    return pb.AppGetLayoutResponse(app_layout=plane.registry.layout(_app(plane, request.app_id)))


async def app_publish(plane: Plane, request: pb.AppPublishRequest, _caller: Caller) -> pb.AppPublishResponse:
    app = _app(plane, request.app_id)
    changed = plane.registry.publish(app, dict(request.function_ids), dict(request.class_ids))
    plane.scheduler.drain(changed)
    return pb.AppPublishResponse(url=f"{plane.config.url}/apps/{app.name}", deployed_at=app.deployed_at)


async def app_heartbeat(_plane: Plane, _request: object, _caller: Caller) -> None:
    """The heartbeat of a deploy; nothing here depends on it."""


async def app_client_disconnect(plane: Plane, request: pb.AppClientDisconnectRequest, _caller: Caller) -> None:
    """A deploy ends without having published."""
    plane.registry.unstage(request.app_id)


async def image_get_or_create(
    _plane: Plane, request: pb.ImageGetOrCreateRequest, _caller: Caller
) -> pb.ImageGetOrCreateResponse:
    """Images are not built: every container runs in the worker's environment."""
    digest = hashlib.sha256(request.image.SerializeToString(deterministic=True)).hexdigest()
    metadata = pb.ImageMetadata(python_version_info="Python 3.11", image_builder_version=IMAGE_BUILDER)
    return pb.ImageGetOrCreateResponse(image_id=stable_id("im", digest), result=_BUILT, metadata=metadata)


async def mount_batched_check_existence(
    plane: Plane, request: pb.MountBatchedCheckExistenceRequest, _caller: Caller
) -> pb.MountBatchedCheckExistenceResponse:
    missing = [digest for digest in request.sha256_hex_hashes if not plane.files.has(digest)]
    return pb.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)


async def mount_put_file(plane: Plane, request: pb.MountPutFileRequest, _caller: Caller) -> pb.MountPutFileResponse:
    kind, digest = request.WhichOneof("data_oneof"), request.sha256_hex
    if kind is not None:
        try:
            data = request.data if kind == "data" else plane.blobs.get(request.data_blob_id)
        except KeyError:
            raise not_found(f"Blob {request.data_blob_id} not found") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise invalid(f"the file's content does not have the hash {digest}")
        plane.files.put(digest, data)
    return pb.MountPutFileResponse(exists=plane.files.has(digest))


async def mount_get_or_create(
    plane: Plane, request: pb.MountGetOrCreateRequest, _caller: Caller
) -> pb.MountGetOrCreateResponse:
    digest = hashlib.sha256()
    for file in sorted(request.files, key=lambda file: file.filename):
        digest.update(file.SerializeToString(deterministic=True))
    # A mount with a name and no files is Modal's own, such as the client's: the worker has that installed.
    mount_id = stable_id("mo", request.deployment_name, digest.digest())
    plane.registry.save_mount(mount_id, request.files)
    metadata = pb.MountHandleMetadata(content_checksum_sha256_hex=digest.hexdigest())
    return pb.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)


async def secret_get_or_create(
    plane: Plane, request: pb.SecretGetOrCreateRequest, _caller: Caller
) -> pb.SecretGetOrCreateResponse:
    name, variables = request.deployment_name, dict(request.env_dict)
    if request.object_creation_type == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
        known = plane.config.secrets.get(name)
        if known is None:
            raise not_found(f"Secret {name!r} not found in environment 'main'.")
        missing = sorted(set(request.required_keys) - set(known))
        if missing:
            raise not_found(f"Secret {name!r} has no {', '.join(missing)}.")
        secret_id = stable_id("st", name)
        plane.registry.save_secret(secret_id, name, known)
    elif request.object_creation_type in (
        pb.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
        pb.OBJECT_CREATION_TYPE_EPHEMERAL,
    ):
        content = [part for pair in sorted(variables.items()) for part in pair]
        secret_id = stable_id("st", request.app_id, *content)
        plane.registry.save_secret(secret_id, "", variables)
    else:
        raise unserved("creating a named Secret (they come from the stand-in's configuration)")
    return pb.SecretGetOrCreateResponse(secret_id=secret_id)


async def function_precreate(
    plane: Plane, request: pb.FunctionPrecreateRequest, _caller: Caller
) -> pb.FunctionPrecreateResponse:
    definition = pb.Function(
        function_name=request.function_name,
        function_type=request.function_type,
        method_definitions=request.method_definitions,
        function_schema=request.function_schema,
        supported_input_formats=request.supported_input_formats,
        supported_output_formats=request.supported_output_formats,
    )
    function = _function(plane, request.app_id, request.existing_function_id, definition)
    return pb.FunctionPrecreateResponse(function_id=function.id, handle_metadata=function.metadata)


async def function_create(
    plane: Plane, request: pb.FunctionCreateRequest, _caller: Caller
) -> pb.FunctionCreateResponse:
    ranked = request.function_data.ranked_functions
    definition = ranked[0].function if ranked else request.function
    if definition.webhook_config.type or definition.is_server:
        raise unserved("a web endpoint")
    if definition.volume_mounts or definition.shared_volume_mounts or definition.cloud_bucket_mounts:
        raise unserved("a function with volumes")
    if request.schedule.WhichOneof("schedule_oneof") or definition.schedule.WhichOneof("schedule_oneof"):
        raise unserved("a function with a schedule")
    if definition.batch_max_size:
        raise unserved("a function with dynamic batching")
    function = _function(plane, request.app_id, request.existing_function_id, definition)
    plane.registry.stage(function)
    return pb.FunctionCreateResponse(
        function_id=function.id,
        function=definition,
        handle_metadata=function.metadata,
        function_data=function_data(definition),
    )


async def class_create(_plane: Plane, request: pb.ClassCreateRequest, _caller: Caller) -> pb.ClassCreateResponse:
    # The request has no name of the class, and its id must be the same after a restart: its methods have names.
    names = [method.function_name for method in request.methods]
    class_id = request.existing_class_id or stable_id("cs", request.app_id, *sorted(names))
    return pb.ClassCreateResponse(class_id=class_id, handle_metadata=pb.ClassHandleMetadata(methods=request.methods))


def _app(plane: Plane, app_id: str) -> App:
    app = plane.registry.apps.get(app_id)
    if app is None:
        raise not_found(f"App {app_id} not found")
    return app


def _function(plane: Plane, app_id: str, existing_id: str, definition: pb.Function) -> Function:
    app, tag = _app(plane, app_id), definition.function_name
    return Function(existing_id or stable_id("fu", app.id, tag), app.id, tag, definition)


HANDLERS: dict[str, Handler] = {
    "EnvironmentGetOrCreate": environment_get_or_create,
    "AppGetByDeploymentName": app_get_by_deployment_name,
    "AppCreate": app_create,
    "AppGetLayout": app_get_layout,
    "AppPublish": app_publish,
    "AppHeartbeat": app_heartbeat,
    "AppClientDisconnect": app_client_disconnect,
    "ImageGetOrCreate": image_get_or_create,
    "MountBatchedCheckExistence": mount_batched_check_existence,
    "MountPutFile": mount_put_file,
    "MountGetOrCreate": mount_get_or_create,
    "SecretGetOrCreate": secret_get_or_create,
    "FunctionPrecreate": function_precreate,
    "FunctionCreate": function_create,
    "ClassCreate": class_create,
}
