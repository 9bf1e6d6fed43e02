"""Pure decisions about failed attempts, dead containers and queues."""

from __future__ import annotations

from modal_proto import api_pb2 as pb

Result = pb.GenericResult

# How often a container that dies during an input is replaced before the call fails. Inferred, as Modal documents no
# limit.
CRASHES_BEFORE_FAILURE = 3
# With a retry policy the SDK repeats internal failures of `.remote()` without a limit, so a function that always kills
# its container would run for ever. After this many crashes the answer is a failure that the SDK does not repeat.
# Inferred.
CRASHES_BEFORE_TERMINATION = 6
# How many containers in a row may die before they ask for an input.
FAILED_STARTS = 3
# Modal's defaults for `@app.function()` without scaledown_window and timeout.
DEFAULT_IDLE_S = 60.0
DEFAULT_STARTUP_S = 300.0

_RETRIED = {
    Result.GENERIC_STATUS_FAILURE,
    Result.GENERIC_STATUS_TIMEOUT,
    Result.GENERIC_STATUS_INTERNAL_FAILURE,
    Result.GENERIC_STATUS_KERNEL_OOM_KILL,
}


def retry_delay(policy: pb.FunctionRetryPolicy, invocation: int, status: int, retries: int) -> float | None:
    """Seconds until the server repeats a failed attempt; None when it does not.

    The server repeats spawned calls; for `.remote()` and `.map()` the client does.
    """
    if invocation != pb.FUNCTION_CALL_INVOCATION_TYPE_ASYNC or status not in _RETRIED or retries >= policy.retries:
        return None
    delay = float(policy.initial_delay_ms * (policy.backoff_coefficient or 1.0) ** retries)
    return min(delay, float(policy.max_delay_ms or delay)) / 1000


def after_crash(crashes: int, tag: str, code: int) -> pb.GenericResult | None:
    """The result for an input whose container died for the ``crashes``-th time; None: run it again."""
    if crashes % CRASHES_BEFORE_FAILURE:
        return None
    last = crashes >= CRASHES_BEFORE_TERMINATION
    return Result(
        status=Result.GENERIC_STATUS_TERMINATED if last else Result.GENERIC_STATUS_INTERNAL_FAILURE,
        exception=f"Container of {tag} ended with code {code} while it ran this input, {crashes} times",
        exitcode=code,
    )


def timeout_result(tag: str, input_id: str, seconds: int) -> pb.GenericResult:
    return Result(
        status=Result.GENERIC_STATUS_TIMEOUT,
        exception=f"Task's current input {input_id} of {tag} hit its timeout of {seconds}s",
    )


def cancelled_result() -> pb.GenericResult:
    return Result(status=Result.GENERIC_STATUS_TERMINATED, exception="Input was cancelled by user")


def start_failure(tag: str, code: int, log: str) -> pb.GenericResult:
    """For every waiting input, when containers of a function cannot be started."""
    return Result(
        status=Result.GENERIC_STATUS_INIT_FAILURE,
        exception=f"Container of {tag} ended with code {code} while it started, {FAILED_STARTS} times: {log.strip()}",
        exitcode=code,
    )


def container_limit(definition: pb.Function, default: int) -> int:
    """How many containers a function may have at once."""
    return definition.autoscaler_settings.max_containers or definition.concurrency_limit or default


def concurrency(definition: pb.Function) -> int:
    """How many inputs one container takes at once (``@modal.concurrent``)."""
    return definition.target_concurrent_inputs or definition.max_concurrent_inputs or 1


def containers_to_start(waiting: int, free_slots: int, alive: int, limit: int, per_container: int) -> int:
    """How many more containers the queue of a function needs."""
    missing = -(-max(0, waiting - free_slots) // per_container)
    return max(0, min(missing, limit - alive))
