"""The edge's answers to invalid requests: 400, 408, 414 and 431, with the usual headers and log entry."""

from __future__ import annotations

import time

from parity.fly.edge.context import EdgeContext
from parity.fly.edge.headers import Headers, Origin, new_request_id, response_to_client
from parity.fly.edge.log import Entry

REASONS = {
    400: "not a valid request",
    408: "the request's head was not complete in time",
    414: "the request's target is too long",
    431: "the request's headers are too long",
}


def refuse(context: EdgeContext, status: int, origin: Origin, method: bytes = b"", target: bytes = b"") -> Headers:
    """Note the refusal for ``/fly/requests`` and return the headers of its answer, which has no body.

    ``method`` and ``target`` are empty when the request did not get so far.
    """
    now = time.time()
    request_id = new_request_id(context.region, now)
    pristine = context.config.service.http_options.response.pristine
    headers = response_to_client(
        [(b"content-length", b"0")], origin.protocol, request_id, pristine=pristine, extra=context.response_headers
    )
    entry = Entry(
        request_id.decode(),
        now,
        origin.protocol.decode(),
        method.decode("latin-1"),
        target[: context.settings.url_limit].decode("latin-1"),
        origin.client_ip.decode(),
        websocket=False,
    )
    entry.status, entry.to_client, entry.outcome = status, headers, f"refused: {REASONS[status]}"
    entry.head_ms = entry.end_ms = 0.0
    context.log.add(entry)
    return headers
