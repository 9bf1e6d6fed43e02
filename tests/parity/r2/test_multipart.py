"""Parts that are copied, and parts that are asked for."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading

import pytest
from botocore.exceptions import ClientError
from tests.parity.r2.conftest import BUCKET, StandIn

from parity.r2.content import ContentWriter

MIB = 1 << 20


def test_a_copied_part_is_digested_and_written_beside_the_event_loop(
    r2: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    loop_thread: int = r2.call(here())
    s3, data = r2.client(), os.urandom(8 * MIB)
    s3.put_object(Bucket=BUCKET, Key="source", Body=data)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="copy")["UploadId"]
    written: dict[int, int] = {}
    original = ContentWriter.write

    def write(writer: ContentWriter, block: bytes) -> None:
        thread = threading.get_ident()
        written[thread] = written.get(thread, 0) + len(block)
        original(writer, block)

    monkeypatch.setattr(ContentWriter, "write", write)
    source = {"Bucket": BUCKET, "Key": "source"}
    copied = s3.upload_part_copy(
        Bucket=BUCKET, Key="copy", UploadId=upload, PartNumber=1, CopySource=source, CopySourceRange="bytes=1-8388607"
    )
    assert copied["CopyPartResult"]["ETag"] == f'"{hashlib.md5(data[1:]).hexdigest()}"'
    assert sum(written.values()) == 8 * MIB - 1
    assert written.get(loop_thread, 0) < MIB
    parts = {"Parts": [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]}
    s3.complete_multipart_upload(Bucket=BUCKET, Key="copy", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == data[1:]


@pytest.mark.parametrize(("number", "size", "range_"), [(1, 5 * MIB, "bytes 0-5242879/"), (2, 10, "bytes 5242880-")])
def test_a_part_is_told_by_head_as_by_get(r2: StandIn, number: int, size: int, range_: str) -> None:
    s3, parts = r2.client(), []
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    for index, length in enumerate((5 * MIB, 10), 1):
        body = bytes([index]) * length
        part = s3.upload_part(Bucket=BUCKET, Key="k", UploadId=upload, PartNumber=index, Body=body)
        parts.append({"PartNumber": index, "ETag": part["ETag"]})
    s3.complete_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket=BUCKET, Key="k", PartNumber=number)
    assert got["Body"].read() == bytes([number]) * size
    for told in (got, s3.head_object(Bucket=BUCKET, Key="k", PartNumber=number)):
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert (told["ContentLength"], told["PartsCount"]) == (size, 2)
        assert told["ContentRange"].startswith(range_)
    with pytest.raises(ClientError, match="416"):
        s3.head_object(Bucket=BUCKET, Key="k", PartNumber=3)
