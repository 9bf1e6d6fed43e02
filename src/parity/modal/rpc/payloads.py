"""Payloads over 2 MiB go by HTTP; these RPCs give the addresses out."""

from __future__ import annotations

from modal_proto import api_pb2 as pb

from parity.modal.identifiers import fresh_id
from parity.modal.plane import Caller, Plane
from parity.modal.rpc.errors import not_found, unserved
from parity.modal.rpc.handler import Handler

# For a larger payload the SDK expects a multipart upload.
MAX_BLOB_BYTES = 1024**3


async def blob_create(plane: Plane, request: pb.BlobCreateRequest, caller: Caller) -> pb.BlobCreateResponse:
    if request.content_length > MAX_BLOB_BYTES:
        raise unserved(f"BlobCreate for {request.content_length} bytes: at most {MAX_BLOB_BYTES} in one part")
    blob_id = fresh_id("bl")
    url = f"{plane.config.blob_url(caller.host)}/blob/{blob_id}"
    # Newer SDKs read the lists, older ones the single fields.
    return pb.BlobCreateResponse(
        blob_id=blob_id, upload_url=url, blob_ids=[blob_id], upload_urls=pb.UploadUrlList(items=[url])
    )


async def blob_get(plane: Plane, request: pb.BlobGetRequest, caller: Caller) -> pb.BlobGetResponse:
    try:
        known = plane.blobs.has(request.blob_id)
    except KeyError:
        known = False
    if not known:
        raise not_found(f"Blob {request.blob_id} not found")
    return pb.BlobGetResponse(download_url=f"{plane.config.blob_url(caller.host)}/blob/{request.blob_id}")


HANDLERS: dict[str, Handler] = {"BlobCreate": blob_create, "BlobGet": blob_get}
