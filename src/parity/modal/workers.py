"""The scheduler's view of the connected worker: it queues orders, and the WebSocket endpoint sends them."""

from __future__ import annotations

import asyncio
import base64
import signal

from modal_proto import api_pb2 as pb

from parity.modal.config import ModalConfig
from parity.modal.identifiers import sign
from parity.modal.messages import Debug, Deploy, Die, Message, Start, Stop
from parity.modal.registry import Function, Registry
from parity.modal.tasks import Task


class NoWorker(Exception):
    """No worker is connected, or it went away."""


class Workers:
    """At most one worker at a time: a second one takes the place of the first."""

    def __init__(self, config: ModalConfig, registry: Registry, signing_secret: bytes) -> None:
        self._config, self._registry, self._signing_secret = config, registry, signing_secret
        self._outbox: asyncio.Queue[Message] | None = None
        self.debugging = False
        self._deploys: list[asyncio.Future[str]] = []  # those that wait for the worker's answer, oldest first

    @property
    def connected(self) -> bool:
        return self._outbox is not None

    def connect(self) -> asyncio.Queue[Message]:
        """Note that a worker connected. Returns the queue of messages to send to it."""
        self._forget_deploys()
        self._outbox = asyncio.Queue()
        return self._outbox

    def disconnect(self, outbox: asyncio.Queue[Message]) -> bool:
        """Note that a worker's connection ended. Returns False if a newer worker had replaced it before."""
        if self._outbox is not outbox:
            return False
        self._outbox = None
        self._forget_deploys()
        return True

    def _forget_deploys(self) -> None:
        """Cancel the orders to deploy: the worker that got them is gone."""
        for waiting in self._deploys:
            waiting.cancel()
        self._deploys.clear()

    def debug(self, *, on: bool) -> None:
        """Choose whether containers that start from now on listen for a debugger, also those of a later worker."""
        self.debugging = on
        if self._outbox is not None:
            self._outbox.put_nowait(Debug(on))

    async def deploy(self) -> str:
        """Let the worker deploy the app again; returns why that failed, or "". Raises ``NoWorker``."""
        if self._outbox is None:
            raise NoWorker
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._deploys.append(waiting)
        self._outbox.put_nowait(Deploy())
        await asyncio.wait({waiting})
        if waiting.cancelled():
            raise NoWorker
        return waiting.result()

    def deployed(self, problem: str) -> None:
        """Note the worker's answer to the oldest order to deploy."""
        if self._deploys:
            waiting = self._deploys.pop(0)
            if not waiting.done():
                waiting.set_result(problem)

    def start(self, task: Task, function: Function) -> bool:
        """Order the worker to start a container. Returns False if no worker is connected."""
        if self._outbox is None:
            return False
        self._outbox.put_nowait(self._order(task, function))
        return True

    def stop(self, task_id: str, with_signal: signal.Signals) -> None:
        """Order the worker to send a container a signal. Does nothing if no worker is connected."""
        if self._outbox is not None:
            self._outbox.put_nowait(Stop(task_id, int(with_signal)))

    def die(self) -> bool:
        """Order the worker to lose all containers and its connection. Returns False if no worker is connected."""
        if self._outbox is None:
            return False
        self._outbox.put_nowait(Die())
        return True

    def _order(self, task: Task, function: Function) -> Start:
        app = self._registry.apps[function.app_id]
        arguments = pb.ContainerArguments(
            task_id=task.id,
            function_id=function.id,
            app_id=app.id,
            function_def=function.definition,
            serialized_params=function.params,
            environment_name="main",
            app_layout=self._registry.layout(app),
        )
        environment: dict[str, str] = {}
        for secret_id in function.definition.secret_ids:
            environment |= self._registry.secret(secret_id)
        files = {
            file.filename: file.sha256_hex
            for mount_id in function.definition.mount_ids
            for file in self._registry.mount(mount_id)
        }
        return Start(
            task_id=task.id,
            function_id=function.id,
            arguments=base64.b64encode(arguments.SerializeToString()).decode(),
            header=f"{task.id}/{sign(self._signing_secret, task.id)}",
            image_id=function.definition.image_id,
            environment=environment,
            files=files,
        )
