"""modal.Dict through the SDK."""

from __future__ import annotations

from typing import Any

import modal
import modal.exception
import pytest

pytestmark = pytest.mark.usefixtures("stack")


def test_what_is_put_is_got_until_it_is_popped(marks: Any, key: str) -> None:
    marks.put(key, {"progress": 0.5})
    assert modal.Dict.from_name("test-marks").get(key) == {"progress": 0.5}
    assert marks.pop(key) == {"progress": 0.5}
    assert marks.get(key) is None


def test_update_writes_several_keys_and_keeps_the_others(marks: Any, key: str) -> None:
    marks[f"{key}-a"] = 1
    marks.update({f"{key}-b": 2, f"{key}-c": 3})
    assert [marks[f"{key}-{letter}"] for letter in "abc"] == [1, 2, 3]


def test_put_can_leave_an_existing_value_alone(marks: Any, key: str) -> None:
    assert marks.put(key, "first", skip_if_exists=True) is True
    assert marks.put(key, "second", skip_if_exists=True) is False
    assert marks[key] == "first"


def test_a_dict_that_was_not_created_is_not_found(key: str) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        modal.Dict.from_name(f"none-{key}").get("x")


def test_items_lists_what_is_in_a_dict(key: str) -> None:
    fresh = modal.Dict.from_name(f"fresh-{key}", create_if_missing=True)
    fresh.update({"a": 1, "b": 2})
    assert sorted(fresh.items()) == [("a", 1), ("b", 2)]
    assert len(list(fresh.keys())) == fresh.len() == 2
