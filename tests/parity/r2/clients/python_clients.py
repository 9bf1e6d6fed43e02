"""Clients in Python that are not boto3's client: each writes, reads, lists and deletes; prints what it saw as JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

URL, KEY, SECRET, BUCKET = (os.environ[name] for name in ("R2_URL", "R2_KEY", "R2_SECRET", "BUCKET"))
LARGE = bytes(range(256)) * (48 << 10)


def boto3_resource() -> dict[str, Any]:
    import boto3
    from boto3.s3.transfer import TransferConfig

    s3 = boto3.resource("s3", endpoint_url=URL, region_name="auto", aws_access_key_id=KEY, aws_secret_access_key=SECRET)
    bucket = s3.Bucket(BUCKET)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    bucket.upload_fileobj(io.BytesIO(LARGE), "resource/large", Config=parts)
    copy = s3.Object(BUCKET, "resource/copy")
    copy.copy_from(CopySource={"Bucket": BUCKET, "Key": "resource/large"})
    seen = {
        "same": copy.get()["Body"].read() == LARGE,
        "keys": [found.key for found in bucket.objects.filter(Prefix="resource/")],
    }
    bucket.objects.filter(Prefix="resource/").delete()
    return {**seen, "left": len(list(bucket.objects.filter(Prefix="resource/")))}


def s3fs() -> dict[str, Any]:
    import s3fs as library

    files = library.S3FileSystem(
        key=KEY, secret=SECRET, endpoint_url=URL, client_kwargs={"region_name": "auto"}, use_listings_cache=False
    )
    folder = f"{BUCKET}/s3fs"
    with files.open(f"{folder}/large", "wb", block_size=5 << 20) as file:
        file.write(LARGE)
    files.pipe(f"{folder}/small", b"hello")
    files.copy(f"{folder}/small", f"{folder}/copy")
    with files.open(f"{folder}/large", "rb") as file:
        file.seek(100)
        middle = file.read(10)
    seen = {
        "same": files.cat(f"{folder}/large") == LARGE and middle == LARGE[100:110],
        "keys": sorted(files.ls(folder, detail=False)),
        "exists": [files.exists(f"{folder}/small"), files.exists(f"{folder}/none")],
    }
    files.rm(folder, recursive=True)
    return {**seen, "left": len(files.find(folder))}


def obstore() -> dict[str, Any]:
    import obstore as library
    from obstore.exceptions import AlreadyExistsError
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=URL,
        region="auto",
        access_key_id=KEY,
        secret_access_key=SECRET,
        virtual_hosted_style_request=False,
    )
    library.put(store, "obstore/large", LARGE, chunk_size=5 << 20)
    library.put(store, "obstore/small", b"hello", mode="create")
    try:
        library.put(store, "obstore/small", b"again", mode="create")
    except AlreadyExistsError:
        again = "refused"
    else:
        again = "stored"
    library.copy(store, "obstore/large", "obstore/copy")
    seen = {
        "same": bytes(library.get(store, "obstore/copy").bytes()) == LARGE,
        "range": bytes(library.get_range(store, "obstore/large", start=100, length=10)) == LARGE[100:110],
        "create again": again,
        "keys": sorted(found["path"] for found in library.list(store, prefix="obstore/").collect()),
    }
    library.delete(store, seen["keys"])
    return {**seen, "left": len(library.list(store, prefix="obstore/").collect())}


def opendal() -> dict[str, Any]:
    import opendal as library

    store = library.Operator(
        "s3", bucket=BUCKET, endpoint=URL, region="auto", access_key_id=KEY, secret_access_key=SECRET
    )
    with store.open("opendal/large", "wb", chunk=5 << 20) as file:
        file.write(LARGE)
    store.write("opendal/small", b"hello", content_type="text/plain")
    store.copy("opendal/large", "opendal/copy")
    seen = {
        "same": bytes(store.read("opendal/copy")) == LARGE,
        "type": store.stat("opendal/small").content_type,
        "keys": sorted(found.path for found in store.list("opendal/")),
    }
    store.remove_all("opendal/")
    return {**seen, "left": len(list(store.list("opendal/")))}


def minio() -> dict[str, Any]:
    import urllib3
    from minio import Minio, S3Error
    from minio.commonconfig import CopySource
    from minio.deleteobjects import DeleteObject

    client = Minio(urlsplit(URL).netloc, access_key=KEY, secret_key=SECRET, region="auto")
    client.put_object(BUCKET, "minio/large", io.BytesIO(LARGE), -1, part_size=5 << 20)
    client.copy_object(BUCKET, "minio/copy", CopySource(BUCKET, "minio/large"))
    answer = client.get_object(BUCKET, "minio/copy")
    url = client.presigned_put_object(BUCKET, "minio/signed", expires=timedelta(minutes=5))
    trusted = urllib3.PoolManager(ca_certs=os.environ["SSL_CERT_FILE"])
    try:
        client.stat_object(BUCKET, "minio/none")
    except S3Error as error:
        missing = error.code
    seen = {
        "same": answer.read() == LARGE,
        "signed": trusted.request("PUT", url, body=b"hello").status,
        "keys": [found.object_name for found in client.list_objects(BUCKET, prefix="minio/", recursive=True)],
        "missing": missing,
    }
    errors = list(client.remove_objects(BUCKET, [DeleteObject(key) for key in seen["keys"]]))
    return {**seen, "left": len(errors) + len(list(client.list_objects(BUCKET, prefix="minio/", recursive=True)))}


def s3cmd() -> dict[str, Any]:
    place = urlsplit(URL)
    program = [
        *(str(Path(sys.executable).with_name("s3cmd")), "--config=/dev/null", f"--access_key={KEY}"),
        *(f"--secret_key={SECRET}", "--region=auto", f"--host={place.netloc}", f"--host-bucket={place.netloc}"),
        *(f"--ca-certs={os.environ['SSL_CERT_FILE']}", "--multipart-chunk-size-mb=5"),
    ]

    def run(*arguments: str) -> str:
        done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"s3cmd {arguments[0]}: {done.stderr}")
        return done.stdout

    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder, "large")
        large.write_bytes(LARGE)
        run("put", str(large), f"s3://{BUCKET}/s3cmd/large")
        run("cp", f"s3://{BUCKET}/s3cmd/large", f"s3://{BUCKET}/s3cmd/copy")
        run("get", f"s3://{BUCKET}/s3cmd/copy", f"{folder}/back")
        seen = {
            "same": Path(folder, "back").read_bytes() == LARGE,
            "keys": sorted(line.split("/", 3)[-1] for line in run("ls", f"s3://{BUCKET}/s3cmd/").splitlines()),
        }
        run("del", "--recursive", "--force", f"s3://{BUCKET}/s3cmd/")
        return {**seen, "left": len(run("ls", f"s3://{BUCKET}/s3cmd/").splitlines())}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))  # noqa: T201
