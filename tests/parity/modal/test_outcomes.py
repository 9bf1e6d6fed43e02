"""The decisions, without a server."""

from __future__ import annotations

import pytest
from modal_proto import api_pb2 as pb

from parity.modal import outcomes

Result = pb.GenericResult
SYNC, ASYNC = pb.FUNCTION_CALL_INVOCATION_TYPE_SYNC, pb.FUNCTION_CALL_INVOCATION_TYPE_ASYNC
FAILURE = Result.GENERIC_STATUS_FAILURE
POLICY = pb.FunctionRetryPolicy(retries=3, initial_delay_ms=100, backoff_coefficient=2.0, max_delay_ms=300)


def test_delays_grow_up_to_their_limit_and_end_with_the_policy() -> None:
    assert [outcomes.retry_delay(POLICY, ASYNC, FAILURE, done) for done in range(4)] == [0.1, 0.2, 0.3, None]


@pytest.mark.parametrize("status", [Result.GENERIC_STATUS_SUCCESS, Result.GENERIC_STATUS_TERMINATED])
def test_success_and_cancel_are_not_repeated(status: int) -> None:
    assert outcomes.retry_delay(POLICY, ASYNC, status, 0) is None


def test_the_client_repeats_its_own_calls() -> None:
    assert outcomes.retry_delay(POLICY, SYNC, FAILURE, 0) is None


def test_the_third_crash_is_an_internal_failure_and_the_sixth_the_end() -> None:
    results = [outcomes.after_crash(number, "f", 137) for number in range(1, 7)]
    statuses = [result.status if result else None for result in results]
    internal, ended = Result.GENERIC_STATUS_INTERNAL_FAILURE, Result.GENERIC_STATUS_TERMINATED
    assert statuses == [None, None, internal, None, None, ended]


@pytest.mark.parametrize(
    ("waiting", "free", "alive", "limit", "each", "starts"),
    [
        (0, 0, 0, 4, 1, 0),
        (1, 0, 0, 4, 1, 1),
        (1, 1, 1, 4, 1, 0),
        (9, 0, 1, 4, 1, 3),
        (9, 0, 4, 4, 1, 0),
        (9, 0, 0, 4, 5, 2),
        (1, 0, 9, 4, 1, 0),
    ],
)
def test_as_many_containers_start_as_the_queue_needs_within_the_limit(
    waiting: int, free: int, alive: int, limit: int, each: int, starts: int
) -> None:
    assert outcomes.containers_to_start(waiting, free, alive, limit, each) == starts


def test_the_functions_own_limit_of_containers_wins() -> None:
    settings = pb.AutoscalerSettings(max_containers=2)
    assert outcomes.container_limit(pb.Function(autoscaler_settings=settings), 4) == 2
    assert outcomes.container_limit(pb.Function(), 4) == 4
