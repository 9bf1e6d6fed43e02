"""What survives a restart."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, SETTINGS, run_stand_in

from parity.certs import Certificates

MIB = 1 << 20


def test_objects_uploads_and_policies_survive_a_restart(tmp_path: Path, certificates: Certificates) -> None:
    settings = replace(SETTINGS, state=tmp_path / "r2")
    large = os.urandom(2 * MIB)
    part = os.urandom(5 * MIB)
    with run_stand_in(settings, certificates) as first:
        s3 = first.client()
        s3.put_object(Bucket=BUCKET, Key="small", Body=b"x", ContentType="a/b", Metadata={"m": "1"})
        s3.put_object(Bucket=BUCKET, Key="large", Body=large)
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
        etag = s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=part)["ETag"]
        rule = {"AllowedOrigins": ["https://other.example"], "AllowedMethods": ["GET"]}
        first.client(ADMIN_TOKEN).put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    with run_stand_in(settings, certificates) as second:
        s3 = second.client()
        got = s3.get_object(Bucket=BUCKET, Key="small")
        assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"x", "a/b", {"m": "1"})
        assert s3.get_object(Bucket=BUCKET, Key="large")["Body"].read() == large
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        s3.complete_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload=parts)
        rules = second.client(ADMIN_TOKEN).get_bucket_cors(Bucket=BUCKET)["CORSRules"]
        assert rules[0]["AllowedOrigins"] == ["https://other.example"]
        s3.delete_object(Bucket=BUCKET, Key="small")
    with run_stand_in(settings, certificates) as third:
        assert third.client().get_object(Bucket=BUCKET, Key="parts")["Body"].read() == part
        with pytest.raises(ClientError, match="NoSuchKey"):
            third.client().get_object(Bucket=BUCKET, Key="small")
