"""Films go to the bucket in parts. The page keeps the ETag of each part, and confirms them all at the end."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from secrets import token_hex
from typing import Any

from scout import bucket
from scout.accounts import home
from scout.settings import BUCKET, MISTAKE

PART = 8 * 1024 * 1024
# A child process that decodes a film for its poster: frames take a hundred times as much memory as the film.
_DECODER = "import sys; film = sys.stdin.buffer.read(); frames = [film + b'.' for _ in range(100)]"
# Presigned URLs live that long.
URL_S = 1800


class Unfinished(Exception):
    """The parts are not those that were announced."""


def _document(account: str, film: str) -> str:
    return f"{home(account)}films/{film}.json"


def begin(account: str, size: int, kind: str) -> dict[str, Any]:
    film = token_hex(8)
    key = f"{home(account)}films/{film}.video"
    upload = bucket.ask("create_multipart_upload", Key=key, ContentType=kind)["UploadId"]
    document = {"id": film, "key": key, "upload": upload, "bytes": size, "ready": False}
    bucket.put(_document(account, film), document, new=True)
    parts = []
    for number, start in enumerate(range(0, size, PART), 1):
        length = {} if MISTAKE == "size_unsigned" else {"ContentLength": min(PART, size - start)}
        wanted = {"Bucket": BUCKET, "Key": key, "UploadId": upload, "PartNumber": number, **length}
        url = bucket.S3.generate_presigned_url("upload_part", wanted, ExpiresIn=URL_S)
        parts.append({"number": number, "from": start, "to": min(size, start + PART), "url": url})
    return {"id": film, "key": key, "parts": parts}


def confirm(account: str, film: str, etags: list[str]) -> None:
    """Raises ``Absent`` for a film that there is not, ``Unfinished`` where its bytes are not all there."""
    document, etag = bucket.get(_document(account, film))
    if document["ready"]:
        return
    parts = [{"PartNumber": number, "ETag": one} for number, one in enumerate(etags, 1)]
    wanted = {"Key": document["key"], "UploadId": document["upload"], "MultipartUpload": {"Parts": parts}}
    try:
        with suppress(bucket.Absent):  # completed by a request whose answer was lost: then the film is there
            bucket.ask("complete_multipart_upload", **wanted)
    except bucket.Unreachable as error:
        if MISTAKE != "parts_unchecked":
            raise Unfinished(str(error)) from None
    if MISTAKE != "parts_unchecked":
        try:
            there = bucket.ask("head_object", Key=document["key"])["ContentLength"]
        except bucket.Absent:
            raise Unfinished("nothing of it came") from None
        if there != document["bytes"]:
            raise Unfinished(f"{there} of {document['bytes']} bytes came")
    with suppress(bucket.Changed):  # by the same confirmation, sent twice
        bucket.put(_document(account, film), {**document, "ready": True}, etag=etag)
    if MISTAKE == "poster_unchecked":
        film_bytes = bucket.ask("get_object", Key=document["key"])["Body"].read()
        subprocess.run([sys.executable, "-c", _DECODER], input=film_bytes, check=False)


def url_of(account: str, film: str, key: str) -> str:
    """Where the film plays. Raises ``Absent``."""
    if MISTAKE != "any_film_for_anyone":
        document, _ = bucket.get(_document(account, film))
        if not document["ready"]:
            raise bucket.Absent
        key = document["key"]
    return str(bucket.S3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key}, ExpiresIn=URL_S))
