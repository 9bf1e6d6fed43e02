"""boto3 as the backend uses it."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, StandIn

MIB = 1 << 20


def test_what_was_put_is_got_back_with_its_headers_and_metadata(r2: StandIn) -> None:
    s3 = r2.client()
    s3.put_object(Bucket=BUCKET, Key="a/ü b+c.txt", Body=b"hello", ContentType="text/plain", Metadata={"who": "me"})
    got = s3.get_object(Bucket=BUCKET, Key="a/ü b+c.txt")
    assert got["Body"].read() == b"hello"
    assert (got["ContentType"], got["Metadata"], got["ContentLength"]) == ("text/plain", {"who": "me"}, 5)
    head = s3.head_object(Bucket=BUCKET, Key="a/ü b+c.txt")
    assert head["ETag"] == '"5d41402abc4b2a76b9719d911017c592"' == got["ETag"]


def test_a_multipart_upload_is_joined_and_read_by_range(r2: StandIn) -> None:
    s3 = r2.client()
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), os.urandom(100)]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big", ContentType="video/mp4")["UploadId"]
    done = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=number, Body=part)["ETag"],
        }
        for number, part in enumerate(parts, 1)
    ]
    listed = s3.list_parts(Bucket=BUCKET, Key="big", UploadId=upload)["Parts"]
    assert [part["Size"] for part in listed] == [5 * MIB, 5 * MIB, 100]
    s3.complete_multipart_upload(Bucket=BUCKET, Key="big", UploadId=upload, MultipartUpload={"Parts": done[::-1]})
    whole = b"".join(parts)
    got = s3.get_object(Bucket=BUCKET, Key="big")
    assert got["ETag"].endswith('-3"')
    assert got["ContentType"] == "video/mp4"
    assert got["Body"].read() == whole
    start = 5 * MIB - 3
    ranged = s3.get_object(Bucket=BUCKET, Key="big", Range=f"bytes={start}-{start + 9}")
    assert ranged["Body"].read() == whole[start : start + 10]
    assert ranged["ContentRange"] == f"bytes {start}-{start + 9}/{len(whole)}"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


def test_pages_of_both_list_versions_tell_every_key_once_and_in_order(r2: StandIn) -> None:
    s3 = r2.client()
    keys = sorted([f"p/{number:02}" for number in range(7)] + ["p/x/1", "p/x/2", "p/y/1", "q", "p/&<>\u00e9 "])
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    for version in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(version).paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 3})
        assert [found["Key"] for page in pages for found in page.get("Contents", [])] == keys
        pages = s3.get_paginator(version).paginate(
            Bucket=BUCKET, Prefix="p/", Delimiter="/", PaginationConfig={"PageSize": 2}
        )
        found = [
            entry.get("Key") or entry.get("Prefix")
            for page in pages
            for entry in (*page.get("Contents", []), *page.get("CommonPrefixes", []))
        ]
        assert sorted(found) == sorted(["p/x/", "p/y/"] + [key for key in keys if key.count("/") == 1])


def test_copying_keeps_or_replaces_what_is_known_of_an_object(r2: StandIn) -> None:
    s3 = r2.client()
    s3.put_object(Bucket=BUCKET, Key="from", Body=b"x", Metadata={"a": "1"}, ContentType="a/b")
    s3.copy_object(Bucket=BUCKET, Key="kept", CopySource={"Bucket": BUCKET, "Key": "from"})
    s3.copy_object(
        Bucket=BUCKET,
        Key="replaced",
        CopySource=f"{BUCKET}/from",
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="c/d",
    )
    kept, replaced = (s3.get_object(Bucket=BUCKET, Key=key) for key in ("kept", "replaced"))
    assert (kept["Metadata"], kept["ContentType"], kept["Body"].read()) == ({"a": "1"}, "a/b", b"x")
    assert (replaced["Metadata"], replaced["ContentType"], replaced["Body"].read()) == ({"b": "2"}, "c/d", b"x")


def test_deleted_objects_are_gone(r2: StandIn) -> None:
    s3 = r2.client()
    for key in ("1", "2", "3"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    s3.delete_object(Bucket=BUCKET, Key="1")
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "2"}, {"Key": "never there"}]})
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["3"]
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=BUCKET, Key="1")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=BUCKET, Key="1")


def test_presigned_urls_upload_and_download(r2: StandIn) -> None:
    s3, context = r2.client(), ssl.create_default_context(cafile=str(r2.ca))
    params = {"Bucket": BUCKET, "Key": "up load", "ContentType": "video/mp4"}
    put = urllib.request.Request(
        s3.generate_presigned_url("put_object", params), b"video", {"Content-Type": "video/mp4"}, method="PUT"
    )
    urllib.request.urlopen(put, context=context).close()
    url = s3.generate_presigned_url(
        "get_object",
        {"Bucket": BUCKET, "Key": "up load", "ResponseContentDisposition": 'attachment; filename="a.mp4"'},
    )
    with urllib.request.urlopen(url, context=context) as got:
        assert got.read() == b"video"
        assert got.headers["Content-Disposition"] == 'attachment; filename="a.mp4"'
        assert got.headers["Content-Type"] == "video/mp4"


def test_a_create_happens_once_and_a_swap_needs_the_current_etag(r2: StandIn) -> None:
    s3 = r2.client()
    first = s3.put_object(Bucket=BUCKET, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=BUCKET, Key="k", Body=b"2", IfNoneMatch="*")
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"3", IfMatch=first)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=BUCKET, Key="k", Body=b"4", IfMatch=first)
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"3"


def test_the_default_checksums_of_boto3_are_refused_unless_the_setting_accepts_them(r2: StandIn) -> None:
    front = r2.service.front
    modern = r2.client(request_checksum_calculation="when_supported", response_checksum_validation="when_supported")
    with pytest.raises(ClientError, match="Unauthorized"):
        modern.put_object(Bucket=BUCKET, Key="k", Body=b"1")
    front.behave(replace(front.behaviour, unsigned_streaming="501"))
    with pytest.raises(ClientError, match="NotImplemented"):
        modern.put_object(Bucket=BUCKET, Key="k", Body=b"1")
    front.behave(replace(front.behaviour, unsigned_streaming="accept"))
    for body in (b"", b"x" * 100_000, os.urandom(3 * MIB)):
        modern.put_object(Bucket=BUCKET, Key="k", Body=body)
        assert modern.get_object(Bucket=BUCKET, Key="k")["Body"].read() == body
    assert front.seen.requests[-2].warning.startswith("STREAMING-UNSIGNED-PAYLOAD-TRAILER")


def test_an_object_token_may_not_configure_the_bucket(r2: StandIn) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        r2.client().get_bucket_cors(Bucket=BUCKET)
    rules = r2.client(ADMIN_TOKEN).get_bucket_cors(Bucket=BUCKET)["CORSRules"]
    assert rules[0]["AllowedOrigins"] == ["https://app.example"]
