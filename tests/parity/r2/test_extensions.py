"""What R2 has beyond S3: conditions on a copy's target, MERGE, buckets on demand, Unicode, lists of buckets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

import pytest
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, SETTINGS
from tests.parity.r2.lab import Answer, Call, Lab, lab, signed

from parity.r2 import encoded_words
from parity.r2.headers import MAX_METADATA

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        yield found


def _shown(answer: Answer) -> list[str]:
    return [found.text or "" for found in answer.xml.findall("{*}Contents/{*}Key")]


async def _copy(ask: Lab, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask("PUT", headers={"x-amz-copy-source": f"/{BUCKET}/source", **named})


async def test_a_copy_heeds_conditions_on_its_target(ask: Lab) -> None:
    await ask("PUT", f"/{BUCKET}/source", body=b"copied")
    assert (await _copy(ask, cf_copy_destination_if_match='"a"')).status == 412
    assert (await _copy(ask, cf_copy_destination_if_none_match="*")).status == 200
    refused = await _copy(ask, cf_copy_destination_if_none_match="*")
    assert (refused.status, refused.code) == (412, "PreconditionFailed")
    there = await ask("HEAD")
    before = parsedate_to_datetime(there.headers["last-modified"]) - timedelta(hours=1)
    assert (
        await _copy(ask, cf_copy_destination_if_unmodified_since=format_datetime(before, usegmt=True))
    ).status == 412
    assert (await _copy(ask, cf_copy_destination_if_modified_since=format_datetime(before, usegmt=True))).status == 200
    assert (await _copy(ask, cf_copy_destination_if_match=there.etag)).status == 200


@pytest.mark.parametrize(("setting", "status"), [("ignore", 200), ("check", 412)])
async def test_plain_conditions_of_a_copy_and_a_delete_are_as_set(ask: Lab, setting: str, status: int) -> None:
    ask.front.behave(replace(SETTINGS.behaviour, unlisted_conditions=setting))
    for key in ("source", "k"):
        await ask("PUT", f"/{BUCKET}/{key}", body=b"x")
    assert (await _copy(ask, if_none_match="*")).status == status
    assert (await ask("DELETE", headers={"if-match": '"a"'})).status == (204 if status == 200 else 412)
    warnings = [seen.warning for seen in list(ask.front.seen.requests)[-2:]]
    assert all(("ignored" in warning) is (setting == "ignore") for warning in warnings)


async def test_merge_keeps_replaces_and_adds_but_does_not_remove(ask: Lab) -> None:
    before = {"x-amz-meta-kept": "1", "x-amz-meta-old": "1", "content-type": "a/b", "cache-control": "no-store"}
    await ask("PUT", f"/{BUCKET}/source", headers=before, body=b"x")
    await _copy(ask, x_amz_metadata_directive="MERGE", x_amz_meta_old="2", x_amz_meta_new="3", content_type="c/d")
    found = (await ask("HEAD")).headers
    kept = {name: found[name] for name in (*before, "x-amz-meta-new")}
    assert kept == {**before, "x-amz-meta-old": "2", "x-amz-meta-new": "3", "content-type": "c/d"}


async def test_an_object_is_merged_with_itself(ask: Lab) -> None:
    await ask("PUT", headers={"x-amz-meta-a": "1"}, body=b"x")
    headers = {"x-amz-copy-source": f"/{BUCKET}/k", "x-amz-metadata-directive": "MERGE", "x-amz-meta-b": "2"}
    assert (await ask("PUT", headers=headers)).status == 200
    found = (await ask("HEAD")).headers
    assert (found["x-amz-meta-a"], found["x-amz-meta-b"]) == ("1", "2")


async def test_merged_metadata_are_not_more_than_r2_keeps(ask: Lab) -> None:
    await ask("PUT", f"/{BUCKET}/source", headers={"x-amz-meta-a": "1" * 5000}, body=b"x")
    answer = await _copy(ask, x_amz_metadata_directive="MERGE", x_amz_meta_b="2" * 5000)
    assert (answer.status, answer.code) == (400, "MetadataTooLarge")


async def test_a_key_is_found_listed_and_deleted_in_either_form(ask: Lab) -> None:
    await ask("PUT", f"/{BUCKET}/{DECOMPOSED}/one", body=b"1")
    assert _shown(await ask("GET", f"/{BUCKET}")) == [f"{DECOMPOSED}/one"]
    for form in (COMPOSED, DECOMPOSED):
        assert (await ask("GET", f"/{BUCKET}/{form}/one")).body == b"1"
        assert _shown(await ask("GET", f"/{BUCKET}", query=f"prefix={quote(form)}%2F")) == [f"{DECOMPOSED}/one"]
        assert _shown(await ask("GET", f"/{BUCKET}", query=f"list-type=2&start-after={quote(form)}%2Fone")) == []
    assert (await ask("PUT", f"/{BUCKET}/{COMPOSED}/one", headers={"if-none-match": "*"}, body=b"2")).status == 412
    await ask("PUT", f"/{BUCKET}/{COMPOSED}/one", body=b"2")
    assert _shown(await ask("GET", f"/{BUCKET}")) == [f"{COMPOSED}/one"]
    body = f"<Delete><Object><Key>{DECOMPOSED}/one</Key></Object></Delete>".encode()
    deleted = await ask("POST", f"/{BUCKET}", query="delete=", body=body)
    assert deleted.xml.findtext("{*}Deleted/{*}Key") == f"{DECOMPOSED}/one"
    assert _shown(await ask("GET", f"/{BUCKET}")) == []


async def test_an_upload_and_a_copy_are_shown_as_they_were_written(ask: Lab) -> None:
    begun = await ask("POST", f"/{BUCKET}/{DECOMPOSED}", query="uploads=")
    upload = begun.xml.findtext("{*}UploadId") or ""
    part = await ask("PUT", f"/{BUCKET}/{COMPOSED}", query=f"partNumber=1&uploadId={upload}", body=b"x")
    uploads = await ask("GET", f"/{BUCKET}", query=f"uploads=&prefix={quote(COMPOSED)}")
    assert uploads.xml.findtext("{*}Upload/{*}Key") == DECOMPOSED
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{part.etag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    assert (await ask("POST", f"/{BUCKET}/{COMPOSED}", query=f"uploadId={upload}", body=body)).status == 200
    assert _shown(await ask("GET", f"/{BUCKET}")) == [DECOMPOSED]
    await ask("PUT", f"/{BUCKET}/copy", headers={"x-amz-copy-source": f"/{BUCKET}/caf%C3%A9"})
    assert sorted(_shown(await ask("GET", f"/{BUCKET}"))) == [DECOMPOSED, "copy"]


async def test_metadata_in_another_script_come_back_encoded_however_they_were_sent(ask: Lab) -> None:
    for sent in ("Zo\u00eb", "=?UTF-8?B?Wm/Dqw==?=", "=?utf-8?q?Zo=C3=AB?="):
        await ask("PUT", headers={"x-amz-meta-who": sent, "x-amz-meta-plain": "a=?b"}, body=b"x")
        found = (await ask("HEAD")).headers
        assert (found["x-amz-meta-who"], found["x-amz-meta-plain"]) == ("=?UTF-8?B?Wm/Dqw==?=", "a=?b")


async def test_the_length_of_metadata_is_that_of_the_decoded_text(ask: Lab) -> None:
    # 6200 bytes of text are 8278 encoded.
    encoded = encoded_words.encode("ä" * 3100)
    assert len(encoded) > MAX_METADATA
    assert (await ask("PUT", headers={"x-amz-meta-m": encoded}, body=b"x")).status == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"%PDF-1.7", "application/pdf"),
        (b"just text", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
async def test_a_put_without_a_type_takes_that_of_its_body(ask: Lab, body: bytes, expected: str) -> None:
    await ask("PUT", body=body)
    assert (await ask("HEAD")).headers["content-type"] == expected
    await ask("PUT", headers={"content-type": "text/x-own"}, body=body)
    assert (await ask("HEAD")).headers["content-type"] == "text/x-own"


async def test_a_token_for_objects_makes_no_bucket_on_demand(ask: Lab) -> None:
    answer = await ask("PUT", "/another-bucket/k", headers={"cf-create-bucket-if-missing": "true"}, body=b"x")
    assert (answer.status, answer.code) == (403, "AccessDenied")
    begun = await ask(
        "POST",
        "/another-bucket/k",
        query="uploads=",
        headers={"cf-create-bucket-if-missing": "true"},
        token=ADMIN_TOKEN,
    )
    assert begun.status == 200


async def test_buckets_are_listed_in_pages_by_parameters_or_headers(ask: Lab) -> None:
    for number in range(5):
        await ask("PUT", f"/bucket-{number}", token=ADMIN_TOKEN)
    seen: list[str] = []
    headers = {"cf-prefix": "bucket-", "cf-max-keys": "2"}
    while True:
        # Headers win over parameters.
        answer = await ask("GET", "/", query="max-keys=1000", headers=headers, token=ADMIN_TOKEN)
        seen += [found.text or "" for found in answer.xml.findall("{*}Buckets/{*}Bucket/{*}Name")]
        if answer.headers["cf-is-truncated"] == "false":
            break
        assert answer.xml.findtext("{*}NextContinuationToken") == answer.headers["cf-next-continuation-token"]
        headers["cf-continuation-token"] = answer.headers["cf-next-continuation-token"]
    assert seen == [f"bucket-{number}" for number in range(5)]
    after = await ask("GET", "/", query="start-after=bucket-3&prefix=bucket-", token=ADMIN_TOKEN)
    assert after.xml.findtext("{*}Buckets/{*}Bucket/{*}Name") == "bucket-4"


async def test_an_upload_begins_only_where_its_condition_holds(ask: Lab) -> None:
    assert (await ask("POST", query="uploads=", headers={"if-none-match": "*"})).status == 200
    await ask("PUT", body=b"x")
    assert (await ask("POST", query="uploads=", headers={"if-none-match": "*"})).status == 412


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ("x-amz-tagging=a%3Db", 501, "NotImplemented"),
        ("x-amz-storage-class=GLACIER", 400, "InvalidStorageClass"),
        ("x-amz-checksum-sha256=AAAA", 400, "InvalidDigest"),
        ("x-amz-acl=everyone", 501, "NotImplemented"),
    ],
)
async def test_what_a_presigned_url_says_in_its_query_is_screened(
    ask: Lab, parameters: str, status: int, code: str
) -> None:
    path, query, headers = signed(Call("PUT", query=parameters, sign="query"))
    answer = await ask.raw("PUT", path, query, headers | {"content-length": "1"}, b"x")
    assert (answer.status, answer.code) == (status, code)


async def test_what_a_presigned_url_says_in_its_query_is_kept_unless_a_header_says_otherwise(ask: Lab) -> None:
    parameters = "x-amz-meta-a=query&x-amz-meta-b=query&x-amz-storage-class=STANDARD_IA"
    path, query, headers = signed(Call("PUT", query=parameters, sign="query"))
    await ask.raw("PUT", path, query, headers | {"content-length": "1", "x-amz-meta-b": "header"}, b"x")
    found = (await ask("HEAD")).headers
    assert (found["x-amz-meta-a"], found["x-amz-meta-b"]) == ("query", "header")
    assert found["x-amz-storage-class"] == "STANDARD_IA"


async def test_a_signed_header_is_not_satisfied_by_the_query(ask: Lab) -> None:
    call = Call("PUT", query="x-amz-meta-b=forged", headers={"x-amz-meta-a": "1"}, sign="query")
    path, query, headers = signed(call)
    without = {name: value for name, value in headers.items() if name != "x-amz-meta-a"}
    answer = await ask.raw("PUT", path, query + "&x-amz-meta-a=1", without | {"content-length": "1"}, b"x")
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")


async def test_only_uploads_of_bytes_need_a_length(ask: Lab) -> None:
    await ask("PUT", f"/{BUCKET}/source", body=b"x")
    copied = await ask("PUT", headers={"x-amz-copy-source": f"/{BUCKET}/source"}, length=False)
    begun = await ask("POST", query="uploads=", length=False)
    assert (copied.status, begun.status) == (200, 200)
    upload = begun.xml.findtext("{*}UploadId") or ""
    chunked = {"transfer-encoding": "chunked", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    part = await ask("PUT", query=f"partNumber=1&uploadId={upload}", headers=chunked, body=b"x", length=False)
    assert (part.status, part.code) == (411, "MissingContentLength")


@pytest.mark.parametrize(("source", "key"), [("a+b", "a+b"), ("a%2Bb", "a+b"), ("a%20b", "a b"), ("a%2Fb", "a/b")])
async def test_the_source_of_a_copy_is_decoded_once(ask: Lab, source: str, key: str) -> None:
    await ask("PUT", f"/{BUCKET}/{key}", body=b"copied")
    for named in (f"/{BUCKET}/{source}", f"{BUCKET}/{source}", f"{BUCKET}%2F{source}"):
        assert (await ask("PUT", headers={"x-amz-copy-source": named})).status == 200, named
    assert (await ask()).body == b"copied"


async def test_a_completed_upload_may_be_aborted_and_the_object_stays(ask: Lab) -> None:
    upload = (await ask("POST", query="uploads=")).xml.findtext("{*}UploadId") or ""
    part = await ask("PUT", query=f"partNumber=1&uploadId={upload}", body=b"x")
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{part.etag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    await ask("POST", query=f"uploadId={upload}", body=body)
    assert (await ask("DELETE", query=f"uploadId={upload}")).status == 204
    assert (await ask()).body == b"x"
