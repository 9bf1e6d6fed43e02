"""The registry: by raw requests, and by Docker itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from parity.admin.app import serving
from parity.fly.api.registry import Registry
from parity.fly.api.web import METHODS


def app(folder: Path) -> Starlette:
    return Starlette(routes=[Route("/v2/{path:path}", Registry(folder).handle, methods=METHODS)])


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://r", auth=("x", "token")) as found:
        yield found


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def test_without_a_login_it_asks_for_one(tmp_path: Path) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app(tmp_path)), base_url="http://r") as stranger:
        answer = await stranger.get("/v2/")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert (await stranger.get("/v2/", auth=("x", "t"))).status_code == 200


async def test_a_blob_in_pieces_is_stored_under_its_digest(client: httpx.AsyncClient) -> None:
    begun = await client.post("/v2/demo/blobs/uploads/")
    assert begun.status_code == 202
    await client.patch(begun.headers["location"], content=b"hello ")
    done = await client.put(f"{begun.headers['location']}?digest={digest(b'hello world')}", content=b"world")
    assert done.status_code == 201
    stored = f"/v2/demo/blobs/{digest(b'hello world')}"
    assert (await client.head(stored)).headers["content-length"] == "11"
    assert (await client.get(stored)).content == b"hello world"


async def test_a_blob_of_another_digest_is_refused(client: httpx.AsyncClient) -> None:
    begun = await client.post("/v2/demo/blobs/uploads/")
    answer = await client.put(f"{begun.headers['location']}?digest={digest(b'other')}", content=b"this")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert (await client.get(f"/v2/demo/blobs/{digest(b'this')}")).status_code == 404


async def test_a_manifest_is_read_by_tag_and_by_digest_as_it_was_pushed(client: httpx.AsyncClient) -> None:
    data, kind = json.dumps({"config": {}}).encode(), "application/vnd.oci.image.manifest.v1+json"
    put = await client.put("/v2/demo/manifests/v1", content=data, headers={"content-type": kind})
    assert (put.status_code, put.headers["docker-content-digest"]) == (201, digest(data))
    for reference in ("v1", digest(data)):
        found = await client.get(f"/v2/demo/manifests/{reference}")
        assert (found.content, found.headers["content-type"]) == (data, kind)
    assert (await client.get("/v2/other/manifests/v1")).status_code == 404
    wrong = await client.put(f"/v2/demo/manifests/{digest(b'x')}", content=data, headers={"content-type": kind})
    assert wrong.status_code == 400


@pytest.mark.parametrize("path", ["../secret", "demo/blobs/../x", "demo/manifests/..%2fx", "demo/blobs/sha256:../x"])
async def test_nothing_outside_of_the_folder_is_reached(client: httpx.AsyncClient, tmp_path: Path, path: str) -> None:
    (tmp_path.parent / "secret").write_text("x")
    for method in ("GET", "PUT", "POST"):
        assert (await client.request(method, f"/v2/{path}")).status_code == 404


async def docker(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.docker
async def test_docker_pushes_an_image_that_is_then_known_by_its_digest(tmp_path: Path) -> None:
    base = "python:3.11-slim-bookworm"
    if not shutil.which("docker") or (await docker("image", "inspect", base))[0]:
        pytest.skip("no docker command, no engine, or no base image")
    async with serving(app(tmp_path), "127.0.0.1", 0) as port:
        name = f"localhost:{port}/demo:v1"
        config = tmp_path / "docker"
        config.mkdir()
        auth = {"auths": {f"localhost:{port}": {"auth": "eDp0b2tlbg=="}}}
        (config / "config.json").write_text(json.dumps(auth))
        await docker("image", "tag", base, name)
        try:
            code, output = await docker("--config", str(config), "image", "push", name)
            assert code == 0, output
            found = Registry(tmp_path).manifest("demo", "v1")
            assert found is not None
            code, shown = await docker("image", "inspect", f"localhost:{port}/demo@{digest(found[0])}")
            assert code == 0, shown
        finally:
            await docker("image", "rm", name)
