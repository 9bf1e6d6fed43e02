"""Buckets themselves and their CORS policies."""

from __future__ import annotations

import re

from parity.r2 import cors, xml
from parity.r2.errors import R2Error, invalid_bucket_name, no_cors_configuration
from parity.r2.operations.context import Context
from parity.r2.operations.listing import require_bucket
from parity.r2.reply import Reply, xml_reply
from parity.r2.sigv4 import REGIONS

BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


async def head_bucket(context: Context) -> Reply:
    await require_bucket(context)
    return Reply(200)


async def create_bucket(context: Context) -> Reply:
    body = await context.xml_body()
    if not BUCKET_NAME.fullmatch(context.request.bucket):
        raise invalid_bucket_name()
    if body.strip():
        region = xml.child(xml.parse(body, "CreateBucketConfiguration"), "LocationConstraint") or ""
        if region.lower() not in REGIONS:
            context.rules.refuse("region", region=region)
    await context.store.create_bucket(context.request.bucket)
    return Reply(200, [("Location", f"/{context.request.bucket}")])


async def delete_bucket(context: Context) -> Reply:
    await context.store.delete_bucket(context.request.bucket)
    context.policies.pop(context.request.bucket, None)
    return Reply(204)


async def get_location(context: Context) -> Reply:
    await require_bucket(context)
    return xml_reply("LocationConstraint", ["auto"])


async def get_cors(context: Context) -> Reply:
    await require_bucket(context)
    policy = context.policies.get(context.request.bucket)
    if policy is None:
        raise no_cors_configuration()
    return Reply(200, [("Content-Type", "application/xml")], cors.to_xml(policy))


async def put_cors(context: Context) -> Reply:
    body = await context.xml_body()
    await require_bucket(context)
    try:
        policy = cors.from_xml(body)
    except cors.PolicyError as error:
        context.rules.refuse("cors-policy", problem=str(error))
        raise R2Error(400, "InvalidRequest", str(error)) from None
    context.policies[context.request.bucket] = policy
    return Reply(200)


async def delete_cors(context: Context) -> Reply:
    await require_bucket(context)
    context.policies.pop(context.request.bucket, None)
    return Reply(204)
