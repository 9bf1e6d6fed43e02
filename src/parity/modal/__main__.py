"""``python -m parity.modal serve`` and ``python -m parity.modal worker``."""

from __future__ import annotations

import argparse
import asyncio
import sys

from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.modal.config import ModalConfig, WorkerConfig


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m parity.modal", description=__doc__)
    parser.add_argument("role", choices=("serve", "worker"), help="the control plane, or what runs functions for it")
    parser.add_argument("--watch", action="store_true", help="worker: deploy again when a source file changes")
    arguments = parser.parse_args()
    try:
        project = Project.load()
        if arguments.role == "serve":
            import uvloop

            from parity.modal.server import serve

            uvloop.run(serve(ModalConfig.from_project(project)))
        else:
            from parity.modal.worker.run import work

            asyncio.run(work(WorkerConfig.from_project(project), watch=arguments.watch))
    except ConfigError as error:
        print(f"modal: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
