"""The part of GraphQL that flyctl's queries use: selections with aliases, arguments, variables and fragments.

A query is answered from a tree of dictionaries; a value that takes arguments is a function of them. An unknown field is
answered with null and reported, because flyctl can continue without it. An unknown field at the root is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"(?P<skip>[\s,]+|#[^\n]*)|(?P<spread>\.\.\.)"
    r'|(?P<string>"(?:\\.|[^"\\])*")|(?P<word>[\w.+-]+)|(?P<mark>[{}()\[\]:$!=@|&])'
)

Resolver = Callable[[Mapping[str, Any]], Any]


class QueryError(Exception):
    """An error of the response's ``errors``; ``code`` is the code in its extensions."""

    def __init__(self, message: str, code: str = "") -> None:
        self.code = code
        super().__init__(message)

    def as_json(self) -> dict[str, Any]:
        extensions = {"extensions": {"code": self.code}} if self.code else {}
        return {"data": None, "errors": [{"message": str(self), **extensions}]}


@dataclass
class Selection:
    """One requested field. If ``fragment`` is set, it stands for the fields of that fragment."""

    name: str
    alias: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    fields: list[Selection] = field(default_factory=list)
    fragment: str = ""


@dataclass
class Document:
    """One operation and the fragments that it uses. ``name`` may be empty."""

    kind: str = "query"
    name: str = ""
    fields: list[Selection] = field(default_factory=list)
    fragments: dict[str, list[Selection]] = field(default_factory=dict)


@dataclass(frozen=True)
class Variable:
    """An argument's value that comes with the request."""

    name: str


def parse(text: str) -> Document:
    """Read a query. Raises ``QueryError``."""
    return _Parser(text).document()


def answer(
    document: Document, variables: Mapping[str, Any], tree: Mapping[str, Any], missing: Callable[[str], None]
) -> dict[str, Any]:
    """The data of the response. Calls ``missing`` with each unknown field. Raises ``QueryError``."""
    for one in _flat(document.fields, document.fragments):
        if one.name not in tree:
            raise QueryError(f"{document.kind} {document.name or one.name} is not implemented by the stand-in")
    found = _select(document.fields, tree, document, variables, missing, "")
    assert isinstance(found, dict)
    return found


def _flat(fields: list[Selection], fragments: Mapping[str, list[Selection]]) -> Iterator[Selection]:
    for one in fields:
        if one.fragment:
            yield from _flat(fragments.get(one.fragment, []), fragments)
        elif one.name:
            yield one
        else:
            yield from _flat(one.fields, fragments)


def _select(
    fields: list[Selection],
    value: Any,
    document: Document,
    variables: Mapping[str, Any],
    missing: Callable[[str], None],
    where: str,
) -> Any:
    if isinstance(value, list):
        return [_select(fields, item, document, variables, missing, where) for item in value]
    if not isinstance(value, Mapping):
        return value
    result: dict[str, Any] = {}
    for one in _flat(fields, document.fragments):
        place = f"{where}.{one.name}" if where else one.name
        if one.name not in value:
            if one.name != "__typename":
                missing(place)
            result[one.alias or one.name] = None
            continue
        found = value[one.name]
        if callable(found):
            found = found(
                {
                    name: variables.get(given.name) if isinstance(given, Variable) else given
                    for name, given in one.arguments.items()
                }
            )
        if one.fields:
            found = _select(one.fields, found, document, variables, missing, place)
        result[one.alias or one.name] = found
    return result


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise QueryError(f"the query cannot be read at {text[at : at + 20]!r}")
            if not found["skip"]:
                self._tokens.append(found[0])
            at = found.end()
        self._at = 0

    def document(self) -> Document:
        found = Document()
        while self._at < len(self._tokens):
            if self._next() == "{":
                found.fields = self._fields()
                continue
            kind = self._take()
            name = self._take() if self._next() not in ("{", "(", "@") else ""
            if kind == "fragment":
                self._until("{")
                found.fragments[name] = self._fields()
            elif kind in ("query", "mutation"):
                self._until("{")
                found.kind, found.name, found.fields = kind, name, self._fields()
            else:
                raise QueryError(f"{kind} is not implemented by the stand-in")
        return found

    def _fields(self) -> list[Selection]:
        self._expect("{")
        found: list[Selection] = []
        while self._next() != "}":
            found.append(self._spread() if self._next() == "..." else self._field())
        self._expect("}")
        return found

    def _spread(self) -> Selection:
        self._expect("...")
        if self._next() in ("on", "{", "@"):
            self._until("{")
            return Selection("", fields=self._fields())
        return Selection("", fragment=self._take())

    def _field(self) -> Selection:
        one = Selection(self._take())
        if self._next() == ":":
            self._expect(":")
            one.alias, one.name = one.name, self._take()
        if self._next() == "(":
            one.arguments = self._arguments()
        while self._next() == "@":
            self._take()
            self._take()
            if self._next() == "(":
                self._arguments()
        if self._next() == "{":
            one.fields = self._fields()
        return one

    def _arguments(self) -> dict[str, Any]:
        self._expect("(")
        found: dict[str, Any] = {}
        while self._next() != ")":
            name = self._take()
            self._expect(":")
            found[name] = self._value()
        self._expect(")")
        return found

    def _value(self) -> Any:
        token = self._take()
        if token == "$":
            return Variable(self._take())
        if token in ("[", "{"):
            end = "]" if token == "[" else "}"
            while self._next() != end:
                self._take()
            self._take()
            return None  # no query of flyctl's that is answered here depends on such a value
        if token.startswith('"'):
            return token[1:-1]
        return {"true": True, "false": False, "null": None}.get(
            token, int(token) if token.lstrip("-").isdigit() else token
        )

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next()
        if not token:
            raise QueryError("the query ends too early")
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise QueryError(f"the query cannot be read: expected {token!r}")

    def _until(self, token: str) -> None:
        """Skip to ``token``. The skipped parts (types, directives) do not affect the result."""
        while self._next() != token:
            self._take()
