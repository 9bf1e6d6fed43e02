"""Results with the fields of another release."""

from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import cbor2
import pytest
from modal_proto import api_pb2 as pb

from parity.modal.results import fields_of, with_fields

SUCCESS = pb.GenericResult.GENERIC_STATUS_SUCCESS
PICKLE, CBOR = pb.DATA_FORMAT_PICKLE, pb.DATA_FORMAT_CBOR
RESULT = {"key": "a/b.mp4", "size": 3}


def of(value: Any, data_format: int = PICKLE) -> pb.GenericResult:
    data = cbor2.dumps(value) if data_format == CBOR else pickle.dumps(value)
    return pb.GenericResult(status=SUCCESS, data=data)


@pytest.mark.parametrize("data_format", [PICKLE, CBOR])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"added": 1}, {**RESULT, "added": 1}),
        ({"size": None}, {"key": "a/b.mp4"}),
        ({"size": "three"}, {"key": "a/b.mp4", "size": "three"}),
        ({"*": None}, {}),
        ({"*": None, "only": True}, {"only": True}),
        ({"absent": None}, RESULT),
    ],
)
def test_fields_are_added_replaced_and_removed(
    data_format: int, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    result = of(RESULT, data_format)
    found = fields_of(result, data_format)
    assert found == RESULT
    assert fields_of(with_fields(result, data_format, found, changes), data_format) == expected


@pytest.mark.parametrize("value", [3, None, ["a"], {"exact": Fraction(1, 3)}])
def test_what_is_no_dict_of_plain_values_is_left_alone(value: Any) -> None:
    assert fields_of(of(value), PICKLE) is None


def test_failures_and_results_in_blobs_are_left_alone() -> None:
    failed = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_FAILURE, data=pickle.dumps(RESULT))
    assert fields_of(failed, PICKLE) is None
    assert fields_of(pb.GenericResult(status=SUCCESS, data_blob_id="bl-1"), PICKLE) is None
    assert fields_of(pb.GenericResult(status=SUCCESS, data=b"no pickle"), PICKLE) is None
