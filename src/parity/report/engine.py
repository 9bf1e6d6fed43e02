"""The Docker engine's HTTP API over its socket: it works in a container that has no docker command."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

DEFAULT_SOCKET = "/var/run/docker.sock"


class EngineError(Exception):
    """The engine does not answer, or refused."""


class Engine:
    """A client of one engine. Only unix sockets; anything else in ``DOCKER_HOST`` counts as no engine."""

    def __init__(self, environ: Mapping[str, str] = os.environ, timeout_s: float = 120.0) -> None:
        host = environ.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"
        self._socket = host.removeprefix("unix://") if host.startswith("unix://") else ""
        self._timeout = timeout_s

    def _client(self) -> httpx.Client:
        if not self._socket:
            raise EngineError("DOCKER_HOST is not a unix:// address")
        # httpcore leaves its socket open when connecting fails, so the ordinary failure is found before.
        if not Path(self._socket).is_socket():
            raise EngineError(f"no Docker engine answers at {self._socket}: there is no such socket")
        transport = httpx.HTTPTransport(uds=self._socket)
        return httpx.Client(transport=transport, base_url="http://docker", timeout=self._timeout)

    def request(self, method: str, path: str, **options: Any) -> bytes:
        """The answer's body. Raises ``EngineError``."""
        try:
            with self._client() as client:
                answer = client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise EngineError(f"no Docker engine answers at {self._socket}: {error}") from None
        if answer.status_code >= 400:
            raise EngineError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.content

    def get(self, path: str) -> Any:
        return json.loads(self.request("GET", path))

    @property
    def available(self) -> bool:
        try:
            self.request("GET", "/_ping")
        except EngineError:
            return False
        return True

    def image(self, name: str) -> dict[str, Any]:
        """What ``docker image inspect`` shows. Raises ``EngineError`` when there is no such image."""
        found: dict[str, Any] = self.get(f"/images/{quote(name, safe='')}/json")
        return found

    def config_digest(self, name: str) -> str:
        """The image's identity everywhere. Raises ``EngineError``.

        With the overlay2 store ``Id`` is it; with containerd's, ``Id`` names a manifest, so the digest is read from
        what saving the image would write.
        """
        image_id = str(self.image(name)["Id"])
        status = json.dumps(self.get("/info").get("DriverStatus") or [])
        if "io.containerd.snapshotter" not in status:
            return image_id
        saved = self.request("GET", f"/images/{quote(name, safe='')}/get")
        return config_digest_of_archive(saved)

    def build(self, tag: str, base: str, files: Mapping[str, str], *, more: Sequence[str] = ()) -> None:
        """Build ``tag``: ``base`` with ``files`` on top, by absolute path in the image. Raises ``EngineError``.

        ``more`` are further lines of its Dockerfile.
        """
        buffer = io.BytesIO()
        lines = [f"FROM {base}"]
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for number, (path, text) in enumerate(files.items()):
                _add(archive, f"file{number}", text)
                lines.append(f'COPY ["file{number}", "{path}"]')
            _add(archive, "Dockerfile", "\n".join([*lines, *more]) + "\n")
        headers = {"Content-Type": "application/x-tar"}
        path = f"/build?t={quote(tag)}&rm=1&forcerm=1&labels={quote(json.dumps({'parity.broken': 'true'}))}"
        told = self.request("POST", path, content=buffer.getvalue(), headers=headers)
        for line in told.splitlines():
            entry = json.loads(line)
            if "error" in entry:
                raise EngineError(f"build of {tag}: {entry['error']}")

    def remove_image(self, name: str) -> None:
        self.request("DELETE", f"/images/{quote(name, safe='')}?force=1")

    def run_and_read(self, image: str, command: list[str]) -> str:
        """Run ``command`` as root in a throw-away container without network and return its output."""
        body = {
            "Image": image,
            "Entrypoint": command[:1],
            "Cmd": command[1:],
            "User": "0",
            "Tty": True,  # one stream without frames
            "HostConfig": {"NetworkMode": "none"},
        }
        made = json.loads(self.request("POST", "/containers/create", json=body))["Id"]
        try:
            self.request("POST", f"/containers/{made}/start")
            ended = json.loads(self.request("POST", f"/containers/{made}/wait"))
            output = self.request("GET", f"/containers/{made}/logs?stdout=1&stderr=1").decode(errors="replace")
        finally:
            self.request("DELETE", f"/containers/{made}?force=1&v=1")
        if ended["StatusCode"]:
            raise EngineError(f"{command[0]} in {image} ended with {ended['StatusCode']}: {output[:300]}")
        return output

    def container_of(self, machine: str) -> str:
        """The id of the container that runs as this Machine. Raises ``EngineError`` where none does."""
        for container in self.get("/containers/json"):
            env = self.get(f"/containers/{container['Id']}/json")["Config"]["Env"]
            if f"FLY_MACHINE_ID={machine}" in env:
                return str(container["Id"])
        raise EngineError(f"no container runs as Machine {machine}")

    def users_of(self, container: str) -> list[str]:
        """The numbers of the users whose processes run in the container, the init that the engine adds left out.

        Raises ``EngineError``.
        """
        found = self.get(f"/containers/{container}/top?ps_args={quote('-eo pid,uid,args')}")["Processes"]
        return list(dict.fromkeys(uid for _, uid, args in found if "docker-init" not in args))

    def execute(self, container: str, command: list[str], user: str = "") -> tuple[int, str]:
        """Run ``command`` in a running container; its exit code and output. Raises ``EngineError``."""
        body = {"Cmd": command, "User": user, "AttachStdout": True, "AttachStderr": True, "Tty": True}
        made = json.loads(self.request("POST", f"/containers/{container}/exec", json=body))["Id"]
        output = self.request("POST", f"/exec/{made}/start", json={"Detach": False, "Tty": True})
        return int(self.get(f"/exec/{made}/json")["ExitCode"]), output.decode(errors="replace")


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))


def config_digest_of_archive(saved: bytes) -> str:
    """Config digest by a saved image's ``manifest.json``. Raises ``EngineError`` when the archive has none."""
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        try:
            content = archive.extractfile("manifest.json")
        except KeyError:
            raise EngineError("the saved image has no manifest.json") from None
        assert content is not None
        name = str(json.loads(content.read())[0]["Config"]).rpartition("/")[2]
    return f"sha256:{name.removesuffix('.json')}"
