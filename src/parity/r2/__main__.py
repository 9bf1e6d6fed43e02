"""``python -m parity.r2 serve``: the R2 stand-in of the checkout in ``PARITY_ROOT``; ``docs`` renews its page."""

from __future__ import annotations

import sys

import uvloop

from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.config.settings import load_settings
from parity.r2 import docs
from parity.r2.server import serve_project


def main(arguments: list[str]) -> int:
    if arguments not in (["serve"], ["docs"]):
        print("usage: python -m parity.r2 serve|docs", file=sys.stderr)  # noqa: T201
        return 2
    try:
        if arguments == ["docs"]:
            docs.write(load_settings().root)
            return 0
        uvloop.run(serve_project(Project.load()))
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        todo = "stop what uses the port, or set PARITY_R2_PORT, PARITY_R2_ADMIN_PORT"
        print(f"r2: {error}\n  to do:    {todo}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
