"""What each endpoint of the backend costs on R2: R2 requests, grouped by the API request that caused them.

The backend sends Fly's request id with each R2 call (``x-request-id``), the edge knows the method and path of that
request, and the app's OpenAPI document says which endpoint serves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from parity.r2.seen import Seen, Tally, dollars

# Calls without an id: presigned URLs of browsers, GPU functions, and background work of the backend.
BACKGROUND = "(for no request)"
# The edge remembers its last 500 requests.
FORGOTTEN = "(for a request that the edge no longer knows)"


@dataclass
class Endpoint:
    """The R2 requests that ``calls`` requests to one endpoint caused."""

    calls: int = 0
    tally: Tally = field(default_factory=Tally)

    @property
    def dollars_per_million(self) -> float | None:
        """``None`` where there are no calls to divide by."""
        if not self.calls:
            return None
        return dollars(self.tally.class_a, self.tally.class_b) / self.calls * 1e6

    def to_json(self) -> dict[str, object]:
        return {"calls": self.calls, "dollars_per_million_calls": self.dollars_per_million, **self.tally.to_json()}


def routes_of(openapi: Mapping[str, object]) -> list[tuple[str, str]]:
    """Method and path template of every operation of an OpenAPI document."""
    paths = openapi.get("paths")
    if not isinstance(paths, dict):
        return []
    return [(method.upper(), path) for path, operations in paths.items() for method in operations]


def endpoint_of(method: str, target: str, routes: Sequence[tuple[str, str]]) -> str:
    """``METHOD /template``. Where several templates match, the one with the most literal segments; where none does, the
    path."""
    path = target.partition("?")[0]
    matching = [template for verb, template in routes if verb == method and _matches(path, template)]
    return f"{method} {max(matching, key=_literal, default=path)}"


def _matches(path: str, template: str) -> bool:
    given, wanted = path.split("/"), template.split("/")
    return len(given) == len(wanted) and all(
        segment == name or (_is_parameter(name) and segment != "") for segment, name in zip(given, wanted, strict=True)
    )


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _literal(template: str) -> int:
    return sum(not _is_parameter(segment) for segment in template.split("/"))


def cost_by_endpoint(
    seen: Iterable[Mapping[str, object]], edge: Iterable[Mapping[str, object]], routes: Sequence[tuple[str, str]]
) -> dict[str, Endpoint]:
    """``seen`` as ``Seen.to_json`` gives it, ``edge`` as ``GET /fly/requests`` does."""
    names: dict[str, str] = {}
    found: dict[str, Endpoint] = {}
    for entry in edge:
        name = endpoint_of(str(entry["method"]), str(entry["target"]), routes)
        names[str(entry["id"])] = name
        found.setdefault(name, Endpoint()).calls += 1
    for data in seen:
        request = Seen(**data)  # type: ignore[arg-type]  # the fields are those of to_json
        name = names.get(request.request_id, FORGOTTEN) if request.request_id else BACKGROUND
        found.setdefault(name, Endpoint()).tally.add(request)
    return dict(sorted(found.items()))


def table(endpoints: Mapping[str, Endpoint]) -> str:
    """For people: totals over all calls of an endpoint, and the price of a million of them."""
    head = ("calls", "class A", "class B", "bytes to R2", "bytes from R2", "$ per million", "endpoint")
    rows = [head] + [
        (
            f"{endpoint.calls:,}" if endpoint.calls else "-",
            f"{endpoint.tally.class_a:,}",
            f"{endpoint.tally.class_b:,}",
            f"{endpoint.tally.bytes_in:,}",
            f"{endpoint.tally.bytes_out:,}",
            "-" if endpoint.dollars_per_million is None else f"{endpoint.dollars_per_million:.2f}",
            name,
        )
        for name, endpoint in endpoints.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    return "\n".join(
        "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    )
