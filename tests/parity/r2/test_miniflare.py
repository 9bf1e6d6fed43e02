"""Our answers beside those of Miniflare's simulator, captured from a real bucket on 2026-06-11."""

from __future__ import annotations

import http.client
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.parity.r2.conftest import BUCKET, OBJECT_TOKEN, SETTINGS
from tests.parity.r2.lab import Answer, Call, Lab, ask, lab, signed
from tests.parity.r2.test_clients import node_folder

from parity.r2.sigv4 import Token

pytestmark = pytest.mark.timeout(900)
BASE = "/cdn-cgi/local/r2/s3"
MD5 = {"good": "nUJYL1gI6Ai6GkHbfwhz8A==", "other": "1B2M2Y8AsgTpgAmY7PhCfg=="}

Change = Callable[[dict[str, str]], dict[str, str]]


def _same(headers: dict[str, str]) -> dict[str, str]:
    return headers


def _without(name: str) -> Change:
    return lambda headers: {key: value for key, value in headers.items() if key != name}


def _authorization(before: str, after: str) -> Change:
    return lambda headers: headers | {"authorization": headers["authorization"].replace(before, after)}


K, B = f"/{BUCKET}/k", f"/{BUCKET}"
COMPLETE = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>"
REPLACED = {"x-amz-metadata-directive": "REPLACE"}
PART = b"<Part><PartNumber>1</PartNumber><ETag>a</ETag></Part>"


def _part_copy(headers: dict[str, str]) -> Call:
    return Call("PUT", f"{B}/mp", "partNumber=1&uploadId=none", {"x-amz-copy-source": K, **headers})


# What is asked, and how the signed headers are changed before they are sent. `k` holds "12345".
CASES: dict[str, tuple[Call, Change]] = {
    "get": (Call("GET", K), _same),
    "head": (Call("HEAD", K), _same),
    "presigned get": (Call("GET", K, sign="query"), _same),
    "missing key": (Call("GET", f"{B}/none"), _same),
    "missing key, head": (Call("HEAD", f"{B}/none"), _same),
    "anonymous": (Call("GET", K, sign=""), _same),
    "unknown key": (Call("GET", K, token=Token("nobody", "x")), _same),
    "wrong secret": (Call("GET", K, token=Token(OBJECT_TOKEN.access_key, "x")), _same),
    "skew": (Call("GET", K, age=1000), _same),
    "expired": (Call("GET", K, sign="query", age=100, expires=10), _same),
    "expires too long": (Call("GET", K, sign="query", expires=604_801), _same),
    "no payload hash": (Call("GET", K), _without("x-amz-content-sha256")),
    "no date": (Call("GET", K), _without("x-amz-date")),
    "wrong payload": (Call("PUT", K, headers={"x-amz-content-sha256": "0" * 64}, body=b"x"), _same),
    "service": (Call("GET", K), _authorization("/s3/aws4_request", "/sqs/aws4_request")),
    "terminator": (Call("GET", K), _authorization("aws4_request", "aws5_request")),
    "short credential": (Call("GET", K), _authorization("/s3/aws4_request", "")),
    "another scheme": (Call("GET", K), lambda headers: headers | {"authorization": "Bearer x"}),
    "host not signed": (Call("GET", K), _authorization("SignedHeaders=host;", "SignedHeaders=")),
    "session token": (Call("GET", K, headers={"x-amz-security-token": "t"}), _same),
    "form post": (Call("POST", B, sign=""), _same),
    "post on a bucket": (Call("POST", B), _same),
    "tagging": (Call("PUT", K, headers={"x-amz-tagging": "a=b"}, body=b"x"), _same),
    "tagging on a read": (Call("GET", K, headers={"x-amz-tagging": "a=b"}), _same),
    "bucket owner": (Call("GET", K, headers={"x-amz-expected-bucket-owner": "1"}), _same),
    "kms": (Call("PUT", K, headers={"x-amz-server-side-encryption": "aws:kms"}, body=b"x"), _same),
    "acl": (Call("PUT", K, headers={"x-amz-acl": "everyone"}, body=b"x"), _same),
    "storage class": (Call("PUT", K, headers={"x-amz-storage-class": "GLACIER"}, body=b"x"), _same),
    "customer key": (
        Call("GET", K, headers={"x-amz-server-side-encryption-customer-algorithm": "AES256"}),
        _same,
    ),
    "bad md5": (Call("PUT", K, headers={"content-md5": MD5["other"]}, body=b"x"), _same),
    "malformed md5": (Call("PUT", K, headers={"content-md5": "x"}, body=b"x"), _same),
    "range": (Call("GET", K, headers={"range": "bytes=1-2"}), _same),
    "suffix": (Call("GET", K, headers={"range": "bytes=-2"}), _same),
    "range past the end": (Call("GET", K, headers={"range": "bytes=5-"}), _same),
    "inverted range": (Call("GET", K, headers={"range": "bytes=3-1"}), _same),
    "several ranges": (Call("GET", K, headers={"range": "bytes=0-0,2-2"}), _same),
    "other unit": (Call("GET", K, headers={"range": "items=0-1"}), _same),
    "if-match on a missing key": (Call("PUT", f"{B}/new", headers={"if-match": '"a"'}, body=b"x"), _same),
    "if-none-match": (Call("PUT", K, headers={"if-none-match": "*"}, body=b"x"), _same),
    "stale if-match": (Call("PUT", K, headers={"if-match": '"a"'}, body=b"x"), _same),
    "get, stale if-match": (Call("GET", K, headers={"if-match": '"a"'}), _same),
    "get, if-none-match": (Call("GET", K, headers={"if-none-match": "*"}), _same),
    "stale copy": (
        Call("PUT", f"{B}/c", headers={"x-amz-copy-source": K, "x-amz-copy-source-if-match": '"a"'}),
        _same,
    ),
    "copy of nothing": (Call("PUT", f"{B}/c", headers={"x-amz-copy-source": f"{B}/none"}), _same),
    "copy without a key": (Call("PUT", f"{B}/c", headers={"x-amz-copy-source": BUCKET}), _same),
    "copy directive": (
        Call("PUT", f"{B}/c", headers={"x-amz-copy-source": K, "x-amz-metadata-directive": "MIX"}),
        _same,
    ),
    "copy of a part, conditional": (_part_copy({"x-amz-copy-source-if-match": '"a"'}), _same),
    "copy of a part, open range": (_part_copy({"x-amz-copy-source-range": "bytes=1-"}), _same),
    "copy of a part, inverted range": (_part_copy({"x-amz-copy-source-range": "bytes=3-1"}), _same),
    "encryption of a part": (
        Call("PUT", f"{B}/mp", "partNumber=1&uploadId=none", {"x-amz-server-side-encryption": "AES256"}, b"x"),
        _same,
    ),
    "part named twice": (
        Call("POST", f"{B}/mp", "uploadId=none", body=COMPLETE.replace(b"<Part>", PART + b"<Part>")),
        _same,
    ),
    "head, range": (Call("HEAD", K, headers={"range": "bytes=1-2"}), _same),
    "list": (Call("GET", B, "list-type=2"), _same),
    "list parameter": (Call("GET", B, "list-type=2&colour=red"), _same),
    "list parameter, version 1": (Call("GET", B, "colour=red"), _same),
    "list version": (Call("GET", B, "list-type=3"), _same),
    "token in version 1": (Call("GET", B, "continuation-token=x"), _same),
    "max-keys": (Call("GET", B, "max-keys=x"), _same),
    "max-keys 0": (Call("GET", B, "max-keys=0"), _same),
    "encoding": (Call("GET", B, "encoding-type=xml"), _same),
    "delete nothing": (Call("POST", B, "delete=", body=b"<Delete></Delete>"), _same),
    "delete, not XML": (Call("POST", B, "delete=", body=b"<Delete>"), _same),
    "delete, quiet": (
        Call("POST", B, "delete=", body=b"<Delete><Quiet>true</Quiet><Object><Key>q</Key></Object></Delete>"),
        _same,
    ),
    "delete, not quite quiet": (
        Call("POST", B, "delete=", body=b"<Delete><Quiet>yes</Quiet><Object><Key>q</Key></Object></Delete>"),
        _same,
    ),
    "create an upload": (Call("POST", f"{B}/mp", "uploads="), _same),
    "part of no upload": (Call("PUT", f"{B}/mp", "partNumber=1&uploadId=none", body=b"x"), _same),
    "complete no upload": (Call("POST", f"{B}/mp", "uploadId=none", body=COMPLETE), _same),
    "complete with nothing": (
        Call("POST", f"{B}/mp", "uploadId=none", body=b"<CompleteMultipartUpload></CompleteMultipartUpload>"),
        _same,
    ),
    "abort no upload": (Call("DELETE", f"{B}/mp", "uploadId=none"), _same),
    "part number": (Call("PUT", f"{B}/mp", "partNumber=10001&uploadId=none", body=b"x"), _same),
    "part number, not a number": (Call("PUT", f"{B}/mp", "partNumber=x&uploadId=none", body=b"x"), _same),
    "part number, empty": (Call("PUT", f"{B}/mp", "partNumber=&uploadId=none", body=b"x"), _same),
    "list version, empty": (Call("GET", B, "list-type="), _same),
    "encoding, empty": (Call("GET", B, "encoding-type="), _same),
    "copy of an encoded path": (Call("PUT", f"{B}/c", headers={"x-amz-copy-source": f"{BUCKET}%2Fk"}), _same),
    "delete": (Call("DELETE", f"{B}/none"), _same),
    "unknown verb": (Call("PATCH", K), _same),
    "object acl": (Call("GET", K, "acl="), _same),
    "object tagging": (Call("PUT", K, "tagging=", body=b"x"), _same),
    "bucket policy": (Call("GET", B, "policy="), _same),
    "policy status": (Call("GET", B, "policyStatus="), _same),
    "encryption": (Call("GET", B, "encryption="), _same),
    "versioning": (Call("GET", B, "versioning="), _same),
    "bucket tagging": (Call("GET", B, "tagging="), _same),
    "object lock": (Call("GET", B, "object-lock="), _same),
    "replication": (Call("GET", B, "replication="), _same),
    "location": (Call("GET", B, "location="), _same),
    "location with more": (Call("GET", B, "location=&colour=red"), _same),
    "put on an unknown parameter": (Call("PUT", B, "colour=red"), _same),
    "head bucket": (Call("HEAD", B), _same),
}
# Where we differ, and why ours is right.
OURS_IS_RIGHT: dict[str, tuple[Call, str]] = {
    "infrequent access": (
        Call("PUT", f"{B}/ia", headers={"x-amz-storage-class": "STANDARD_IA"}, body=b"x"),
        "R2 has the class; the simulator cannot keep it and says so in its source",
    ),
    "parts of an upload": (Call("GET", f"{B}/mp", "uploadId=none"), "R2 has it; the simulator's binding has not"),
    "key too long": (
        Call("PUT", f"{B}/{'k' * 1025}", body=b"x"),
        "the simulator fails with 500 where its binding says our words",
    ),
    "metadata too large": (
        Call("PUT", K, headers={"x-amz-meta-m": "v" * 8192}, body=b"x"),
        "the simulator fails with 500 where its binding says our words",
    ),
    "merged metadata": (
        Call("PUT", f"{B}/c", headers={"x-amz-copy-source": K, "x-amz-metadata-directive": "MERGE"}),
        "R2's documents on extensions have it; the simulator has not",
    ),
    "condition on a copy's target": (
        Call("PUT", K, headers={"x-amz-copy-source": K, **REPLACED, "cf-copy-destination-if-none-match": "*"}),
        "R2's documents on extensions have it; the simulator ignores it",
    ),
    "list of uploads": (Call("GET", B, "uploads="), "R2 has it; the simulator's binding has not"),
    "cors of the bucket": (
        Call("GET", B, "cors=", token=OBJECT_TOKEN),
        "R2 keeps a policy for each bucket and guards it by token; the simulator has neither",
    ),
    "preflight": (
        Call("OPTIONS", K, headers={"origin": "https://s.example", "access-control-request-method": "PUT"}, sign=""),
        "R2 answers from the bucket's policy; the simulator allows every origin",
    ),
}


@contextmanager
def _miniflare(scratch: Path) -> Iterator[str]:
    node, folder = node_folder(scratch, "miniflare.mjs")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(Path.home()),
        "BUCKET": BUCKET,
        "R2_KEY": OBJECT_TOKEN.access_key,
        "R2_SECRET": OBJECT_TOKEN.secret,
    }
    process = subprocess.Popen(
        [node, "miniflare.mjs"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        url = process.stdout.readline().strip()
        if not url:
            pytest.skip("Miniflare does not start here")
        yield url
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(60)


def _send(address: str, call: Call, change: Change) -> Answer:
    host = urlsplit(address).netloc
    path, query, headers = signed(replace(call, path=BASE + call.path), host)
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        url = path + (f"?{query}" if query else "")
        connection.request(call.method, url, call.body or None, change(headers))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


def _gist(answer: Answer) -> tuple[object, ...]:
    """What must be equal: the status, and the body of an error or an object, or the elements of a document."""
    body = answer.body.replace(BASE.encode(), b"")
    if answer.code:
        # The requests differ in their paths, so what was signed does too.
        return answer.status, answer.code, answer.message
    if body.startswith(b"<?xml"):
        return answer.status, sorted({element.tag for element in answer.xml.iter()})
    return answer.status, body


async def _both(address: str, ours: Lab, call: Call, change: Change) -> tuple[object, object]:
    """What we answer and what they answer."""
    theirs = _gist(_send(address, call, change))
    path, query, headers = signed(call)
    headers = change(headers)
    if call.method in ("PUT", "POST"):
        headers["content-length"] = str(len(call.body))
    return _gist(await ask(ours.front, call.method, path, query, headers, call.body)), theirs


async def test_our_answers_are_those_captured_from_a_real_bucket(tmp_path: Path) -> None:
    differences: list[str] = []
    with _miniflare(tmp_path) as address:
        captured = replace(SETTINGS.behaviour, error_codes="captured", head_range="honour")
        async with lab(replace(SETTINGS, behaviour=captured)) as ours:
            first = Call("PUT", K, body=b"12345")
            assert await _both(address, ours, first, _same) == ((200, b""), (200, b""))
            for name, (call, change) in CASES.items():
                mine, theirs = await _both(address, ours, call, change)
                if mine != theirs:
                    differences.append(f"{name}\n  ours   {mine}\n  theirs {theirs}")
            for name, (call, reason) in OURS_IS_RIGHT.items():
                mine, theirs = await _both(address, ours, call, _same)
                if mine == theirs:
                    differences.append(f"{name}: no difference any more ({reason})")
    assert not differences, "\n".join(differences)
