"""``python -m parity.fly serve``."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from parity.config.errors import ConfigError
from parity.fly.machines.driver import DriverError
from parity.fly.machines.release import ReleaseFailed
from parity.fly.server import serve as run
from parity.services.errors import ServiceError


@click.group()
def main() -> None:
    """Stand-in of Fly.io."""


@main.command()
def serve() -> None:
    """Serve edge, Machines and admin API until SIGINT or SIGTERM."""
    try:
        asyncio.run(run(os.environ))
    except (ConfigError, DriverError, ReleaseFailed, ServiceError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


main()
