"""An app of bare bytes: what ASGI servers do not send."""

import asyncio
import sys

ANSWERS = {
    b"/eof": b"HTTP/1.1 200 OK\r\nServer: raw\r\nX-CaSe: 1\r\nContent-Type: image/png\r\n\r\nuntil the end",
    b"/trailers": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n",
    b"/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"/garbage": b"SSH-2.0-nonsense\r\n\r\n",
    b"/short": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\nshort",
}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1]
        if path == b"/request":
            body = await reader.readuntil(b"\r\n\r\n")
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(head + body)
            writer.write(answer + head + body)
        else:
            writer.write(ANSWERS[path])
        await writer.drain()
    except asyncio.IncompleteReadError:
        pass  # a port check
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
