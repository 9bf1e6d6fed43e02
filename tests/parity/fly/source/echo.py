"""The app behind the edge in these tests: raw ASGI, each path shows one trait."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

SEEN: list[dict[str, object]] = []
EVENTS: list[str] = []


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await ROUTES.get(scope["path"], not_found)(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await asyncio.sleep(float(os.environ.get("ECHO_BOOT_S", "0")))
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if scope["path"] == "/ws/refuse":
        await send({"type": "websocket.close", "code": 1008})
        return
    orders = json.loads(dict(scope["headers"]).get(b"x-hand", b"{}"))
    if order := orders.get(os.environ["FLY_MACHINE_ID"]):
        sent = [(name.encode(), value.encode()) for name, value in order[0].items()]
        await send({"type": "websocket.http.response.start", "status": 409, "headers": sent})
        await send({"type": "websocket.http.response.body", "body": order[1].encode()})
        return
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message.get("text") == "who":
            await send({"type": "websocket.send", "text": os.environ["FLY_MACHINE_ID"]})
            continue
        if message["type"] == "websocket.disconnect":
            EVENTS.append(f"ws {message.get('code')} {message.get('reason') or ''}".strip())
            return
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4002, "reason": "enough"})
            return
        await send(
            {"type": "websocket.send", **{k: message[k] for k in ("text", "bytes") if message.get(k) is not None}}
        )


async def respond(send: Send, status: int, body: bytes, headers: Headers = ()) -> None:
    sent = [(b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive) -> tuple[int, int]:
    size, total = 0, 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return size, total
        body = message.get("body", b"")
        size, total = size + len(body), total + sum(body[:1])
        if not message.get("more_body"):
            return size, total


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """What arrived: method, path, headers in order, size of the body, the peer."""
    size, _ = await read_body(receive)
    answer = {
        "method": scope["method"],
        "path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in scope["headers"]],
        "size": size,
        "scheme": scope["scheme"],
        "peer": scope["client"][0],
        "machine": os.environ["FLY_MACHINE_ID"],
        "env": dict(os.environ),
        "pid": os.getpid(),
    }
    await respond(
        send,
        200,
        json.dumps(answer).encode(),
        [(b"content-type", b"application/json"), (b"x-dup", b"a"), (b"x-dup", b"b")],
    )


async def health(scope: Scope, receive: Receive, send: Send) -> None:
    headers = dict(scope["headers"])
    Path("checks.txt").write_text(json.dumps({n.decode(): v.decode() for n, v in headers.items()}))
    await respond(send, 503 if Path("sick").exists() else int(os.environ.get("HEALTH", "200")), b"well")


async def sick(scope: Scope, receive: Receive, send: Send) -> None:
    Path("sick").write_text("")
    await respond(send, 200, b"ok")


async def checks(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, Path("checks.txt").read_bytes())


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    """``?N`` bytes, in pieces of 64 KiB, without a length."""
    left = int(scope["query_string"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"video/mp4")]})
    piece = bytes(65536)
    while left:
        size = min(left, 65536)
        left -= size
        await send({"type": "http.response.body", "body": piece[:size], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def text(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"text/plain")]
    if scope["query_string"]:
        headers.append((b"content-encoding", scope["query_string"]))
    await respond(send, 200, b"word " * 2000, headers)


async def hold(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers only when the file ``go`` is there; notes a client that leaves."""
    EVENTS.append("held")
    gone = asyncio.create_task(watch(receive))
    while not Path("go").exists() and not gone.done():  # noqa: ASYNC110 - the file comes from another request
        await asyncio.sleep(0.01)
    if gone.done():
        EVENTS.append("client left")
        return
    gone.cancel()
    await respond(send, 200, b"held")


async def watch(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def go(scope: Scope, receive: Receive, send: Send) -> None:
    Path("go").write_text("")
    await respond(send, 200, b"ok")


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, json.dumps(EVENTS).encode())


async def write(scope: Scope, receive: Receive, send: Send) -> None:
    root = Path(__file__).parent.parent / "user_data"
    existed = root.exists()
    root.mkdir(exist_ok=True)
    await respond(send, 200, json.dumps({"existed": existed, "root": str(root)}).encode())


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 413, b"too large", [(b"connection", b"close")])


async def crash(scope: Scope, receive: Receive, send: Send) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def cut(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


async def replay(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends the request on to the Machine in the query, unless it has been there."""
    if os.environ["FLY_MACHINE_ID"] == scope["query_string"].decode():
        await show(scope, receive, send)
        return
    await read_body(receive)
    await respond(send, 409, b"elsewhere", [(b"fly-replay", b"instance=%s;state=s1" % scope["query_string"])])


async def hand(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as the header ``x-hand`` says for this Machine (``{machine: [headers, body]}``), else shows the request.

    A request that the edge brought back by a fallback is shown.
    """
    headers = dict(scope["headers"])
    orders = json.loads(headers.get(b"x-hand", b"{}"))
    order = orders.get(os.environ["FLY_MACHINE_ID"])
    if order is None or (b"fly-replay-failed" in headers and not order[2:]):
        await show(scope, receive, send)
        return
    await read_body(receive)
    SEEN.append({"path": scope["path"]})
    await respond(send, 409, order[1].encode(), [(n.encode(), v.encode()) for n, v in order[0].items()])


async def seen(scope: Scope, receive: Receive, send: Send) -> None:
    """How many requests this Machine answered with a replay."""
    await respond(send, 200, json.dumps(len(SEEN)).encode())


async def loop(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 409, b"", [(b"fly-replay", b"instance=" + os.environ["FLY_MACHINE_ID"].encode())])


async def boom(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("boom")


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 404, b"not found")


ROUTES = {
    "/show": show,
    "/health": health,
    "/sick": sick,
    "/checks": checks,
    "/big": big,
    "/text": text,
    "/hold": hold,
    "/go": go,
    "/events": events,
    "/write": write,
    "/early": early,
    "/crash": crash,
    "/cut": cut,
    "/replay": replay,
    "/loop": loop,
    "/hand": hand,
    "/api/hand": hand,
    "/seen": seen,
    "/boom": boom,
}
