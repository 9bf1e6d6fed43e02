"""gRPC: every RPC of Modal's service has an answer, most of them UNIMPLEMENTED."""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from typing import Any

import grpclib.const
import grpclib.server
from google.protobuf import message_factory
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.config import Configuration
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto import api_pb2 as pb

from parity.modal.faults import Fault
from parity.modal.identifiers import sign
from parity.modal.journal import Entry
from parity.modal.plane import Caller, Plane
from parity.modal.rpc import HANDLERS, REPLAYED
from parity.modal.transport_names import TASK_HEADER

_SERVICE = "modal.client.ModalClient"
_WINDOW = 64 * 1024 * 1024
_ANSWERS_KEPT = 2000

Stream = grpclib.server.Stream[Any, Any]


class Service:
    """A grpclib service that serves what ``rpc.HANDLERS`` lists."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._answers: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        mapping = {}
        for method in pb.DESCRIPTOR.services_by_name["ModalClient"].methods:
            request = message_factory.GetMessageClass(method.input_type)
            response = message_factory.GetMessageClass(method.output_type)
            streams = method.server_streaming
            shape = grpclib.const.Cardinality.UNARY_STREAM if streams else grpclib.const.Cardinality.UNARY_UNARY
            handler = self._handler(method.name, response)
            mapping[f"/{_SERVICE}/{method.name}"] = grpclib.const.Handler(handler, shape, request, response)
        return mapping

    def _handler(self, name: str, response: type[Message]) -> Any:
        async def handle(stream: Stream) -> None:
            entry = self._record(name, stream)
            try:
                await self._serve(name, response, stream, entry)
            except GRPCError as error:
                entry.outcome = error.status.name
                raise
            except asyncio.CancelledError:
                entry.outcome = "cancelled"
                raise

        return handle

    async def _serve(self, name: str, response: type[Message], stream: Stream, entry: Entry) -> None:
        caller = self._authenticate(stream)
        fault = self._plane.faults.take("rpc", name)
        if fault is not None:
            await asyncio.sleep(fault.delay_s)
            if fault.when == "before" and await _inject(fault, stream):
                entry.outcome = f"injected {fault.status}"
                return
        implementation = HANDLERS.get(name)
        if implementation is None:
            self._plane.journal.unserved[name] += 1
            raise GRPCError(Status.UNIMPLEMENTED, f"{name} is not served by this stand-in for Modal")
        request = await stream.recv_message()
        if inspect.isasyncgenfunction(implementation):
            async for message in implementation(self._plane, request, caller):
                await stream.send_message(message)
            return
        answer = self._remembered(name, caller, response)
        if answer is None:
            answer = await implementation(self._plane, request, caller) or response()
            self._remember(name, caller, answer)
        else:
            entry.outcome = "replayed"
        if fault is not None and fault.when == "after" and await _inject(fault, stream):
            entry.outcome = f"injected {fault.status} after it was done"
            return
        await stream.send_message(answer)

    def _record(self, name: str, stream: Stream) -> Entry:
        metadata: Any = stream.metadata or {}
        caller = _text(metadata, TASK_HEADER).partition("/")[0] or "client"
        version, attempt = _text(metadata, "x-modal-client-version"), _text(metadata, "x-retry-attempt")
        return self._plane.journal.record(name, caller, version, attempt)

    def _authenticate(self, stream: Stream) -> Caller:
        metadata: Any = stream.metadata or {}
        config = self._plane.config
        key, host = _text(metadata, "x-idempotency-key"), _text(metadata, "x-modal-host")
        task_id, _, proof = _text(metadata, TASK_HEADER).partition("/")
        if task_id:
            if proof != sign(self._plane.signing_secret, task_id):
                raise GRPCError(Status.UNAUTHENTICATED, f"{task_id} is not a container of this control plane")
            return Caller(key, task_id, host)
        given = _text(metadata, "x-modal-token-id"), _text(metadata, "x-modal-token-secret")
        if given != (config.token_id, config.token_secret):
            raise GRPCError(Status.UNAUTHENTICATED, "Token validation failed. Could not authenticate client.")
        return Caller(key, host=host)

    def _remembered(self, name: str, caller: Caller, response: type[Message]) -> Message | None:
        """The answer to the same request, sent again because the first answer was lost."""
        if name not in REPLAYED or not caller.idempotency_key:
            return None
        data = self._answers.get((name, caller.idempotency_key))
        if data is None and REPLAYED[name] == "durable":
            data = self._plane.answers.get(name, caller.idempotency_key)
        return None if data is None else response.FromString(data)

    def _remember(self, name: str, caller: Caller, answer: Message) -> None:
        if name not in REPLAYED or not caller.idempotency_key:
            return
        data = answer.SerializeToString()
        self._answers[name, caller.idempotency_key] = data
        while len(self._answers) > _ANSWERS_KEPT:
            self._answers.popitem(last=False)
        if REPLAYED[name] == "durable":
            self._plane.answers.put(name, caller.idempotency_key, data)


def grpc_server(plane: Plane) -> grpclib.server.Server:
    """The server, to be started on the gRPC port."""
    config = Configuration(http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW)
    return grpclib.server.Server([Service(plane)], status_details_codec=custom_detail_codec, config=config)


async def _inject(fault: Fault, stream: Stream) -> bool:
    if fault.status == "RESET":
        await stream.cancel()
        return True
    if not fault.status:
        return False
    details = [pb.RPCRetryPolicy(retry_after_secs=fault.retry_after_s)] if fault.retry_after_s else None
    raise GRPCError(Status[fault.status], fault.message or f"injected {fault.status}", details)


def _text(metadata: Any, name: str) -> str:
    value = metadata.get(name, "")
    return value if isinstance(value, str) else ""
