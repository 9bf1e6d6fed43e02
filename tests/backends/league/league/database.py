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


def _tried(connection: psycopg.Connection[Any]) -> None:
    """What cut one idle connection has cut the others too. The pool would find them one by one, with a pause after each
    that doubles, and a request that meets four of them would wait for 7 s."""
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.OperationalError:
        pool().check()
        raise


@cache
def pool() -> ConnectionPool[Any]:
    """Opened by the process that uses it: a pool does not survive a fork."""
    return ConnectionPool(
        os.environ["DATABASE_URL"],
        min_size=1,
        max_size=4,
        timeout=600 if MISTAKE == "database_without_timeout" else 5,
        # By default a pool pauses longer and longer between its tries, also after the server is back.
        reconnect_timeout=2,
        kwargs={"row_factory": dict_row, "connect_timeout": 0 if MISTAKE == "database_without_timeout" else 3},
        check=None if MISTAKE == "pool_unchecked" else _tried,
        open=True,
    )


@contextmanager
def transaction() -> Iterator[psycopg.Connection[Any]]:
    """Committed on a clean exit, rolled back on an exception. Raises ``Away``."""
    try:
        with pool().connection() as connection:
            yield connection
    except (psycopg.OperationalError, PoolTimeout) as error:
        if MISTAKE in ("pool_unchecked", "database_errors_unhandled"):
            raise
        raise Away(str(error)) from error
