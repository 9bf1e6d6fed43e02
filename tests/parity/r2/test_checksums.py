"""Checksums other than the ETag: checked on the way in, kept, given back, joined of parts."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable

import anycrc
import pytest
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import Answer, Lab, lab

from parity.r2 import checksums

PART = 5 << 20


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        yield found


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _crc(name: str, width: int) -> Callable[[bytes], bytes]:
    return lambda data: anycrc.Model(name).calc(data).to_bytes(width, "big")


DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": _crc("CRC32C", 4),
    "crc64nvme": _crc("CRC64-NVME", 8),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


@pytest.mark.parametrize(
    ("name", "check"),
    # The check values of the catalogue of CRCs, for "123456789".
    [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")],
)
def test_a_crc_is_that_of_the_catalogue(name: str, check: str) -> None:
    digest = checksums.DIGESTS[name][1]()
    digest.update(b"1234")
    digest.update(b"56789")
    assert digest.digest().hex() == check


@pytest.mark.parametrize("name", DIGESTS)
async def test_a_checksum_that_came_with_an_object_is_given_back_on_request(ask: Lab, name: str) -> None:
    header, value = f"x-amz-checksum-{name}", _base64(DIGESTS[name](b"body"))
    put = await ask("PUT", headers={header: value}, body=b"body")
    assert (put.status, put.headers[header]) == (200, value)
    await ask("PUT", f"/{BUCKET}/copy", headers={"x-amz-copy-source": f"/{BUCKET}/k"})
    for key in ("k", "copy"):
        for method in ("GET", "HEAD"):
            asked = await ask(method, f"/{BUCKET}/{key}", headers={"x-amz-checksum-mode": "ENABLED"})
            assert (asked.headers[header], asked.headers["x-amz-checksum-type"]) == (value, "FULL_OBJECT")
            assert header not in (await ask(method, f"/{BUCKET}/{key}")).headers


@pytest.mark.parametrize("name", DIGESTS)
async def test_a_checksum_of_another_body_is_refused_and_nothing_is_stored(ask: Lab, name: str) -> None:
    answer = await ask("PUT", headers={f"x-amz-checksum-{name}": _base64(DIGESTS[name](b"other"))}, body=b"body")
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert (await ask()).status == 404


async def test_a_checksum_and_its_algorithm_are_one(ask: Lab) -> None:
    headers = {"x-amz-checksum-crc32": _base64(DIGESTS["crc32"](b"x")), "x-amz-sdk-checksum-algorithm": "CRC32"}
    assert (await ask("PUT", headers=headers, body=b"x")).status == 200


async def _complete(ask: Lab, upload: str, etags: list[str], headers: dict[str, str] | None = None) -> Answer:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    return await ask("POST", query=f"uploadId={upload}", headers=headers or {}, body=body)


async def _parts(ask: Lab, name: str, bodies: list[bytes]) -> tuple[str, list[str]]:
    begun = await ask("POST", query="uploads=", headers={"x-amz-checksum-algorithm": name.upper()})
    assert begun.headers["x-amz-checksum-algorithm"] == name.upper()
    assert begun.headers["x-amz-checksum-type"] == checksums.PART_TYPES[name]
    upload = begun.xml.findtext("{*}UploadId") or ""
    etags = []
    for number, body in enumerate(bodies, 1):
        headers = {f"x-amz-checksum-{name}": _base64(DIGESTS[name](body))}
        part = await ask("PUT", query=f"partNumber={number}&uploadId={upload}", headers=headers, body=body)
        assert part.headers[f"x-amz-checksum-{name}"] == headers[f"x-amz-checksum-{name}"]
        etags.append(part.etag)
    return upload, etags


BODIES = [b"a" * PART, b"b" * PART, b"tail"]


def _expected(name: str) -> str:
    if name == "crc64nvme":
        return _base64(DIGESTS[name](b"".join(BODIES)))
    return _base64(DIGESTS[name](b"".join(map(DIGESTS[name], BODIES)))) + "-3"


@pytest.mark.parametrize("name", ["crc32", "crc32c", "crc64nvme"])
async def test_the_checksum_of_parts_is_composite_or_of_the_whole_object(ask: Lab, name: str) -> None:
    upload, etags = await _parts(ask, name, BODIES)
    done = await _complete(ask, upload, etags)
    assert done.xml.findtext(f"{{*}}Checksum{name.upper()}") == _expected(name)
    found = await ask("HEAD", headers={"x-amz-checksum-mode": "ENABLED"})
    assert found.headers[f"x-amz-checksum-{name}"] == _expected(name)
    assert found.headers["x-amz-checksum-type"] == checksums.PART_TYPES[name]


async def test_a_complete_may_say_the_checksum_of_the_object_and_is_refused_when_it_is_another(ask: Lab) -> None:
    upload, etags = await _parts(ask, "crc64nvme", BODIES)
    header = "x-amz-checksum-crc64nvme"
    refused = await _complete(ask, upload, etags, {header: _base64(DIGESTS["crc64nvme"](b"other"))})
    assert (refused.status, refused.code) == (400, "BadDigest")
    assert (await _complete(ask, upload, etags, {header: _expected("crc64nvme")})).status == 200


@pytest.mark.parametrize("name", ["sha1", "sha256"])
async def test_a_part_with_a_sha_is_not_implemented_whatever_it_is(ask: Lab, name: str) -> None:
    begun = await ask("POST", query="uploads=", headers={"x-amz-checksum-algorithm": name.upper()})
    upload, value = begun.xml.findtext("{*}UploadId") or "", _base64(DIGESTS[name](b"x"))
    headers = {f"x-amz-checksum-{name}": value}
    answer = await ask("PUT", query=f"partNumber=1&uploadId={upload}", headers=headers, body=b"x")
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert answer.message == f"Header 'x-amz-checksum-{name}' with value '{value}' not implemented"
    assert (await ask("GET", query=f"uploadId={upload}")).xml.findall("{*}Part") == []


@pytest.mark.parametrize(
    ("algorithm", "kind", "status"),
    [
        ("CRC64NVME", "FULL_OBJECT", 200),
        ("CRC64NVME", "COMPOSITE", 501),
        ("CRC32", "COMPOSITE", 200),
        ("CRC32", "FULL_OBJECT", 501),
        ("SHA256", "COMPOSITE", 200),
        ("SHA256", "FULL_OBJECT", 501),
        ("MD5", "", 501),
        ("", "COMPOSITE", 400),
    ],
)
async def test_an_upload_begins_with_the_types_that_r2_has(ask: Lab, algorithm: str, kind: str, status: int) -> None:
    named = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    answer = await ask("POST", query="uploads=", headers={name: value for name, value in named.items() if value})
    assert answer.status == status, answer.body


async def test_a_delete_of_many_may_have_two_digests_of_its_document(ask: Lab) -> None:
    # As object_store sends it, which works with R2.
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    headers = {
        "content-md5": _base64(hashlib.md5(body).digest()),
        "x-amz-checksum-sha256": _base64(DIGESTS["sha256"](body)),
    }
    assert (await ask("POST", f"/{BUCKET}", query="delete=", headers=headers, body=body)).status == 200


@pytest.mark.parametrize("names", [("crc32", "sha256"), ("crc32", "md5"), ("crc64nvme", "crc32c")])
async def test_two_checksums_are_one_too_many(ask: Lab, names: tuple[str, str]) -> None:
    digests: dict[str, Callable[[bytes], bytes]] = {**DIGESTS, "md5": lambda data: hashlib.md5(data).digest()}
    headers = {
        "content-md5" if name == "md5" else f"x-amz-checksum-{name}": _base64(digests[name](b"x")) for name in names
    }
    answer = await ask("PUT", headers=headers, body=b"x")
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.message == "You can only specify one non-default checksum at a time."
