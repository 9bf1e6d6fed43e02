"""An OCI registry in a folder, as far as ``docker push`` and readers of manifests need it (spec v1.1)."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = r"(?P<name>[a-z0-9]+(?:[._/-][a-z0-9]+)*)"
_BLOB = re.compile(rf"{_NAME}/blobs/(?P<digest>sha256:[0-9a-f]{{64}})")
_UPLOAD = re.compile(rf"{_NAME}/blobs/uploads/(?P<id>[0-9a-f]*)")
_MANIFEST = re.compile(rf"{_NAME}/manifests/(?P<reference>[A-Za-z0-9_][A-Za-z0-9._:-]{{0,127}})")


class Registry:
    """Blobs by digest; manifests by digest and by tag, with their media type."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifest(self, name: str, reference: str) -> tuple[bytes, str] | None:
        """Bytes and media type of the manifest for a tag or digest; None if there is none."""
        digest = reference
        if not _DIGEST.fullmatch(reference):
            tag = self._folder / "tags" / name / reference
            if not tag.is_file():
                return None
            digest = tag.read_text()
        kind, path = self._folder / "types" / name / digest, self._blob(digest)
        return (path.read_bytes(), kind.read_text()) if kind.is_file() and path.is_file() else None

    async def handle(self, request: Request) -> Response:
        """Routes under ``/v2/``. Any login is accepted; without one the answer is 401, as flyctl expects."""
        if not request.headers.get("authorization", "").startswith("Basic "):
            headers = {"WWW-Authenticate": 'Basic realm="fly"', "Docker-Distribution-Api-Version": "registry/2.0"}
            return JSONResponse({"errors": [{"code": "UNAUTHORIZED"}]}, 401, headers)
        path, method = request.path_params["path"], request.method
        if not path:
            return JSONResponse({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})
        if found := _UPLOAD.fullmatch(path):
            return await self._upload(request, found["name"], found["id"])
        if found := _BLOB.fullmatch(path):
            blob = self._blob(found["digest"])
            if not blob.is_file():
                return _error(404, "BLOB_UNKNOWN")
            headers = {"Docker-Content-Digest": found["digest"], "Content-Length": str(blob.stat().st_size)}
            return Response(headers=headers) if method == "HEAD" else FileResponse(blob, headers=headers)
        if found := _MANIFEST.fullmatch(path):
            if method == "PUT":
                return await self._put_manifest(request, found["name"], found["reference"])
            stored = self.manifest(found["name"], found["reference"])
            if stored is None:
                return _error(404, "MANIFEST_UNKNOWN")
            headers = {"Docker-Content-Digest": digest_of(stored[0]), "Content-Length": str(len(stored[0]))}
            return Response(b"" if method == "HEAD" else stored[0], media_type=stored[1], headers=headers)
        return _error(404, "NAME_UNKNOWN")

    async def _upload(self, request: Request, name: str, upload: str) -> Response:
        if request.method == "POST":
            upload = secrets.token_hex(16)
        part = self._folder / "uploads" / (upload or "none")
        if not upload or (request.method != "POST" and not part.is_file()):
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            async for data in request.stream():
                file.write(data)
        digest = request.query_params.get("digest")
        if digest:
            with part.open("rb") as file:
                actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            if actual != digest:
                part.unlink()
                return _error(400, "DIGEST_INVALID")
            blob = self._blob(digest)
            blob.parent.mkdir(parents=True, exist_ok=True)
            part.replace(blob)
            return Response(
                status_code=201, headers={"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
            )
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{upload}",
            "Range": f"0-{max(0, part.stat().st_size - 1)}",
            "Docker-Upload-UUID": upload,
        }
        return Response(status_code=202, headers=headers)

    async def _put_manifest(self, request: Request, name: str, reference: str) -> Response:
        data = await request.body()
        digest = digest_of(data)
        if _DIGEST.fullmatch(reference) and reference != digest:
            return _error(400, "DIGEST_INVALID")
        try:
            kind = request.headers.get("content-type") or str(json.loads(data)["mediaType"])
        except (ValueError, KeyError, TypeError):
            return _error(400, "MANIFEST_INVALID")
        for path, content in (
            (self._blob(digest), data),
            (self._folder / "types" / name / digest, kind.encode()),
            *([] if reference == digest else [(self._folder / "tags" / name / reference, digest.encode())]),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        return Response(status_code=201, headers=headers)

    def _blob(self, digest: str) -> Path:
        return self._folder / "blobs" / digest.removeprefix("sha256:")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _error(status: int, code: str) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}, status)
