"""Postgres: a pool of this process. A connection is tried before it is given out, because servers cut idle ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from league.settings import MISTAKE


class Away(Exception):
    """The database cannot be reached."""


@cache
def pool() -> ConnectionPool[Any]:
    """Opened by the process that uses it: a pool does not survive a fork."""
    return ConnectionPool(
        os.environ["DATABASE_URL"],
        min_size=1,
        max_size=4,
        timeout=5,
        # By default a pool pauses longer and longer between its tries, also after the server is back.
        reconnect_timeout=2,
        kwargs={"row_factory": dict_row, "connect_timeout": 3},
        check=None if MISTAKE == "pool_unchecked" else ConnectionPool.check_connection,
        open=True,
    )


@contextmanager
def transaction() -> Iterator[psycopg.Connection[Any]]:
    """Committed on a clean exit, rolled back on an exception. Raises ``Away``."""
    try:
        with pool().connection() as connection:
            yield connection
    except (psycopg.OperationalError, PoolTimeout) as error:
        if MISTAKE == "pool_unchecked":
            raise
        raise Away(str(error)) from error
