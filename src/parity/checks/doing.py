"""Says, while a broken variant is in force, what the contract does with a request.

A variant works before or around the app, and must tell a read from a write. The method of a request does so for most
apps. Where all requests are POST (JSON-RPC, GraphQL), only the contract knows: its ``read`` asks for something, its
``write`` changes something. So each request that a method of the contract sends carries the header ``DOES`` with the
method's name, or ``READS``. Learning the bodies that ``read`` sends was considered: ids and times differ in each.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from parity.contract import Edit, FullContract, Job
from parity.wraps import READS

# What the contract does now: the name of its method; empty outside of the contract.
DOING: ContextVar[str] = ContextVar("doing", default="")
T = TypeVar("T")
ASKS = ("read", "content")
CHANGES = ("sign_in", "cold_person", "write", "delete", "leave", "upload", "edit", "job")


def saying(contract: type[FullContract]) -> type[FullContract]:
    """A subclass of the contract that sets ``DOING`` in each of its methods, and in what ``edit`` and ``job`` give."""
    names = {name: name for name in CHANGES} | dict.fromkeys(ASKS, READS.decode())
    methods = {name: _during(what, getattr(contract, name)) for name, what in names.items() if hasattr(contract, name)}
    if "edit" in methods:
        methods["edit"] = _edits(methods["edit"])
    if "job" in methods:
        methods["job"] = _job(methods["job"])
    found: type[Any] = type(contract.__name__, (contract,), methods)
    return found


def _during(what: str, function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    @functools.wraps(function)
    async def said(*given: Any, **named: Any) -> T:
        token = DOING.set(what)
        try:
            return await function(*given, **named)
        finally:
            DOING.reset(token)

    return said


def _edits(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[list[Edit]]]:
    @functools.wraps(function)
    async def edit(self: object) -> list[Edit]:
        return [Edit(_during("change", one.do), _during(READS.decode(), one.shown)) for one in await function(self)]

    return edit


def _job(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Job]]:
    @functools.wraps(function)
    async def job(self: object) -> Job:
        begun = await function(self)
        return Job(_during(READS.decode(), begun.state), begun.done_s)

    return job
