"""Operations on buckets and their configuration."""

from __future__ import annotations

from parity.r2 import answers, cors, lifecycle, xml
from parity.r2.errors import R2Error, invalid_argument, invalid_bucket_name, malformed_xml, no_cors_configuration
from parity.r2.operations.context import Context, Handler
from parity.r2.operations.listing import require_bucket
from parity.r2.operations.objects import BUCKET_NAME
from parity.r2.reply import Reply, xml_reply
from parity.r2.routes import is_ignored
from parity.r2.sigv4 import REGIONS


async def head_bucket(context: Context) -> Reply:
    await require_bucket(context)
    return Reply(200, [("x-amz-bucket-region", "auto")] if context.rules.holds(45) else [])


async def create_bucket(context: Context) -> Reply:
    body = await context.xml_body()
    if not BUCKET_NAME.fullmatch(context.request.bucket):
        raise invalid_bucket_name()
    if body.strip():
        region = xml.child(xml.parse(body, "CreateBucketConfiguration"), "LocationConstraint") or ""
        if region.lower() not in REGIONS:
            context.rules.refuse_if_on(answers.REGION, region=region)
    if await context.store.has_bucket(context.request.bucket):
        context.rules.refuse_if_on(answers.BUCKET_EXISTS)
    await context.store.create_bucket(context.request.bucket)
    return Reply(200, [("Location", f"/{context.request.bucket}")])


async def delete_bucket(context: Context) -> Reply:
    await context.store.delete_bucket(context.request.bucket)
    context.configured.forget(context.request.bucket)
    return Reply(204)


async def get_location(context: Context) -> Reply:
    await require_bucket(context)
    for name in context.request.params:
        if name != "location" and not is_ignored(name, context.rules):
            raise invalid_argument(f"Search param {name} is unsupported for bucket location")
    return xml_reply("LocationConstraint", ["auto"])


async def get_encryption(context: Context) -> Reply:
    """The same answer for every bucket, because R2 always encrypts."""
    await require_bucket(context)
    algorithm = xml.element("ApplyServerSideEncryptionByDefault", xml.text("SSEAlgorithm", "AES256"))
    rule = xml.element("Rule", algorithm, xml.text("BucketKeyEnabled", "true"))
    return xml_reply("ServerSideEncryptionConfiguration", [rule])


async def get_versioning(context: Context) -> Reply:
    """The same answer for every bucket, because R2 has no versioning."""
    await require_bucket(context)
    return xml_reply("VersioningConfiguration", [])


ABSENT = {
    "GetBucketTagging": ("NoSuchTagSet", "The TagSet does not exist."),
    "GetObjectLockConfiguration": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket.",
    ),
    "GetBucketReplication": (
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found.",
    ),
}


def absent(operation: str) -> Handler:
    """Configuration that no R2 bucket has: the same 404 for every bucket."""

    async def handler(context: Context) -> Reply:
        await require_bucket(context)
        raise R2Error(404, *ABSENT[operation])

    return handler


async def accept_post(context: Context) -> Reply:
    """R2 answers 200 with an empty body to a signed POST on a bucket that names no known operation."""
    await require_bucket(context)
    return Reply(200)


async def get_cors(context: Context) -> Reply:
    await require_bucket(context)
    policy = context.configured.cors.get(context.request.bucket)
    if policy is None:
        raise no_cors_configuration()
    return Reply(200, [("Content-Type", "application/xml")], cors.to_xml(policy))


async def put_cors(context: Context) -> Reply:
    body = await context.xml_body()
    await require_bucket(context)
    try:
        policy = cors.from_xml(body)
    except cors.PolicyError as error:
        if error.malformed:
            context.rules.refuse_if_on(answers.CORS_DOCUMENT)
        context.rules.refuse_if_on(answers.CORS_POLICY, problem=str(error))
        raise R2Error(400, "InvalidRequest", str(error)) from None
    context.configured.cors[context.request.bucket] = policy
    return Reply(200)


async def delete_cors(context: Context) -> Reply:
    await require_bucket(context)
    context.configured.cors.pop(context.request.bucket, None)
    return Reply(204)


async def get_lifecycle(context: Context) -> Reply:
    await require_bucket(context)
    rules = context.configured.lifecycle(context.request.bucket)
    if not rules:
        raise R2Error(404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist.")
    return Reply(200, [("Content-Type", "application/xml")], lifecycle.to_xml(rules))


async def put_lifecycle(context: Context) -> Reply:
    body = await context.xml_body()
    await require_bucket(context)
    try:
        rules = lifecycle.from_xml(body)
    except lifecycle.LifecycleError as error:
        if error.missing:
            context.rules.refuse_if_on(answers.LIFECYCLE_FEATURE, name=error.missing)
        raise malformed_xml() from error
    context.configured.lifecycles[context.request.bucket] = rules
    return Reply(200)


async def delete_lifecycle(context: Context) -> Reply:
    await require_bucket(context)
    context.configured.lifecycles[context.request.bucket] = ()
    return Reply(204)
