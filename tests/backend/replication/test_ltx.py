import struct
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.replication import ltx
from app.replication.errors import LtxError
from app.replication.ltx import Header, LtxFile, decode, encode, lock_page, merge, read_header

SIZE = 512


@st.composite
def files(draw: st.DrawFn, first: int = 1) -> tuple[Header, dict[int, bytes]]:
    commit = draw(st.integers(1, 40))
    numbers = draw(st.sets(st.integers(1, commit), max_size=12))
    pages = {number: draw(st.binary(min_size=SIZE, max_size=SIZE)) for number in sorted(numbers)}
    low = draw(st.integers(first, first + 1000))
    header = Header(
        SIZE, commit, low, low + draw(st.integers(0, 5)), draw(st.integers(0, 2**63)), draw(st.integers(0, 2**63))
    )
    return header, pages


@given(files())
def test_what_is_encoded_is_decoded_to_the_same(made: tuple[Header, dict[int, bytes]]) -> None:
    header, pages = made
    data = encode(header, pages.items())
    assert decode(data) == LtxFile(header, pages)
    assert read_header(data) == header


@settings(max_examples=300)
@given(made=files(), draw=st.data(), with_index=st.booleans())
def test_a_changed_byte_is_an_error_or_changes_nothing(
    made: tuple[Header, dict[int, bytes]], draw: st.DataObject, *, with_index: bool
) -> None:
    """The checksum is that of the pages, not of what LZ4 made of them, and LZ4 has several forms of one page."""
    header, pages = made
    data = bytearray(encode(header, pages.items()))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    try:
        found = decode(bytes(data), with_index=with_index)
    except LtxError:
        return
    assert found == LtxFile(header, pages)


@given(made=files(), draw=st.data(), with_index=st.booleans())
def test_a_cut_or_lengthened_file_is_an_error(
    made: tuple[Header, dict[int, bytes]], draw: st.DataObject, *, with_index: bool
) -> None:
    data = encode(made[0], made[1].items())
    cut = draw.draw(st.integers(0, len(data) - 1))
    with pytest.raises(LtxError):
        decode(data[:cut], with_index=with_index)
    with pytest.raises(LtxError):
        decode(data + draw.draw(st.binary(min_size=1, max_size=20)), with_index=with_index)


@given(noise=st.binary(max_size=400), with_index=st.booleans())
def test_noise_is_an_error(noise: bytes, *, with_index: bool) -> None:
    with pytest.raises(LtxError):
        decode(noise, with_index=with_index)
    with pytest.raises(LtxError):
        decode(encode(Header(SIZE, 1, 1, 1, 0, 0), [])[:100] + noise, with_index=with_index)


def test_an_index_that_points_elsewhere_is_found_where_it_is_looked_at() -> None:
    header, pages = Header(SIZE, 2, 1, 1, 0, 0), {1: b"a" * SIZE, 2: b"b" * SIZE}
    data = encode(header, pages.items())
    end = data.rindex(bytes(6), 0, -24) + 6
    # The second page's offset, one byte on; the file's checksum is made anew.
    wrong = bytearray(data)
    wrong[end + 4] += 1
    with mock.patch.object(ltx, "_tail", return_value=bytes(wrong[end - 6 : -8])):
        wrong = bytearray(encode(header, pages.items()))
    assert len(wrong) == len(data)
    assert wrong != data
    with pytest.raises(LtxError, match="index does not fit"):
        decode(bytes(wrong))
    assert decode(bytes(wrong), with_index=False).pages == pages


def test_a_file_without_pages_is_valid() -> None:
    assert decode(encode(Header(4096, 3, 7, 7, 0, 0), [])).pages == {}


@pytest.mark.parametrize(
    "pages",
    [[(2, bytes(SIZE)), (1, bytes(SIZE))], [(0, bytes(SIZE))], [(9, bytes(SIZE))], [(1, bytes(SIZE - 1))]],
    ids=["descending", "page 0", "behind the end", "short page"],
)
def test_pages_that_no_reader_accepts_are_not_written(pages: list[tuple[int, bytes]]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode(Header(SIZE, 3, 1, 1, 0, 0), pages)


def test_the_lock_page_is_neither_written_nor_read() -> None:
    page = lock_page(65536)
    with pytest.raises(ValueError, match="does not fit"):
        encode(Header(65536, page, 1, 1, 0, 0), [(page, bytes(65536))])
    other = bytearray(encode(Header(65536, page, 1, 1, 0, 0), [(page - 1, bytes(65536))]))
    struct.pack_into(">I", other, 100, page)
    with pytest.raises(LtxError):
        decode(bytes(other))


@given(st.lists(st.tuples(st.integers(1, 30), st.sets(st.integers(1, 30), max_size=6)), min_size=1, max_size=8))
def test_a_merge_replays_to_the_same_database_as_its_files(steps: list[tuple[int, set[int]]]) -> None:
    run = []
    for txid, (commit, numbers) in enumerate(steps, 1):
        pages = {n: struct.pack(">II", txid, n).ljust(SIZE, b".") for n in sorted(numbers) if n <= commit}
        run.append(LtxFile(Header(SIZE, commit, txid, txid, txid, 5), pages))
    merged = decode(merge(run, 9))
    assert (merged.header.min_txid, merged.header.max_txid, merged.header.node) == (1, len(steps), 9)
    assert _replay([merged]) == _replay(run)


def _replay(run: list[LtxFile]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for file in run:
        found.update(file.pages)
        found = {number: page for number, page in found.items() if number <= file.header.commit}
    return found


def test_files_that_do_not_follow_each_other_are_not_merged() -> None:
    first, third = (LtxFile(Header(SIZE, 1, n, n, 0, 0), {}) for n in (1, 3))
    with pytest.raises(LtxError, match="does not follow"):
        merge([first, third], 0)


def test_files_of_two_page_sizes_are_not_merged() -> None:
    with pytest.raises(LtxError, match="page sizes differ"):
        merge([LtxFile(Header(size, 1, n, n, 0, 0), {}) for n, size in ((1, SIZE), (2, 2 * SIZE))], 0)


def test_a_dense_file_says_the_same_in_fewer_bytes() -> None:
    words = b"".join(b"clip %d of game %d; " % (number, number % 7) for number in range(400))
    pages = [(1, words[:4096])]
    header = Header(4096, 1, 1, 1, 0, 7)
    plain, dense = encode(header, pages), encode(header, pages, dense=True)
    assert len(dense) < len(plain)
    assert decode(dense) == decode(plain)
