"""A service as a process: prepared once, ready, stopped, and what its failures say."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

import httpx
import pytest

from parity.config.parity_toml import Service
from parity.services.errors import ServiceError
from parity.services.process import HOST, ServiceProcess, search_path

SERVE = ["{python}", "-m", "http.server", "{port}", "--bind", "{host}"]
FRESH = ["{python}", "-c", "import pathlib; pathlib.Path('made').write_text('once')"]


# Another user than root may not reach root's own Python.
AS_USER = {
    "command": ["/bin/sh", "-c", "id -un > made; : {port}; exec sleep 100"],
    "ready": ["/bin/grep", "-q", ".", "made"],
}


def process(tmp_path: Path, **keys: object) -> ServiceProcess:
    service = Service.model_validate({"port": 5000, "command": SERVE, **keys})
    return ServiceProcess("files", service, tmp_path / "services/files", tmp_path, sys.executable)


async def fetched(service: ServiceProcess, path: str) -> str:
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{service.port}", trust_env=False, timeout=60) as client:
        return (await client.get(path)).text


async def test_it_is_prepared_once_and_its_data_lasts(tmp_path: Path) -> None:
    service = process(tmp_path, prepare=FRESH)
    await service.start()
    assert service.new
    assert await fetched(service, "/made") == "once"
    (service.data / "made").write_text("kept")
    await service.stop()
    await service.start()
    try:
        assert not service.new
        assert await fetched(service, "/made") == "kept"
    finally:
        await service.stop()


async def test_nothing_of_it_runs_after_a_stop(tmp_path: Path) -> None:
    service = process(tmp_path)
    await service.start()
    await service.stop()
    with pytest.raises(httpx.ConnectError):
        await fetched(service, "/")


async def test_a_prepare_that_fails_is_told_and_not_taken_for_prepared(tmp_path: Path) -> None:
    service = process(tmp_path, prepare=["{python}", "-c", "open('half', 'w'); raise SystemExit('no room')"])
    with pytest.raises(ServiceError, match=r"service files: its prepare command ended with 1(.|\n)*no room"):
        await service.start()
    assert not service.data.exists()


async def test_a_command_that_ends_is_told_with_its_last_lines(tmp_path: Path) -> None:
    service = process(tmp_path, command=["{python}", "-c", "raise SystemExit('no {port}'[:2] + ' licence')"])
    with pytest.raises(ServiceError, match=r"service files: its command ended with 1(.|\n)*no licence"):
        await service.start()


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"postgrez cannot be run .* services.files"):
        await process(tmp_path, command=["postgrez", "{port}"]).start()


async def test_it_is_ready_when_its_own_command_says_so(tmp_path: Path) -> None:
    ready = ["{python}", "-c", "import pathlib, sys; p = pathlib.Path('n'); p.open('a').write('x'); "
             "sys.exit(len(p.read_text()) < 3)"]  # fmt: skip
    service = process(tmp_path, ready=ready)
    await service.start()
    try:
        assert (service.data / "n").read_text() == "xxx"
    finally:
        await service.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_root_runs_it_as_another_user(tmp_path: Path) -> None:
    service = process(tmp_path, user="nobody", **AS_USER)
    await service.start()
    try:
        assert (service.data / "made").read_text() == "nobody\n"
    finally:
        await service.stop()
        service.forget()
    with pytest.raises(ServiceError, match="no user 'nosuchuser'"):
        process(tmp_path, user="nosuchuser")


@pytest.mark.skipif(os.geteuid() == 0, reason="root becomes the other user")
async def test_who_is_not_root_runs_it_as_oneself(tmp_path: Path) -> None:
    service = process(tmp_path, user="nobody", **AS_USER)
    await service.start()
    try:
        assert (service.data / "made").read_text() == f"{getpass.getuser()}\n"
    finally:
        await service.stop()


def test_debians_folders_of_postgresql_are_searched_after_path_newest_first(tmp_path: Path) -> None:
    for name in ("9/bin", "15/bin", "common"):
        (tmp_path / name).mkdir(parents=True)
    assert search_path("/usr/bin", tmp_path) == f"/usr/bin:{tmp_path}/15/bin:{tmp_path}/9/bin"
