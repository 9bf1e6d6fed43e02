"""What a boto3 of any version does to the stand-in; run by its own interpreter, prints what it observed as JSON."""

import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError

BUCKET = os.environ["BUCKET"]
VERSION = tuple(int(part) for part in botocore.__version__.split(".")[:2])
MIB = 1 << 20


def client(key: str = "R2_KEY", secret: str = "R2_SECRET", **config: Any) -> Any:
    if VERSION >= (1, 36):
        config = {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            **config,
        }
    return boto3.client(
        "s3",
        endpoint_url=os.environ["R2_URL"],
        aws_access_key_id=os.environ.get(key, key),
        aws_secret_access_key=os.environ.get(secret, secret),
        region_name="auto",
        config=Config(retries={"total_max_attempts": 1}, signature_version="s3v4", **config),
    )


def outcome(call: Any, **arguments: Any) -> str:
    """``ok``, or status and code of the refusal."""
    try:
        call(**arguments)
    except ClientError as error:
        return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"
    return "ok"


def send(method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def main() -> None:
    s3 = client()
    seen: dict[str, Any] = {}
    body = os.urandom(100_000)
    seen["put"] = outcome(s3.put_object, Bucket=BUCKET, Key="a/ü +&.bin", Body=body, Metadata={"m": "1"})
    got = s3.get_object(Bucket=BUCKET, Key="a/ü +&.bin")
    seen["get"] = got["Body"].read() == body and got["Metadata"] == {"m": "1"}
    seen["create again"] = outcome(s3.put_object, Bucket=BUCKET, Key="a/ü +&.bin", Body=b"", IfNoneMatch="*")
    seen["missing"] = outcome(s3.get_object, Bucket=BUCKET, Key="none")
    seen["missing head"] = outcome(s3.head_object, Bucket=BUCKET, Key="none")
    seen["unknown key"] = outcome(client(key="nobody").list_objects_v2, Bucket=BUCKET)
    seen["wrong secret"] = outcome(client(secret="wrong").list_objects_v2, Bucket=BUCKET)
    seen["tagging"] = outcome(s3.put_object, Bucket=BUCKET, Key="t", Body=b"", Tagging="")
    seen["policy"] = outcome(s3.get_bucket_policy, Bucket=BUCKET)
    seen["bucket configuration"] = outcome(s3.get_bucket_cors, Bucket=BUCKET)
    seen["range"] = s3.get_object(Bucket=BUCKET, Key="a/ü +&.bin", Range="bytes=10-19")["Body"].read() == body[10:20]
    seen["past the end"] = outcome(s3.get_object, Bucket=BUCKET, Key="a/ü +&.bin", Range="bytes=100000-")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
    parts = []
    for number, size in ((1, 5 * MIB), (2, 5 * MIB), (3, 7)):
        answer = s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=number, Body=b"x" * size)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    done = {"Bucket": BUCKET, "Key": "big", "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    seen["multipart"] = outcome(s3.complete_multipart_upload, **done)
    seen["multipart again"] = outcome(s3.complete_multipart_upload, **done)
    seen["size"] = s3.head_object(Bucket=BUCKET, Key="big")["ContentLength"]
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "a/ü +&.bin"})
    seen["keys"] = [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    put = s3.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "signed", "ContentType": "text/plain"})
    seen["presigned put"] = send("PUT", put, b"hello", **{"Content-Type": "text/plain"})[0]
    seen["presigned put, other type"] = send("PUT", put, b"hello", **{"Content-Type": "text/html"})[0]
    seen["presigned get"] = send("GET", s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "signed"}))
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in ("copy", "big", "signed")]})
    s3.delete_object(Bucket=BUCKET, Key="a/ü +&.bin")
    seen["left"] = s3.list_objects_v2(Bucket=BUCKET).get("KeyCount")
    if VERSION >= (1, 36):
        default = client(request_checksum_calculation="when_supported")
        seen["default checksums"] = outcome(default.put_object, Bucket=BUCKET, Key="d", Body=b"x")
    json.dump({"version": botocore.__version__, "seen": seen}, sys.stdout)


main()
