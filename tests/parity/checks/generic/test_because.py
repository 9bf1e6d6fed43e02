"""A proof counts only where its reason matches ``because``. So that pattern must fit the sentence of its own cause, and
no other: neither a refusal that any request may meet, nor what another check says of another cause."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

from parity.checks import generic
from parity.checks.mark import About

MODULES = {
    one.name: importlib.import_module(f"parity.checks.generic.{one.name}")
    for one in pkgutil.iter_modules(generic.__path__)
}
# Reasons with which any check may fail that sends requests.
REFUSALS = (
    "GET /notes answered 500: Internal Server Error",
    "POST /notes answered 503: unavailable",
    "POST /notes answered 401: sign in first",
    "GET /notes answered 404: Not Found",
    "GET /notes answered nothing: ReadTimeout('')",
    "the upload to R2 answered 403: AccessDenied",
    "the preflight of the upload answered 403: CORS is not configured",
    "an assertion without a message failed",
)
# Checks of which such a refusal is the subject.
OF_A_REFUSAL = {
    "test_someone_new_can_come": "answered 500",
    "test_large_upload": "preflight of the upload",
    "test_played_in_ranges": "preflight of the upload",
    "test_played_in_browser": "preflight of the upload",
}
# Sentences of other checks that speak of the same cause.
SAME_CAUSE = ("while R2 is down … answers … without Access-Control-Allow-Origin",)


def abouts() -> dict[str, tuple[str, About]]:
    """The module and the mark of each generic check that has a broken variant."""
    found = {}
    for place, module in MODULES.items():
        for name, function in vars(module).items():
            marks = (
                getattr(function, "pytestmark", ()) if getattr(function, "__module__", "") == module.__name__ else ()
            )
            if mark := next((mark for mark in marks if mark.name == "check"), None):
                found[name] = place, About(**mark.kwargs)
    return {name: (place, about) for name, (place, about) in found.items() if about.because}


ABOUTS = abouts()


def texts(node: ast.AST) -> Iterator[str]:
    """The texts in a module's functions, with … for each value in them; no docstrings and no arguments of marks."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for name, field in ast.iter_fields(node):
        for one in field if isinstance(field, list) else [field]:
            docstring = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
            if isinstance(one, ast.AST) and name != "decorator_list" and not docstring:
                yield from texts(one)


SENTENCES = {
    place: [text for text in texts(ast.parse(inspect.getsource(module))) if " " in text]
    for place, module in MODULES.items()
}


@pytest.mark.parametrize("name", ABOUTS)
def test_a_pattern_matches_no_refusal_that_any_request_may_meet(name: str) -> None:
    because = ABOUTS[name][1].because
    matched = [refusal for refusal in REFUSALS if re.search(because, refusal)]
    assert [refusal for refusal in matched if OF_A_REFUSAL.get(name, refusal) not in refusal] == []
    assert bool(matched) == (name in OF_A_REFUSAL)


@pytest.mark.parametrize("name", ABOUTS)
def test_a_pattern_matches_no_sentence_of_another_cause(name: str) -> None:
    """A sentence of another module is of the same cause where a check there is proven by it too."""
    home, about = ABOUTS[name]
    wrong = [
        f"{place}: {text}"
        for place, found in SENTENCES.items()
        for text in found
        if place != home and re.search(about.because, text) and not text.startswith(SAME_CAUSE)
        if not any(there == place and re.search(other.because, text) for there, other in ABOUTS.values())
    ]
    assert wrong == []


def test_the_sentences_are_found() -> None:
    assert any("is not shown by a Machine with an empty disk" in text for text in SENTENCES["test_durability"])
    assert len(ABOUTS) > 60
