"""Where R2's own answer is not known: what each setting chooses between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.parity.r2.battery import duplicate_part
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import Lab, lab


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        await found("PUT", body=b"12345")
        yield found


def _choose(ask: Lab, **choices: str) -> None:
    ask.front.behave(replace(SETTINGS.behaviour, **choices))  # type: ignore[arg-type]  # all of them are texts


@pytest.mark.parametrize(
    ("choice", "if_range", "status", "body"),
    [
        ("ignore", "same", 206, b"23"),
        ("ignore", '"another"', 206, b"23"),
        ("honour", "same", 206, b"23"),
        ("honour", '"another"', 200, b"12345"),
        ("honour", "weak", 200, b"12345"),
        ("honour", "Tue, 24 Nov 2020 00:00:00 GMT", 200, b"12345"),
        ("honour", "date", 206, b"23"),
    ],
)
async def test_if_range_is_as_chosen(ask: Lab, choice: str, if_range: str, status: int, body: bytes) -> None:
    _choose(ask, if_range=choice)
    there = await ask("HEAD")
    named = {"same": there.etag, "weak": f"W/{there.etag}", "date": there.headers["last-modified"]}
    answer = await ask(headers={"range": "bytes=1-2", "if-range": named.get(if_range, if_range)})
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(("choice", "status", "length"), [("ignore", 200, "5"), ("honour", 206, "2")])
async def test_a_range_of_a_head_is_as_chosen(ask: Lab, choice: str, status: int, length: str) -> None:
    _choose(ask, head_range=choice)
    answer = await ask("HEAD", headers={"range": "bytes=1-2"})
    assert (answer.status, answer.headers["content-length"]) == (status, length)


@pytest.mark.parametrize(("choice", "status"), [("accept", 200), ("refuse", 403)])
async def test_a_presigned_url_of_the_future_is_as_chosen(ask: Lab, choice: str, status: int) -> None:
    _choose(ask, future_dates=choice)
    assert (await ask(sign="query", age=-3600)).status == status
    assert (await ask(sign="query", age=-60)).status == 200


@pytest.mark.parametrize(("choice", "status"), [("clamp", 200), ("refuse", 400)])
async def test_a_copied_range_past_the_end_is_as_chosen(ask: Lab, choice: str, status: int) -> None:
    _choose(ask, copy_range=choice)
    upload = (await ask("POST", query="uploads=")).xml.findtext("{*}UploadId") or ""
    headers = {"x-amz-copy-source": f"/{BUCKET}/k", "x-amz-copy-source-range": "bytes=3-99"}
    answer = await ask("PUT", query=f"partNumber=1&uploadId={upload}", headers=headers)
    assert answer.status == status
    listed = await ask("GET", query=f"uploadId={upload}")
    sizes = [part.text for part in listed.xml.findall("{*}Part/{*}Size")]
    assert sizes == (["2"] if status == 200 else [])


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("problem", "There was a problem with the multipart upload."),
        ("not-found", "One or more of the specified parts could not be found."),
    ],
)
async def test_the_words_for_a_part_named_twice_are_as_chosen(ask: Lab, choice: str, message: str) -> None:
    _choose(ask, duplicate_part=choice)
    answer = await duplicate_part(ask)
    assert (answer.status, answer.code, answer.message) == (400, "InvalidPart", message)
