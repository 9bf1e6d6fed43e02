"""The refusals that several RPCs share."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message
from grpclib import GRPCError, Status


def not_found(what: str, details: Sequence[Message] | None = None) -> GRPCError:
    return GRPCError(Status.NOT_FOUND, what, details)


def invalid(what: str) -> GRPCError:
    return GRPCError(Status.INVALID_ARGUMENT, what)


def unserved(what: str) -> GRPCError:
    return GRPCError(Status.UNIMPLEMENTED, f"{what}: not served by this stand-in for Modal")
