"""Rows of tables: as JSON and as CSV of spreadsheets, pandas and R."""

import json
import math

import pytest
from reader_requests import MULTIPART, URLENCODED, form, instances, only, read

from shared.errors import BadRequest, ServiceError, TooLarge, Unusable
from shared.web.readers import Rows

READER = Rows("row")
ROW = {"length": 5.1, "width": 3}
LIST = [5.1, 3]


def table(text, kind="text/csv", **settings):
    """The rows of a CSV body."""
    parsed = read(READER, text if isinstance(text, bytes) else text.encode(), kind, **settings)
    assert parsed.many
    return parsed.items


@pytest.mark.parametrize("row", [ROW, LIST, {}, [], {"row": 1.0, "x": 2}])
def test_one_row_is_read_under_the_field_and_in_a_form(row):
    for body, kind in (
        (json.dumps({"row": row}), "application/json"),
        (json.dumps({"row": row, "explain": False}), "text/plain"),
        (json.dumps({"row": row}), None),
    ):
        assert only(READER, body.encode(), kind) == row
    if row:
        assert only(READER, form(('name="row"', json.dumps(row).encode())), MULTIPART) == row


def test_the_field_may_have_any_name_and_is_row_by_default():
    assert only(Rows("cell"), json.dumps({"cell": ROW}).encode(), "application/json") == ROW
    assert Rows().fields == ("row",)


def test_instances_are_read_as_values_and_under_the_field():
    column = {"row": 7}  # a row with a column of the field's name is none, for nobody can tell
    items = instances(READER, ROW, LIST, {"row": ROW}, {"row": LIST}, {"row": 1, "x": 2}, column)
    assert items[:5] == [ROW, LIST, ROW, LIST, {"row": 1, "x": 2}]
    assert isinstance(items[5], BadRequest)


@pytest.mark.parametrize("value", [7, None, "5.1,3", True, {"row": "5.1,3"}, {"row": None}])
def test_any_other_instance_gets_an_error_in_its_place(value):
    before, wrong, after = instances(READER, ROW, value, LIST)
    assert (before, after) == (ROW, LIST)
    assert isinstance(wrong, BadRequest)
    assert "expected a row" in str(wrong)


def test_nan_and_a_repeated_column_affect_no_other_row():
    body = b'{"instances": [{"a": NaN}, {"a": 1, "a": 2}, {"a": 1}]}'
    first, twice, last = read(READER, body, "application/json").items
    assert math.isnan(first["a"])
    assert isinstance(twice, BadRequest)
    assert last == {"a": 1}


def test_csv_with_a_header_is_rows_by_column_and_without_one_lists():
    assert table("length,width\n5.1,3\n4,2\n") == [
        {"length": 5.1, "width": 3.0},
        {"length": 4.0, "width": 2.0},
    ]
    assert table("5.1,3\n4,2") == [[5.1, 3.0], [4.0, 2.0]]
    assert table("5.1,3") == [[5.1, 3.0]]


HEADED = [{"a": 1.0, "b": 2.5}]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2.5\n",
        "a,b\r\n1,2.5\r\n",
        "a,b\r1,2.5\r",
        "\ufeffa,b\r\n1,2.5",
        "\n\na,b\n\n1,2.5\n\n",
        '"a","b"\n"1","2.5"',
        " a , b\n 1 , 2.5",
        "a;b\n1;2.5",
        "a\tb\n1\t2.5",
        "a,b\n+1.,25e-1",
    ],
)
@pytest.mark.parametrize(
    "kind", ["text/csv", "text/csv; charset=utf-8", "text/plain", "application/octet-stream", None]
)
def test_csv_of_spreadsheets_and_libraries_is_read(text, kind):
    assert table(text, kind) == HEADED


def test_csv_is_read_from_a_form_and_of_curls_default_type():
    for parameters in ('name="row"; filename="rows.csv"', 'name="row"', 'name="row[]"'):
        assert table(form((parameters, b"a,b\n1,2.5\n")), MULTIPART) == HEADED
    assert table(b"row=a%2Cb%0A1%2C2.5", URLENCODED) == HEADED
    assert table(b"a,b\n1,2.5\n", URLENCODED) == HEADED
    assert table("a,b\n1,2.5\n".encode("utf-16")) == HEADED


def test_several_parts_are_one_list():
    parts = form(
        ('name="row"', b"1,2\n3,4\n"), ('name="row"', b'{"a": 5}'), ('name="row"', b"1,"), ('name="row"', b"")
    )
    first, second, third, fourth, wrong = table(parts, MULTIPART)
    assert [first, second, third, fourth] == [[1.0, 2.0], [3.0, 4.0], {"a": 5}, [1.0, None]]
    assert isinstance(wrong, ServiceError)


@pytest.mark.parametrize("cell", ["", " ", "NULL", "null", "NaN", "nan", "NA", '""'])
def test_a_missing_value_is_read_as_none(cell):
    assert table(f"a,b,c\n1,{cell},2\n") == [{"a": 1.0, "b": None, "c": 2.0}]
    assert table(f"1,{cell},2\n") == [[1.0, None, 2.0]]


@pytest.mark.parametrize("cell", ["x", "1_000", "\u0661", "0x10", "inf", "1 2", "1e", "--1", "True", "1,5"])
def test_what_is_not_a_number_is_left_to_the_classifier(cell):
    assert table(f'a,b\n1,"{cell}"\n') == [{"a": 1.0, "b": cell}]


def test_a_header_can_be_declared():
    assert table("0,1\n5.1,3", "text/csv; header=present") == [{"0": 5.1, "1": 3.0}]
    assert table("a,1\n5.1,3", "text/csv; header=absent") == [["a", 1.0], [5.1, 3.0]]


def test_a_row_of_the_wrong_length_gets_an_error_in_its_place():
    good, short, long, last = table("a,b\n1,2\n1\n1,2,3\n3,4\n")
    assert (good, last) == ({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0})
    assert str(short) == "expected 2 cells, as in the header; this row has 1"
    assert str(long) == "expected 2 cells, as in the header; this row has 3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,a\n1,2", "'a' is in the header twice"),
        ('a,b\n"1,2', "line 2"),
        ('a,b\n"1"x,2', "line 2"),
        ("a,b\n1," + "9" * 200_000, "field limit"),
        (b"a,b\n1,\xff", "expected UTF-8"),
    ],
)
def test_csv_that_cannot_be_read_is_a_400(text, words):
    with pytest.raises(BadRequest, match=words):
        table(text)


@pytest.mark.parametrize("text", ["", "\n\n", "a,b", "a,b\n", "\ufeff"])
def test_csv_without_rows_is_refused(text):
    with pytest.raises(Unusable, match="at least one row"):
        table(text)


def test_csv_is_bounded_in_rows_and_cells():
    assert len(table("1,2\n" * 1024)) == 1024
    with pytest.raises(TooLarge, match="at most 1024 inputs"):
        table("1,2\n" * 2000)
    with pytest.raises(TooLarge, match="at most 300,000 cells"):
        table("1," * 300_001)
