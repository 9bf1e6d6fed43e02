"""``python -m parity.modal serve`` and ``python -m parity.modal worker``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parity.admin.app import serving
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.modal.config import ModalConfig, WorkerConfig


async def idle(project: Project, *, health: bool) -> None:
    """For an app without ``[gpu]``, whose containers are there all the same: only the health check is answered."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    print("modal: parity.toml has no [gpu], so nothing is served", flush=True)  # noqa: T201

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"gpu": False})

    if not health:
        await stop.wait()
        return
    app = Starlette(routes=[Route("/modal/healthz", healthz)])
    async with serving(app, project.settings.bind, project.settings.modal_admin_port):
        await stop.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m parity.modal", description=__doc__)
    parser.add_argument("role", choices=("serve", "worker"), help="the control plane, or what runs functions for it")
    arguments = parser.parse_args()
    try:
        project = Project.load()
        if project.parity.gpu is None:
            asyncio.run(idle(project, health=arguments.role == "serve"))
            return 0
        if arguments.role == "serve":
            import uvloop

            from parity.modal.server import serve

            uvloop.run(serve(ModalConfig.from_project(project)))
        else:
            from parity.modal.worker.run import work

            asyncio.run(work(WorkerConfig.from_project(project)))
    except ConfigError as error:
        print(f"modal: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
