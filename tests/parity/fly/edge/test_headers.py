"""What the edge adds to and takes from headers."""

from __future__ import annotations

import re

from parity.fly.edge.headers import SERVER, Origin, new_request_id, request_to_app, response_to_client, value_of

ORIGIN = Origin(b"198.51.100.7", b"https", 443, b"2")


def to_app(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return request_to_app(list(headers), ORIGIN, b"ID-lax", "lax", 1700000000.5)


def test_a_request_id_is_a_ulid_and_the_region() -> None:
    assert re.fullmatch(rb"[0-9A-HJKMNP-TV-Z]{26}-lax", new_request_id("lax"))


def test_request_ids_sort_by_time() -> None:
    assert new_request_id("lax", 1000.0) < new_request_id("lax", 1000.002)


def test_order_case_and_duplicates_of_the_clients_headers_are_kept() -> None:
    sent = [(b"Host", b"a"), (b"X-Dup", b"1"), (b"x-other", b"2"), (b"X-Dup", b"3")]
    assert to_app(*sent)[:4] == sent


def test_x_forwarded_for_keeps_the_clients_own_value_first() -> None:
    value = value_of(to_app((b"X-Forwarded-For", b"10.0.0.1")), b"x-forwarded-for")
    assert value is not None
    assert value.split(b", ")[:2] == [b"10.0.0.1", b"198.51.100.7"]


def test_a_client_cannot_set_what_the_edge_sets() -> None:
    headers = to_app((b"Fly-Client-IP", b"1.1.1.1"), (b"X-Forwarded-Proto", b"http"), (b"Fly-Region", b"ams"))
    assert [v for n, v in headers if n.lower() == b"fly-client-ip"] == [b"198.51.100.7"]
    assert [v for n, v in headers if n.lower() == b"x-forwarded-proto"] == [b"https"]
    assert [v for n, v in headers if n.lower() == b"fly-region"] == [b"lax"]
    assert value_of(to_app((b"Fly-Replay-Src", b"instance=x")), b"fly-replay-src") is None


def test_a_check_may_say_that_a_request_to_one_machine_was_replayed_to_it() -> None:
    headers = to_app((b"Fly-Force-Instance-Id", b"m1"), (b"Fly-Replay-Src", b"instance=harness"))
    assert value_of(headers, b"fly-replay-src") == b"instance=harness"


def test_hop_by_hop_headers_and_those_that_connection_names_are_not_passed_on() -> None:
    names = [n.lower() for n, _ in to_app((b"Connection", b"X-Secret, close"), (b"X-Secret", b"1"), (b"TE", b"gzip"))]
    assert not {b"connection", b"x-secret", b"te"} & set(names)


def test_the_app_gets_every_header_of_flys_table() -> None:
    names = {name for name, _ in to_app()}
    assert names == {
        b"fly-client-ip", b"fly-forwarded-proto", b"fly-forwarded-port", b"fly-forwarded-ssl", b"fly-region",
        b"fly-request-id", b"fly-traceparent", b"fly-tracestate", b"via", b"x-forwarded-for", b"x-forwarded-proto",
        b"x-forwarded-port", b"x-forwarded-ssl", b"x-request-start",
    }  # fmt: skip


def test_x_request_start_is_in_microseconds() -> None:
    assert value_of(to_app(), b"x-request-start") == b"t=1700000000500000"


def test_a_response_has_exactly_one_server_header_and_it_is_flys() -> None:
    headers = response_to_client([(b"Server", b"uvicorn"), (b"x-a", b"1")], b"2", b"ID", pristine=False)
    assert [v for n, v in headers if n.lower() == b"server"] == [SERVER]


def test_via_names_the_clients_protocol() -> None:
    assert value_of(response_to_client([], b"2", b"ID"), b"via") == b"2 fly.io"
    assert value_of(response_to_client([], b"1.1", b"ID"), b"via") == b"1.1 fly.io"


def test_a_pristine_response_gets_nothing_added() -> None:
    sent = [(b"server", b"uvicorn"), (b"x-a", b"1")]
    assert response_to_client(sent, b"2", b"ID", pristine=True) == sent


def test_configured_response_headers_replace_and_an_empty_one_removes() -> None:
    extra = [(b"x-a", b"new"), (b"x-b", b"")]
    headers = response_to_client([(b"X-A", b"old"), (b"X-B", b"old")], b"2", b"ID", extra=extra)
    assert value_of(headers, b"x-a") == b"new"
    assert value_of(headers, b"x-b") is None
