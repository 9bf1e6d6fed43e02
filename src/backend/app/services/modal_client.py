"""Calls Modal's functions with deadlines, and turns errors into reasons. The first call loads the SDK (0.4 s, 45 MiB).

The SDK sets no deadline on FunctionMap: without ours, a control plane that does not answer blocks a call forever.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from app.services.worker import WorkFailed
from app.settings import Settings
from reel import forms
from reel.forms import Taken
from reel.payloads import APP_NAME, PROGRESS_DICT, PayloadError, RenderProgress, call_entry

T = TypeVar("T")
log = logging.getLogger(__name__)

CONTROL_SECONDS: Final = 75.0  # a first connect is retried by the SDK for about 57 s
POLL_SECONDS: Final = 1.0
SPAWN_SECONDS: Final = 10.0


class OutOfTime(WorkFailed):
    """A deadline of this module has passed."""


class PayloadRefused(WorkFailed):
    """The deployed function does not know a field or a value of the payload: it is older than this release."""


class CallLost(Exception):
    """Modal no longer knows the call (expired output, another control plane), so it may be repeated."""


@dataclass(frozen=True)
class ModalClient:
    """Calls functions by name. Raises WorkFailed with a reason for the user."""

    settings: Settings

    async def spawn(self, function: str, payload: dict[str, Any]) -> str:
        """Begin a call; its id.

        While Modal cannot be reached, the request is repeated for SPAWN_SECONDS. A request that failed may have begun a
        call all the same; a second one makes the same object.
        """
        modal = self._modal()
        known = modal.exception
        # Not GRPCError: in the SDK also a refused token and an unknown function are of that class.
        outage = (known.ConnectionError, known.ServiceError, known.ResourceExhaustedError, ConnectionError)
        end = time.monotonic() + SPAWN_SECONDS
        while True:
            try:
                call = await self._guarded(
                    function, lambda: modal.Function.from_name(APP_NAME, function).spawn.aio(payload), CONTROL_SECONDS
                )
                return str(call.object_id)
            except WorkFailed as error:
                if time.monotonic() >= end or not isinstance(error.__cause__, outage):
                    raise
                log.warning("%s; trying again", error)
                await asyncio.sleep(POLL_SECONDS)

    async def result(
        self,
        function: str,
        call_id: str,
        *,
        deadline_s: float,
        on_wait: Callable[[], Awaitable[None]],
        on_outage: Callable[[], Awaitable[None]],
    ) -> dict[str, Any]:
        """Wait for a call, of this process or an earlier one.

        An error of a request says nothing about the call, so the request is repeated until the deadline; then the call
        is cancelled. `on_outage` is called before each repetition and may end the wait by an exception. Raises CallLost
        if Modal no longer knows the call.
        """
        modal = self._modal()
        call = modal.FunctionCall.from_id(call_id)
        try:
            async with _deadline(function, deadline_s):
                return await self._poll(function, call, on_wait, on_outage)
        except OutOfTime:
            with contextlib.suppress(WorkFailed):
                await self.cancel(call_id)
            raise

    async def _poll(
        self,
        function: str,
        call: Any,
        on_wait: Callable[[], Awaitable[None]],
        on_outage: Callable[[], Awaitable[None]],
    ) -> dict[str, Any]:
        modal = self._modal()
        while True:
            try:
                # No `_guarded` here: builtins.TimeoutError of `get` means "not yet".
                async with asyncio.timeout(CONTROL_SECONDS):
                    found: dict[str, Any] = await _returned(function, call.get.aio(timeout=POLL_SECONDS))
                return found
            except WorkFailed:
                raise
            except TimeoutError:
                await on_wait()
            except (modal.exception.OutputExpiredError, modal.exception.NotFoundError) as error:
                raise CallLost(str(error)) from error
            except Exception as error:
                if not isinstance(error, self._transport_errors()):
                    raise WorkFailed(self._reason(function, error)) from error
                log.warning("%s: %s; asking again", function, self._reason(function, error))
                await on_outage()
                await asyncio.sleep(POLL_SECONDS)

    def _transport_errors(self) -> tuple[type[Exception], ...]:
        """Exceptions of failed requests. One that the function raised never gets here (`_returned`)."""
        modal = self._modal()
        from grpclib.exceptions import GRPCError, StreamTerminatedError

        known = modal.exception
        ours = (known.ConnectionError, known.ServiceError, known.ResourceExhaustedError, known.AuthError)
        return (*ours, GRPCError, StreamTerminatedError, ConnectionError)

    async def describe(self) -> Taken | None:
        """The payloads that the deployed functions accept; None if they are too old for this request, or the response
        is not valid. Raises WorkFailed if Modal cannot be reached."""
        modal = await asyncio.to_thread(self._modal)
        try:
            async with _deadline("describe", CONTROL_SECONDS):
                asked = modal.Function.from_name(APP_NAME, "describe").remote.aio()
                return forms.read(await _returned("describe", asked))
        except modal.exception.NotFoundError:
            # If only this function is missing, the deployed ones are older than it.
            await self._guarded(
                "extract_clip", modal.Function.from_name(APP_NAME, "extract_clip").hydrate.aio, CONTROL_SECONDS
            )
            return None
        except WorkFailed:
            raise
        except Exception as error:
            raise WorkFailed(self._reason("describe", error)) from error

    async def progress(self, job_id: str) -> RenderProgress | None:
        """The last progress of the render function; None if there is none yet or Modal cannot be reached."""
        modal = self._modal()
        try:
            async with asyncio.timeout(CONTROL_SECONDS):
                progress = modal.Dict.from_name(PROGRESS_DICT, create_if_missing=True)
                found = await progress.get.aio(job_id)
            return None if found is None else RenderProgress.from_dict(found)
        except (TimeoutError, PayloadError, modal.exception.Error):
            return None  # progress is optional

    async def begun(self, output_key: str) -> str | None:
        """The id of the last call that began to make this file, as the function stored it; None if there was none, or
        the functions are older than this entry. Raises WorkFailed if Modal cannot be reached."""
        modal = self._modal()
        progress = modal.Dict.from_name(PROGRESS_DICT, create_if_missing=True)
        found = await self._guarded("begun", lambda: progress.get.aio(call_entry(output_key)), CONTROL_SECONDS)
        return found if isinstance(found, str) else None

    async def cancel(self, call_id: str) -> None:
        """Cancel a call. Raises WorkFailed if Modal cannot be reached. A call that has ended is not an error."""
        modal = self._modal()
        try:
            await self._guarded("cancel", lambda: modal.FunctionCall.from_id(call_id).cancel.aio(), CONTROL_SECONDS)
        except modal.exception.NotFoundError:
            return

    def _modal(self) -> Any:
        for name, value in (
            ("MODAL_SERVER_URL", self.settings.modal_server_url),
            ("MODAL_TOKEN_ID", self.settings.modal_token_id),
            ("MODAL_TOKEN_SECRET", self.settings.modal_token_secret),
        ):
            if value:  # the SDK reads only its environment
                os.environ.setdefault(name, value)
        import modal
        import modal.exception

        return modal

    async def _guarded(self, function: str, call: Callable[[], Awaitable[T]], deadline_s: float) -> T:
        async with _deadline(function, deadline_s):
            try:
                return await call()
            except TimeoutError:
                raise
            except Exception as error:
                raise WorkFailed(self._reason(function, error)) from error

    def _reason(self, function: str, error: Exception) -> str:
        modal = self._modal()
        for kind, reason in (
            (modal.exception.AuthError, "Modal refused the token: check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"),
            (modal.exception.NotFoundError, f"Modal has no function {APP_NAME}.{function}: deploy src/gpu"),
            (modal.exception.ResourceExhaustedError, "Modal has no capacity at the moment"),
            (modal.exception.FunctionTimeoutError, f"{function} ran into its time limit on Modal"),
            (modal.exception.ConnectionError, "Modal cannot be reached"),
            (modal.exception.InternalFailure, f"Modal lost the container of {function}"),
            (modal.exception.ServiceError, "Modal answered with an error"),
            (modal.exception.RemoteError, f"{function} failed on Modal"),
        ):
            if isinstance(error, kind):
                return f"{reason} ({_first_line(error)})"
        return _failed(function, error)


async def _returned(function: str, request: Awaitable[T]) -> T:
    """The result of a request for what the function returned. Raises WorkFailed if the function raised an exception,
    and the exception of a request that failed as it is.

    The SDK raises the function's exception as an object of its own class, which may be that of a failed request:
    ConnectionError, TimeoutError, NotFoundError. It may also be SystemExit, which would end this process. Only to an
    exception of the function the SDK adds `__line_cache__` (modal 1.6: `_process_result` in _utils/function_utils.py
    calls `append_modal_tb` in _traceback.py). A test with the real SDK compares.
    """
    try:
        return await request
    except BaseException as error:
        if isinstance(error, PayloadError):
            raise PayloadRefused(_failed(function, error)) from error
        if hasattr(error, "__line_cache__"):
            raise WorkFailed(_failed(function, error)) from error
        raise


def _failed(function: str, error: BaseException) -> str:
    return f"{function} failed on Modal: {type(error).__name__}: {_first_line(error)}"


class _deadline:
    """`asyncio.timeout` that raises WorkFailed with a reason."""

    def __init__(self, function: str, seconds: float) -> None:
        self._function, self._seconds = function, seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._timeout.__aexit__(*raised)
        except TimeoutError:
            raise OutOfTime(f"Modal did not answer {self._function} within {self._seconds:g} s") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
