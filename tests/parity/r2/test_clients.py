"""Unchanged clients over TLS: boto3 of five ages, others in Python, JavaScript and Go, the aws CLI, rclone, restic.

They are those of ``tests/tools.py``; a test skips, saying why, where one could not be had.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.parity.r2.conftest import BUCKET, OBJECT_TOKEN, StandIn
from tests.tools import BOTO3 as OLD_BOTO3
from tests.tools import TOOLS, Unavailable

pytestmark = pytest.mark.timeout(600)
HERE = Path(__file__).parent / "clients"


def _run(arguments: list[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run = subprocess.run(
        arguments, env=kept | environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, f"{' '.join(arguments)}\n{run.stdout}\n{run.stderr}"
    return run.stdout


def program(name: str) -> Path:
    """The program or folder of ``tests.tools``; the test skips with the reason where it could not be had."""
    try:
        return TOOLS[name].find()
    except Unavailable as error:
        pytest.skip(str(error))


def _environment(r2: StandIn) -> dict[str, str]:
    return {
        "R2_URL": r2.url,
        "R2_KEY": OBJECT_TOKEN.access_key,
        "R2_SECRET": OBJECT_TOKEN.secret,
        "BUCKET": BUCKET,
        "AWS_CA_BUNDLE": str(r2.ca),
        "SSL_CERT_FILE": str(r2.ca),
        "NODE_EXTRA_CA_CERTS": str(r2.ca),
        "AWS_ACCESS_KEY_ID": OBJECT_TOKEN.access_key,
        "AWS_SECRET_ACCESS_KEY": OBJECT_TOKEN.secret,
        "AWS_ENDPOINT_URL": r2.url,
        "AWS_DEFAULT_REGION": "auto",
        # What R2 needs of every SDK since 2025; `parity env` exports it too.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


BOTO3 = {
    "put": "ok",
    "get": True,
    "create again": "412 PreconditionFailed",
    "missing": "404 NoSuchKey",
    "missing head": "404 404",
    "unknown key": "401 Unauthorized",
    "wrong secret": "403 SignatureDoesNotMatch",
    "tagging": "501 NotImplemented",
    "policy": "501 NotImplemented",
    "bucket configuration": "403 AccessDenied",
    "range": True,
    "past the end": "416 InvalidRange",
    "multipart": "ok",
    "multipart again": "404 NoSuchUpload",
    "size": 10 * (1 << 20) + 7,
    "keys": ["a/ü +&.bin", "big", "copy"],
    "presigned put": 200,
    "presigned put, other type": 403,
    "presigned get": [200, "hello"],
    "left": 0,
}


@pytest.mark.parametrize("version", [*OLD_BOTO3, "newest", "ours"])
def test_boto3_sees_the_same_r2_in_every_version(r2: StandIn, version: str) -> None:
    interpreter = sys.executable if version == "ours" else str(program(f"boto3-{version}"))
    told = json.loads(_run([interpreter, str(HERE / "boto3_battery.py")], _environment(r2)))
    # The defaults of boto3 since 1.36 are what R2 refuses; before, there was nothing to refuse.
    default = told["seen"].pop("default checksums", None)
    assert told["seen"] == BOTO3
    assert default == (None if version == "1.35.99" else "401 Unauthorized")


def test_the_aws_cli_lists_puts_gets_and_syncs(r2: StandIn, tmp_path: Path) -> None:
    aws, environment = str(program("awscli")), _environment(r2)
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "small.txt").write_text("small")
    (folder / "sub" / "large.bin").write_bytes(os.urandom(20 << 20))
    _run([aws, "s3", "cp", str(folder / "small.txt"), f"s3://{BUCKET}/one/small.txt"], environment)
    assert "small.txt" in _run([aws, "s3", "ls", f"s3://{BUCKET}/one/"], environment)
    _run([aws, "s3", "sync", str(folder), f"s3://{BUCKET}/two"], environment)
    _run([aws, "s3", "sync", f"s3://{BUCKET}/two", str(tmp_path / "back")], environment)
    assert (tmp_path / "back" / "sub" / "large.bin").read_bytes() == (folder / "sub" / "large.bin").read_bytes()
    _run([aws, "s3", "rm", "--recursive", f"s3://{BUCKET}/two"], environment)
    assert [found["Key"] for found in r2.client().list_objects_v2(Bucket=BUCKET)["Contents"]] == ["one/small.txt"]


def test_rclone_lists_copies_and_syncs(r2: StandIn, tmp_path: Path) -> None:
    rclone = str(program("rclone"))
    environment = {
        "RCLONE_CONFIG": str(tmp_path / "none"),
        "RCLONE_CONFIG_R2_TYPE": "s3",
        "RCLONE_CONFIG_R2_PROVIDER": "Cloudflare",
        "RCLONE_CONFIG_R2_ENDPOINT": r2.url,
        "RCLONE_CONFIG_R2_ACCESS_KEY_ID": OBJECT_TOKEN.access_key,
        "RCLONE_CONFIG_R2_SECRET_ACCESS_KEY": OBJECT_TOKEN.secret,
        "RCLONE_CONFIG_R2_REGION": "auto",
        # As Cloudflare's page on rclone says for tokens that may not create buckets.
        "RCLONE_CONFIG_R2_NO_CHECK_BUCKET": "true",
        "RCLONE_CA_CERT": str(r2.ca),
    }
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a b.txt").write_text("text")
    (folder / "large.bin").write_bytes(os.urandom(12 << 20))
    small_parts = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M"]
    _run([rclone, "copy", *small_parts, str(folder), f"r2:{BUCKET}/r"], environment)
    assert _run([rclone, "cat", f"r2:{BUCKET}/r/sub/a b.txt"], environment) == "text"
    listed = _run([rclone, "lsf", "-R", f"r2:{BUCKET}/r"], environment).split("\n")
    assert sorted(filter(None, listed)) == ["large.bin", "sub/", "sub/a b.txt"]
    _run([rclone, "check", str(folder), f"r2:{BUCKET}/r"], environment)
    (folder / "large.bin").unlink()
    _run([rclone, "sync", str(folder), f"r2:{BUCKET}/r"], environment)
    assert [found["Key"] for found in r2.client().list_objects_v2(Bucket=BUCKET)["Contents"]] == ["r/sub/a b.txt"]


IN_PYTHON: dict[str, dict[str, object]] = {
    "boto3_resource": {"same": True, "keys": ["resource/copy", "resource/large"], "left": 0},
    "s3fs": {
        "same": True,
        "keys": [f"{BUCKET}/s3fs/{name}" for name in ("copy", "large", "small")],
        "exists": [True, False],
        "left": 0,
    },
    "obstore": {
        "same": True,
        "range": True,
        "create again": "refused",
        "keys": ["obstore/copy", "obstore/large", "obstore/small"],
        "left": 0,
    },
    "opendal": {
        "same": True,
        "type": "text/plain",
        "keys": ["opendal/copy", "opendal/large", "opendal/small"],
        "left": 0,
    },
    "minio": {
        "same": True,
        "signed": 200,
        "keys": ["minio/copy", "minio/large", "minio/signed"],
        "missing": "NoSuchKey",
        "left": 0,
    },
    "s3cmd": {"same": True, "keys": ["s3cmd/copy", "s3cmd/large"], "left": 0},
}


@pytest.mark.parametrize("client", IN_PYTHON)
def test_another_client_in_python_writes_reads_lists_and_deletes(r2: StandIn, client: str) -> None:
    script = [str(program("python-clients")), str(HERE / "python_clients.py"), client]
    assert json.loads(_run(script, _environment(r2))) == IN_PYTHON[client]


def test_the_transfer_manager_of_go_writes_reads_and_presigns(r2: StandIn) -> None:
    seen = json.loads(_run([str(program("go-client"))], _environment(r2)))
    assert seen == {
        "parts": 3,
        "same": True,
        "create again": "PreconditionFailed",
        # Its default is the trailer that R2 refuses.
        "default checksums": "Unauthorized",
        "presigned": 200,
    }


def test_restic_backs_up_checks_and_restores(r2: StandIn, tmp_path: Path) -> None:
    restic, source = str(program("restic")), tmp_path / "source"
    source.mkdir()
    (source / "small.txt").write_text("small")
    (source / "large.bin").write_bytes(os.urandom(20 << 20))
    environment = _environment(r2) | {
        "RESTIC_REPOSITORY": f"s3:{r2.url}/{BUCKET}/restic",
        "RESTIC_PASSWORD": "secret",
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }
    restic_ = [restic, "--cacert", str(r2.ca), "-o", "s3.bucket-lookup=path", "-o", "s3.region=auto"]
    _run([*restic_, "init"], environment)
    _run([*restic_, "backup", "."], environment, source)
    _run([*restic_, "check", "--read-data"], environment)
    _run([*restic_, "restore", "latest", "--target", str(tmp_path / "back")], environment)
    assert (tmp_path / "back" / "large.bin").read_bytes() == (source / "large.bin").read_bytes()
    _run([*restic_, "forget", "latest", "--prune", "--keep-last", "1"], environment)


def node_folder(folder: Path, script: str) -> tuple[str, Path]:
    """The node to run and a folder with the script of ``clients`` beside the packages that it imports."""
    (folder / "node_modules").symlink_to(program("node-packages"))
    shutil.copy(HERE / script, folder)
    return str(program("node")), folder


def test_the_sdk_of_another_language_uploads_and_downloads(r2: StandIn, tmp_path: Path) -> None:
    node, folder = node_folder(tmp_path, "sdk.mjs")
    seen = json.loads(_run([node, "sdk.mjs"], _environment(r2), folder))
    assert seen == {
        "upload": 200,
        "otherType": 403,
        # By far the most reported failure of uploads to R2 in 2025 and 2026.
        "defaultPresigner": [400, "BadDigest"],
        "download": [200, "video/mp4", True],
        "parts": 10 * (1 << 20) + 10,
        "keys": ["js/parts.mp4", "js/source.mp4"],
        "createAgain": [412, "PreconditionFailed"],
    }


def test_aws4fetch_writes_reads_and_presigns(r2: StandIn, tmp_path: Path) -> None:
    node, folder = node_folder(tmp_path, "aws4fetch.mjs")
    assert json.loads(_run([node, "aws4fetch.mjs"], _environment(r2), folder)) == {
        "put": 200,
        "same": True,
        "createAgain": 412,
        "presigned": 200,
        "presignedOtherVerb": 403,
        "listed": ["aws4fetch/a b+ü.bin", "aws4fetch/signed"],
        "deleted": 204,
    }
