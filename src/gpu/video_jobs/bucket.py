"""The bucket, from inside a Modal function: R2 by boto3, with the variables of the secret `reel-ballers-r2`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NAMES = ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET")
_CONNECT_S, _READ_S, _ATTEMPTS = 5, 30, 4
_TRANSFER_S = 600.0
_CHUNK = 1024 * 1024
# R2 wants parts of one size, the last one excepted; boto3 cuts them so.
_PART = 16 * 1024 * 1024


class Bucket:
    """A `reel.render.MediaStore`. Raises built-in errors only: the app cannot unpickle botocore's.

    FileNotFoundError: the object is not there. ConnectionError: the bucket did not do what it was asked.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Bucket:
        """Raises ValueError naming the variables that the secret lacks."""
        import boto3
        from botocore.config import Config

        missing = [name for name in _NAMES if not environ.get(name)]
        if missing:
            raise ValueError(f"the Modal secret reel-ballers-r2 lacks {', '.join(missing)}")
        # Without these two, boto3 sends aws-chunked bodies, which R2 refuses; any region but auto signs wrongly.
        config = Config(
            region_name="auto",
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = boto3.client(
            "s3",
            endpoint_url=environ["R2_ENDPOINT"],
            aws_access_key_id=environ["R2_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["R2_SECRET_ACCESS_KEY"],
            config=config,
        )
        return cls(client, environ["R2_BUCKET"])

    async def download(self, key: str, path: Path) -> None:
        """Stream an object into a file."""
        await self._guarded(f"GET {key}", self._download, key, path)

    async def upload(self, path: Path, key: str, content_type: str) -> None:
        """Stream a file into an object, in parts over 16 MiB; done only when the bucket says it has every byte."""
        await self._guarded(f"PUT {key}", self._upload, path, key, content_type)

    def _download(self, key: str, path: Path) -> None:
        found = self._client.get_object(Bucket=self._name, Key=key)
        with path.open("wb") as file:
            for chunk in found["Body"].iter_chunks(_CHUNK):
                file.write(chunk)
        _same_size(key, expected=found["ContentLength"], got=path.stat().st_size)

    def _upload(self, path: Path, key: str, content_type: str) -> None:
        from boto3.s3.transfer import TransferConfig

        parts = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=2)
        self._client.upload_file(str(path), self._name, key, ExtraArgs={"ContentType": content_type}, Config=parts)
        stored = self._client.head_object(Bucket=self._name, Key=key)["ContentLength"]
        _same_size(key, expected=path.stat().st_size, got=stored)

    async def _guarded(self, what: str, act: Any, *given: Any) -> None:
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            async with asyncio.timeout(_TRANSFER_S):
                await asyncio.to_thread(act, *given)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"{what}: there is no such object in {self._name}") from None
            raise ConnectionError(f"{what}: {error}") from None
        except TimeoutError:
            raise ConnectionError(f"{what}: not done within {_TRANSFER_S:g} s") from None
        except (BotoCoreError, HTTPClientError, S3UploadFailedError) as error:
            raise ConnectionError(f"{what}: {error}") from None


def _same_size(key: str, *, expected: int, got: int) -> None:
    if expected != got:
        raise ConnectionError(f"{key}: {expected} bytes expected, {got} arrived")
