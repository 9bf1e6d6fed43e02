"""What TLS alone costs: the same client reads the same bytes from the stand-in, from a server that does nothing but
send them over TLS, and from one that sends them in the clear. Processor time per request, on both sides: unlike
requests a second it hardly depends on what else the machine does."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from parity.bench.r2_load import Target

_SERVE = """
import asyncio, os, ssl, sys
from pathlib import Path
import uvloop
from parity.certs import ensure_certificates
async def main(folder, port, size, tls):
    context = None
    if tls:
        certificates = ensure_certificates(folder / "ca", folder / "trust", ["localhost"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.chain, certificates.key)
    body, block = os.urandom(size), 256 << 10
    async def serve(reader, writer):
        try:
            while True:
                await reader.readuntil(b"\\r\\n\\r\\n")
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % size)
                for start in range(0, size, block):
                    writer.write(body[start : start + block])
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            writer.transport.abort()
    await (await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)).serve_forever()
uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "tls"))
"""
Process = Callable[[list[str], int], AbstractContextManager[int]]


@dataclass(frozen=True)
class Spent:
    """Requests a second, and milliseconds of processor time per request."""

    per_second: float
    server_ms: float
    client_ms: float


@contextmanager
def bare(process: Process, port: int, size: int, *, tls: bool) -> Iterator[tuple[Target, int]]:
    """A server that answers every request without a body with the same ``size`` bytes, and its process id."""
    with tempfile.TemporaryDirectory(prefix="parity-bench-") as folder:
        arguments = [sys.executable, "-c", _SERVE, folder, str(port), str(size), "tls" if tls else "plain"]
        with process(arguments, port) as pid:
            if tls:
                yield Target(f"https://localhost:{port}", f"{folder}/trust/ca.pem"), pid
            else:
                yield Target(f"http://localhost:{port}"), pid


def spent(pid: int, work: Callable[[], int]) -> Spent:
    """What ``work`` takes here and in the process ``pid``; it returns the number of its requests."""
    server, client, began = _processor_seconds(pid), time.process_time(), time.perf_counter()
    count = max(work(), 1)
    return Spent(
        count / (time.perf_counter() - began),
        (_processor_seconds(pid) - server) * 1000 / count,
        (time.process_time() - client) * 1000 / count,
    )


def _processor_seconds(pid: int) -> float:
    """User and system time of a process, from ``/proc`` (proc(5): fields 14 and 15 of ``stat``, in clock ticks)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
