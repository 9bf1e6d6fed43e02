"""A boto3 client with the settings that R2 requires. The first use imports boto3, which takes 0.3 s and 30 MB."""

import contextlib
import datetime
import functools
import gc
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def make_client(settings: Settings, connections: int) -> "S3Client":
    """Signature V4, region `auto`, path style, no `aws-chunked` bodies (R2 refuses them), no retries of its own."""
    import boto3
    import botocore.session
    from botocore.config import Config

    config = Config(
        region_name="auto",
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        connect_timeout=settings.r2_connect_seconds,
        read_timeout=settings.r2_read_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=connections,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=moment)
    client = boto3.Session(botocore_session=session).client(
        "s3",
        endpoint_url=settings.r2_endpoint,
        aws_access_key_id=settings.r2_access_key_id,
        aws_secret_access_key=settings.r2_secret_access_key,
        config=config,
    )
    _spare_the_collector()
    return client


def moment(text: str) -> datetime.datetime:
    """A time in an answer: ISO 8601 in bodies, RFC 9110 in headers, else whatever botocore can read.

    botocore's own parser guesses the format, which takes two thirds of the time of a listing.
    """
    from botocore.utils import parse_timestamp

    with contextlib.suppress(ValueError):
        found = datetime.datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
        if found.tzinfo is not None:
            return found
    parsed: datetime.datetime = parse_timestamp(text)
    return parsed


@functools.cache
def _spare_the_collector() -> None:
    """Exclude boto3's 50,000 permanent objects from garbage collection, once: scanning them in each full collection
    delays every request by about 30 ms."""
    gc.freeze()
