"""Operation name → the function that performs it."""

from __future__ import annotations

from parity.r2.operations import buckets, listing, multipart, objects
from parity.r2.operations.context import Handler

# Operations that receive the request's body themselves.
TAKES_BODY = frozenset(
    {
        "CreateBucket",
        "PutBucketCors",
        "PutBucketLifecycleConfiguration",
        "DeleteObjects",
        "PutObject",
        "CopyObject",
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
    }
)
HANDLERS: dict[str, Handler] = {
    "ListBuckets": listing.list_buckets,
    "HeadBucket": buckets.head_bucket,
    "CreateBucket": buckets.create_bucket,
    "DeleteBucket": buckets.delete_bucket,
    "GetBucketLocation": buckets.get_location,
    "GetBucketEncryption": buckets.get_encryption,
    "GetBucketVersioning": buckets.get_versioning,
    **{
        name: buckets.absent(name)
        for name in ("GetBucketTagging", "GetObjectLockConfiguration", "GetBucketReplication")
    },
    "PostBucket": buckets.accept_post,
    "GetBucketCors": buckets.get_cors,
    "PutBucketCors": buckets.put_cors,
    "DeleteBucketCors": buckets.delete_cors,
    "GetBucketLifecycleConfiguration": buckets.get_lifecycle,
    "PutBucketLifecycleConfiguration": buckets.put_lifecycle,
    "DeleteBucketLifecycle": buckets.delete_lifecycle,
    "ListObjects": listing.list_objects,
    "ListMultipartUploads": listing.list_uploads,
    "PutObject": objects.put_object,
    "CopyObject": objects.copy_object,
    "GetObject": objects.get_object,
    "HeadObject": objects.head_object,
    "DeleteObject": objects.delete_object,
    "DeleteObjects": objects.delete_objects,
    "CreateMultipartUpload": multipart.create_upload,
    "UploadPart": multipart.upload_part,
    "UploadPartCopy": multipart.upload_part_copy,
    "CompleteMultipartUpload": multipart.complete_upload,
    "AbortMultipartUpload": multipart.abort_upload,
    "ListParts": multipart.list_parts,
}
