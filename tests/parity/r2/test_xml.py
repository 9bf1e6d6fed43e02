"""Documents that are written are well-formed whatever they hold, and documents that are read are S3's."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity.r2 import xml
from parity.r2.errors import R2Error


@given(st.text())
@example("\ufffe\uffff")
@example("".join(map(chr, range(0x20))))
def test_any_text_makes_a_document_that_can_be_read(text: str) -> None:
    found = ElementTree.fromstring(xml.document("R", [xml.text("T", text)])).findtext("{*}T")
    assert (found or "") == "".join(character if _fits(character) else "\ufffd" for character in text)


def _fits(character: str) -> bool:
    return character in "\t\n\r" or (character >= " " and character not in "\ufffe\uffff")


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Delete>",
        b"<Delete>" + b"<a/>" * 100_000 + b"</Delete>",
        b"<Delete>" + b"<a>" * 100_000,
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete>&a;</Delete>',
        b"<Other/>",
        b"",
    ],
    ids=["deep", "wide", "open", "entity", "another root", "empty"],
)
def test_a_document_that_s3_has_not_is_malformed(body: bytes) -> None:
    with pytest.raises(R2Error, match="MalformedXML"):
        xml.parse(body, "Delete")


def test_the_longest_document_of_s3_is_read() -> None:
    part = b"<Part><PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>c</ChecksumCRC32></Part>"
    assert len(xml.parse(b"<Complete>" + part * 10_000 + b"</Complete>", "Complete")) == 10_000


def test_lines_and_escaped_characters_of_a_text_are_one_text() -> None:
    assert xml.child(xml.parse(b"<D><Key>a&amp;b\nc&#65;</Key></D>", "D"), "Key") == "a&b\ncA"
