"""S3's XML documents: written as strings, read with expat (no entities, no network, bounded by the body limit)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree
from xml.parsers import expat

from parity.r2.errors import R2Error, malformed_xml

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
# Limits for documents: S3's are four elements deep, and the longest lists 10,000 parts with number, ETag and checksum.
MAX_DEPTH, MAX_ELEMENTS = 8, 50_000

_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", "\r": "&#13;"})


def escape(text: str) -> str:
    """``text`` for the inside of an element; characters that XML 1.0 cannot hold become U+FFFD."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text).translate(_ESCAPES)


def element(name: str, *content: str) -> str:
    """An element of markup that is already written; use ``text`` for values."""
    return f"<{name}>{''.join(content)}</{name}>"


def text(name: str, value: object) -> str:
    return f"<{name}>{escape(str(value))}</{name}>"


def document(root: str, content: Iterable[str]) -> bytes:
    return f'{DECLARATION}<{root} xmlns="{NAMESPACE}">{"".join(content)}</{root}>'.encode()


def error_document(error: R2Error) -> bytes:
    """R2's error body: code, message and for a few errors more elements, no namespace."""
    extra = "".join(text(name, value) for name, value in error.extra.items())
    body = f"{DECLARATION}<Error>{text('Code', error.code)}{text('Message', error.message)}{extra}</Error>"
    return body.encode()


def parse(body: bytes, root: str) -> ElementTree.Element:
    """The document's root, its tags without namespace. Raises ``MalformedXML``."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    depth = elements = 0

    def refuse(*_: object) -> None:
        raise malformed_xml()

    def start(tag: str, _attributes: object) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise malformed_xml()
        builder.start(tag.rpartition("}")[2], {})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rpartition("}")[2])

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    # Without buffering, expat calls the handler once for each line and each escaped character.
    parser.buffer_text = True
    # A document type allows entity expansion; S3 documents have none.
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
        found = builder.close()
    except (expat.ExpatError, AssertionError, LookupError, ValueError):
        raise malformed_xml() from None
    if found.tag != root:
        raise malformed_xml()
    return found


def child(parent: ElementTree.Element, name: str) -> str | None:
    """The stripped text of the first child ``name``; ``None`` when there is none."""
    found = parent.find(name)
    return None if found is None else (found.text or "").strip()
