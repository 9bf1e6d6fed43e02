"""What each endpoint costs, from what R2, the edge and the app's description say."""

from __future__ import annotations

import pytest

from parity.r2.cost import BACKGROUND, FORGOTTEN, cost_by_endpoint, endpoint_of, routes_of, table
from parity.r2.seen import Seen

ROUTES = [
    ("GET", "/api/clips"),
    ("POST", "/api/clips"),
    ("GET", "/api/clips/{clip_id}"),
    ("GET", "/api/clips/latest"),
    ("GET", "/api/{kind}/{id}"),
]


def _seen(request_id: str, billing: str, **more: object) -> dict[str, object]:
    seen = Seen(0.0, "PUT", "b", "k", "PutObject", billing, status=200, request_id=request_id)
    return seen.to_json() | more


def _edge(id_: str, method: str, target: str) -> dict[str, object]:
    return {"id": id_, "method": method, "target": target, "status": 200}


@pytest.mark.parametrize(
    ("method", "target", "endpoint"),
    [
        ("GET", "/api/clips?limit=1", "GET /api/clips"),
        ("POST", "/api/clips", "POST /api/clips"),
        ("GET", "/api/clips/clip_1", "GET /api/clips/{clip_id}"),
        ("GET", "/api/clips/latest", "GET /api/clips/latest"),
        ("GET", "/api/games/1", "GET /api/{kind}/{id}"),
        ("GET", "/api/clips/", "GET /api/clips/"),
        ("DELETE", "/api/clips/1", "DELETE /api/clips/1"),
        ("GET", "/ws/extractions", "GET /ws/extractions"),
    ],
)
def test_a_path_belongs_to_the_template_with_the_most_literal_segments(method: str, target: str, endpoint: str) -> None:
    assert endpoint_of(method, target, ROUTES) == endpoint


def test_routes_are_read_from_what_the_app_says_of_itself() -> None:
    assert routes_of({"paths": {"/a/{b}": {"get": {}, "put": {}}}}) == [("GET", "/a/{b}"), ("PUT", "/a/{b}")]
    assert routes_of({}) == []


def test_what_r2_was_asked_counts_for_the_endpoint_whose_request_it_names() -> None:
    edge = [_edge(f"id-{number}", "GET", f"/api/clips/{number}") for number in range(4)]
    edge.append(_edge("id-post", "POST", "/api/clips"))
    seen = [_seen("id-0", "A", bytes_in=10), _seen("id-3", "B", bytes_out=7), _seen("id-post", "A", status=412)]
    found = cost_by_endpoint(seen, edge, ROUTES)
    assert list(found) == ["GET /api/clips/{clip_id}", "POST /api/clips"]
    clip, post = found.values()
    assert (clip.calls, clip.tally.class_a, clip.tally.class_b) == (4, 1, 1)
    assert (clip.tally.bytes_in, clip.tally.bytes_out) == (10, 7)
    # Class A at 4.50 and class B at 0.36 dollars a million, a fourth of each per call.
    assert clip.dollars_per_million == pytest.approx((4.50 + 0.36) / 4)
    assert post.tally.class_a == 1
    assert post.dollars_per_million == pytest.approx(4.50)


def test_what_names_no_request_and_what_names_a_forgotten_one_are_kept_apart() -> None:
    found = cost_by_endpoint([_seen("", "A"), _seen("gone", "B")], [], ROUTES)
    assert {name: (one.calls, one.tally.class_a, one.tally.class_b) for name, one in found.items()} == {
        BACKGROUND: (0, 1, 0),
        FORGOTTEN: (0, 0, 1),
    }
    assert found[BACKGROUND].dollars_per_million is None


def test_the_table_has_a_row_for_each_endpoint() -> None:
    rows = table(cost_by_endpoint([_seen("1", "A"), _seen("", "B")], [_edge("1", "POST", "/api/clips")], ROUTES))
    cells = [row.split(maxsplit=6)[0:6] for row in rows.splitlines()[1:]]
    assert cells == [["-", "0", "1", "0", "0", "-"], ["1", "1", "0", "0", "0", "4.50"]]
    assert rows.splitlines()[2].endswith("  POST /api/clips")
