"""Parts that are copied."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading

import pytest
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
