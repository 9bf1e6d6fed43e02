from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from parity.fly.api.graphql import QueryError, answer, parse

TREE: dict[str, Any] = {
    "app": lambda given: {"id": given.get("name"), "releases": [{"version": 2}, {"version": 1}], "owner": None},
    "viewer": {"__typename": "User", "email": "a@b"},
}


def ask(text: str, variables: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], list[str]]:
    missing: list[str] = []
    return answer(parse(text), variables or {}, TREE, missing.append), missing


BOTH = {"app": {"releases": [{"version": 2}, {"version": 1}]}}
FRAGMENT = "query($n: String!) { app(name: $n) { ...A owner { id } } } fragment A on App { id }"
VIEWER = {"viewer": {"email": "a@b"}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("query($n: String!) { app(name: $n) { id } }", {"app": {"id": "x"}}),
        ("query Q($n: String!) { small: app(name: $n) { name: id } }", {"small": {"name": "x"}}),
        ('{ app(name: "y") { releases(first: 1, where: {a: [1]}) { version } } }', BOTH),
        (FRAGMENT, {"app": {"id": "x", "owner": None}}),
        ("query { viewer { ... on User { email } } } # a comment", VIEWER),
        ("query @skip(if: false) { viewer { email @include(if: true) } }", VIEWER),
    ],
)
def test_an_answer_has_the_fields_and_names_that_the_query_has(text: str, found: dict[str, Any]) -> None:
    assert ask(text, {"n": "x"}) == (found, [])


def test_a_field_that_is_not_there_is_null_and_told() -> None:
    assert ask("{ viewer { email moons { id } } }") == ({"viewer": {"email": "a@b", "moons": None}}, ["viewer.moons"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mutation Launch($i: I!) { launch(input: $i) { id } }", "mutation Launch is not implemented"),
        ("query { launch { id } }", "query launch is not implemented"),
        ("subscription { a }", "subscription is not implemented"),
        ("query { viewer { email ", "ends too early"),
        ("query { viewer ~ }", "cannot be read at '~ }'"),
        ("query { app(name \"x\") { id } }", "expected ':'"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_cannot_be_read_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(QueryError, match=problem):
        ask(text)
