"""The worker's process: deploy, then one session with the control plane after another."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from parity.config.errors import ConfigError
from parity.modal.config import WorkerConfig
from parity.modal.messages import (
    PATH,
    Debug,
    Deploy,
    Deployed,
    Die,
    Exited,
    Hello,
    Message,
    Start,
    Stop,
    Welcome,
    decode,
    encode,
)
from parity.modal.worker.containers import Containers
from parity.modal.worker.deploy import deploy, wait_for_control_plane
from parity.modal.worker.packages import interpreter

_RECONNECT_S = 0.3


async def work(config: WorkerConfig) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError when the app cannot be deployed."""
    config = replace(config, python=await interpreter(config.requirements, config.work_dir))
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    worker = Worker(config)
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await worker.containers.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


class Worker:
    """One worker: its containers outlive a broken connection."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._connection: ClientConnection | None = None
        self._deploying: set[asyncio.Task[None]] = set()
        self._one_deploy = asyncio.Lock()
        self.containers = Containers(config, self._report)

    async def run(self) -> None:
        """Deploy, connect and carry out orders; reconnect without limit."""
        await wait_for_control_plane(self._config)
        await self._deploy()
        headers = {"Authorization": f"Bearer {self._config.token_id}:{self._config.token_secret}"}
        url = self._config.blob_url.replace("http", "ws", 1) + PATH
        while True:
            try:
                async with connect(
                    url, additional_headers=headers, proxy=None, max_size=None, ping_interval=5.0, close_timeout=1.0
                ) as connection:
                    self._connection = connection
                    await self._session(connection)
            except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError):
                await asyncio.sleep(_RECONNECT_S)
            finally:
                self._connection = None

    async def _deploy(self) -> None:
        await deploy(self._config)
        print(f"worker: {self._config.entry.name} is deployed to {self._config.url}", flush=True)  # noqa: T201

    async def _session(self, connection: ClientConnection) -> None:
        await connection.send(encode(Hello(self.containers.running)))
        async for text in connection:
            message = decode(text)
            if isinstance(message, Start):
                self.containers.start(message)
            elif isinstance(message, Stop):
                self.containers.stop(message.task_id, message.signal)
            elif isinstance(message, Deploy):
                self._deploying.add(task := asyncio.create_task(self._deploy_again()))
                task.add_done_callback(self._deploying.discard)
            elif isinstance(message, Debug):
                await self._debug(on=message.on)
            elif isinstance(message, Welcome):
                await self._debug(on=message.debug)
                if self._config.app_name not in message.apps:
                    # The control plane lost its state and with it the first deploy.
                    await self._deploy()
            elif isinstance(message, Die):
                self._connection = None
                await self.containers.close()
                return

    async def _report(self, exited: Exited) -> None:
        """Report that a container ended. If the report is lost, the next session's Hello omits the container, which
        means the same."""
        await self._send(exited)

    async def _debug(self, *, on: bool) -> None:
        try:
            await self.containers.debug(on=on)
        except OSError as error:
            print(f"worker: no debugger can connect, PARITY_GPU_DEBUG_PORT: {error}", flush=True)  # noqa: T201

    async def _deploy_again(self) -> None:
        """Deploy and report how it ended. After a deploy that failed, the last good one stays."""
        async with self._one_deploy:
            try:
                await self._deploy()
            except ConfigError as error:
                print(f"worker: {error}", flush=True)  # noqa: T201
                await self._send(Deployed(str(error)))
            else:
                await self._send(Deployed(""))

    async def _send(self, message: Message) -> None:
        if self._connection is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._connection.send(encode(message))
