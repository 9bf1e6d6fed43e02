import http.server
import multiprocessing
import ssl
import threading
from pathlib import Path

import httpx
import pytest

from parity.certs import Certificates, ensure_certificates

NAMES = ("localhost", "127.0.0.1", "api.fly.dev")


def make(folder: Path, names: tuple[str, ...] = NAMES) -> Certificates:
    return ensure_certificates(folder / "ca", folder / "trust", names)


def test_a_client_that_trusts_the_ca_reaches_a_server_with_the_leaf(tmp_path: Path) -> None:
    files = make(tmp_path)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.chain, files.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://localhost:{server.server_port}/"
    try:
        trusting = ssl.create_default_context(cafile=files.ca)
        assert httpx.head(url, verify=trusting, trust_env=False).status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.head(url, verify=ssl.create_default_context(), trust_env=False)
    finally:
        server.shutdown()
        server.server_close()


def test_any_bucket_is_reached_under_the_name_of_its_host(tmp_path: Path) -> None:
    files = make(tmp_path, ("localhost", "*.r2.localhost"))
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=files.ca)
    server.load_cert_chain(files.chain, files.key)
    _shake_hands(server, client, "made-on-demand.r2.localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake_hands(server, client, "a.b.r2.localhost")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)


def test_a_second_call_keeps_the_files(tmp_path: Path) -> None:
    before = make(tmp_path).chain.read_bytes()
    assert make(tmp_path).chain.read_bytes() == before


def test_a_new_name_makes_a_new_leaf_under_the_same_ca(tmp_path: Path) -> None:
    first = make(tmp_path)
    ca, leaf = first.ca.read_bytes(), first.chain.read_bytes()
    second = make(tmp_path, (*NAMES, "r2.localhost"))
    assert second.ca.read_bytes() == ca
    assert second.chain.read_bytes() != leaf


def test_keys_are_private_and_the_trust_folder_holds_the_ca_alone(tmp_path: Path) -> None:
    make(tmp_path)
    assert [path.name for path in (tmp_path / "trust").iterdir()] == ["ca.pem"]
    for name in ("ca.key", "leaf.key"):
        assert (tmp_path / "ca" / name).stat().st_mode & 0o077 == 0


def test_processes_that_start_together_end_with_one_ca(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=make, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "trust" / "ca.pem").read_bytes() == (tmp_path / "ca" / "ca.pem").read_bytes()
    make(tmp_path)
