"""Lines and CSV of a batch's input: an oversized one is one bad row, and no row is lost silently."""

import bz2
import csv
import gzip
import io
import lzma

import pytest

from batch import files
from shared.errors import BadRequest, ServiceError, TooLarge


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 100)
    monkeypatch.setattr(files, "CHUNK", 7)
    limit = csv.field_size_limit()  # of the whole process, and set by what is tested here
    yield
    csv.field_size_limit(limit)


def read(content, path="a.txt"):
    return list(files.lines(files.decompressed(io.BytesIO(content), path)))


@pytest.mark.parametrize("size", [101, 108, 1000])
def test_a_line_that_is_too_long_is_one_bad_line(size):
    found = read(b"one\n" + b"x" * size + b"\nthree\n\nfive")
    assert [number for number, _ in found] == [1, 2, 3, 4, 5]
    assert isinstance(found[1][1], TooLarge)
    assert [line for _, line in found if isinstance(line, bytes)] == [b"one", b"three", b"", b"five"]


def test_a_line_of_the_largest_size_and_a_long_last_line_are_read_completely():
    assert read(b"x" * 100) == [(1, b"x" * 100)]
    [(number, fault)] = read(b"x" * 1000)
    assert (number, type(fault)) == (1, TooLarge)


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_a_truncated_compressed_file_is_reported(suffix, pack):
    packed = pack(b"one\ntwo") + pack(b"\nthree")
    assert [line for _, line in read(packed, f"a.txt.{suffix}")] == [b"one", b"two", b"three"]
    with pytest.raises(EOFError):
        read(packed[:-9], f"a.txt.{suffix}")


def table(content):
    return list(files.table(io.BytesIO(content)))


def test_each_csv_row_is_read_or_reported():
    found = table(b'id,text\n1,"a\nb"\n' + b"2," + b"x" * 200 + b'\n3\n\n4,caf\xe9\n5,\xc3\xa9\n6,"open\n')
    rows = [row for _, row in found if not isinstance(row, ServiceError)]
    assert rows == [{"id": "1", "text": "a\nb"}, {"id": "5", "text": "é"}]
    assert [type(row) for _, row in found if isinstance(row, ServiceError)] == [TooLarge, *[BadRequest] * 3]
    assert [line for line, _ in found] == [3, 4, 5, 7, 8, 9]


@pytest.mark.parametrize("header", [b"a,a\n1,2\n", b"a,\n1,2\n", b'"a\n'])
def test_a_header_without_column_names_is_refused(header):
    with pytest.raises(BadRequest):
        table(header)
