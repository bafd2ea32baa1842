"""Texts in every format: the same answers as over HTTP, and a row for whatever is wrong."""

import csv
import gzip
import json
import math

import pyarrow as pa
import pytest
from apache_beam.metrics import MetricsFilter
from pyarrow import parquet

from batch import __main__ as command

TEXTS = [
    "I loved it, a brilliant film.",
    None,
    "",
    " \n ",
    "Dis film no sweet at all.",
    "Ẹ jọwọ, fíìmù yìí dára gan-an! 🎬",
    "x" * 100_001,
    "<br/>",
    "Terrible, boring, a waste of time.",
]
BAD = {1: "null", 2: "unusable_input", 3: "unusable_input", 6: "too_large", 7: "unusable_input"}
GOOD = [place for place in range(len(TEXTS)) if place not in BAD]


@pytest.fixture(scope="module")
def answers(over_http):
    """What the function says of the good texts over HTTP."""
    return dict(zip(GOOD, over_http("review", [TEXTS[place] for place in GOOD]), strict=True))


def check(good, bad, answers, key="id"):
    """Compare two outputs with the answers over HTTP, to the last bit."""
    assert sorted(int(row[key]) for row in good) == GOOD
    for row in good:
        answer = answers[int(row[key])]
        assert row["label"] == answer["review_sentiment"]
        assert row["probabilities"] == answer["probabilities"]
        assert row["warnings"] == answer.get("warnings", [])
        assert row["model"]
    assert {int(row[key]): row["error"]["code"] for row in bad if key in row} == BAD


def test_parquet_goes_through_with_its_columns(batch, rows, answers, tmp_path):
    table = pa.table(
        {"id": range(len(TEXTS)), "text": TEXTS, "stars": [1.5, math.nan, None, 2, 3, 4, 5, 6, 7]}
    )
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    said = batch(
        "review", "--input", tmp_path / "*.parquet", "--column", "text", "--output", tmp_path / "out"
    )
    assert said.startswith("4 good rows, 5 bad (null 1, too_large 1, unusable_input 3), in ")
    good, bad = rows(tmp_path / "out"), rows(tmp_path / "out", "bad")
    check(good, bad, answers)
    first = next(row for row in good if row["id"] == 0)
    assert list(first) == ["id", "text", "stars", "label", "probabilities", "warnings", "model"]
    assert (first["text"], first["stars"]) == (TEXTS[0], 1.5)
    assert all(set(row) == {"id", "text", "stars", "error", "model"} for row in bad)
    assert {row["id"]: row["stars"] for row in bad}[1] is None, "NaN is not valid JSON"


def test_json_lines_go_through_and_broken_ones_are_said(batch, rows, answers, tmp_path):
    lines = [json.dumps({"id": place, "text": text, "more": {"a": [1]}}) for place, text in enumerate(TEXTS)]
    lines[4:4] = ["{broken", '"a string"', "", '{"id": 1, "id": 2, "text": "x"}', '{"id": 77}']
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\r\n".join(lines).encode()))
    batch("review", "--input", tmp_path / "*.jsonl.gz", "--column", "text", "--output", tmp_path / "out")
    good, bad = rows(tmp_path / "out"), rows(tmp_path / "out", "bad")
    check(good, [row for row in bad if "id" in row and row["id"] != 77], answers)
    assert good[0]["more"] == {"a": [1]}
    broken = {row["line"]: row["error"]["code"] for row in bad if "line" in row}
    assert broken == {5: "bad_request", 6: "bad_request", 8: "bad_request", 9: "missing_column"}
    assert all(row["file"].endswith("a.jsonl.gz") for row in bad if "line" in row)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_goes_through_with_quotes_and_line_breaks(batch, rows, answers, tmp_path, delimiter):
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["id", "text"])
        writer.writerows([place, text] for place, text in enumerate(TEXTS) if text is not None)
    with (tmp_path / "a.csv").open("ab") as file:
        file.write(f"1{delimiter}2{delimiter}3\r\n50{delimiter}caf\xe9\r\n".encode("latin-1"))
    batch("review", "--input", tmp_path / "a.csv", "--column", "text", "--output", tmp_path / "out")
    bad = rows(tmp_path / "out", "bad")
    without_null = [*[row for row in bad if "id" in row], {"id": 1, "error": {"code": "null"}}]
    check(rows(tmp_path / "out"), without_null, answers)
    assert [row["error"]["message"] for row in bad if "id" not in row] == [
        "expected 2 cells, as in the header; this row has 3",
        "expected UTF-8 text; byte 6 of line 12 is not UTF-8",
    ]


def test_lines_of_text_are_numbered(batch, rows, over_http, tmp_path):
    lines = [text for text in TEXTS if text and "\n" not in text]
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode() + b"\nna\xefve\n")
    batch("review", "--input", tmp_path / "a.txt", "--output", tmp_path / "out")
    good, bad = rows(tmp_path / "out"), rows(tmp_path / "out", "bad")
    assert [row["line"] for row in good] == [1, 2, 3, 6]
    assert [row["text"] for row in good] == [lines[row["line"] - 1] for row in good]
    answers = over_http("review", [row["text"] for row in good])
    assert [row["probabilities"] for row in good] == [answer["probabilities"] for answer in answers]
    assert {row["line"]: row["error"]["code"] for row in bad} == {
        4: "too_large",
        5: "unusable_input",
        7: "bad_request",
    }


def test_parquet_comes_out_with_the_types_of_its_columns(batch, answers, tmp_path):
    table = pa.table(
        {
            "id": pa.array(range(len(TEXTS)), pa.int16()),
            "text": TEXTS,
            "when": pa.array([1, None, 2, 3, 4, 5, 6, 7, 8], pa.timestamp("us", "UTC")),
            "many": [[1, 2], None, [], [3], [4], [5], [6], [7], [8]],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    batch(
        *("review", "--input", tmp_path / "a.parquet", "--column", "text", "--output", tmp_path / "out"),
        *("--output-format", "parquet", "--prefix", "ai_", "--keep", "id,when,many"),
    )
    good = parquet.read_table(tmp_path / "out" / "good-00000-of-00001.parquet")
    bad = parquet.read_table(tmp_path / "out" / "bad-00000-of-00001.parquet")
    names = ["id", "when", "many", "ai_label", "ai_probabilities", "ai_warnings", "ai_model"]
    assert good.column_names == names
    assert good.schema.field("id").type == pa.int16()
    assert good.schema.field("when").type == pa.timestamp("us", "UTC")
    assert bad.column_names == ["id", "when", "many", "ai_error", "ai_model"]
    added = [{name.removeprefix("ai_"): value for name, value in row.items()} for row in good.to_pylist()]
    check(added, [{"id": row["id"], "error": row["ai_error"]} for row in bad.to_pylist()], answers)


def test_other_values_of_json_come_out_as_json_in_a_column_of_text(batch, tmp_path):
    rows = [{"id": 1, "text": "A film.", "more": {"é": [1, None]}}, {"id": 2, "text": "A film."}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    batch(
        *("review", "--input", tmp_path / "a.jsonl", "--column", "text", "--output", tmp_path / "out"),
        *("--output-format", "parquet"),
    )
    found = parquet.read_table(tmp_path / "out" / "good-00000-of-00001.parquet").to_pylist()
    assert [(row["id"], row["more"]) for row in found] == [("1", '{"é": [1, null]}'), ("2", None)]


def test_two_processes_give_what_one_gives(batch, rows, tmp_path):
    table = pa.table(
        {"id": range(400), "text": [f"A film of {place} minutes, good." for place in range(400)]}
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    many = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    for out, options in (("one", ()), ("two", many)):
        batch(
            *("review", "--input", tmp_path / "a.parquet", "--column", "text", "--output", tmp_path / out),
            *options,
        )
    one, two = ({row["id"]: row for row in rows(tmp_path / out)} for out in ("one", "two"))
    assert one == two
    assert len(one) == 400


def test_half_a_character_and_an_infinite_number_are_written_as_valid_json(batch, rows, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "\\ud83d", "text": "A film \\ud83d.", "n": 1e999}\n')
    batch("review", "--input", tmp_path / "a.jsonl", "--column", "text", "--output", tmp_path / "out")
    [row] = rows(tmp_path / "out")
    assert (row["id"], row["text"], row["n"]) == ("\ufffd", "A film \ufffd.", None)


def test_rows_and_latencies_are_beams_metrics(tmp_path):
    table = pa.table({"text": ["A film.", None, "", "Another."]})
    parquet.write_table(table, tmp_path / "a.parquet")
    words = ["review", "--input", tmp_path / "a.parquet", "--column", "text", "--output", tmp_path / "out"]
    result = command.run(*command.parse(list(map(str, words))))
    found = result.metrics().query(MetricsFilter().with_namespace("batch"))
    counters = {each.key.metric.name: each.committed for each in found["counters"]}
    assert counters["good"] == 2
    assert counters["bad_null"] == counters["bad_unusable_input"] == 1
    assert counters["num_inferences"] == 4
    latencies = {each.key.metric.name: each.committed for each in found["distributions"]}
    assert latencies["inference_batch_latency_micro_secs"].sum > 0
    assert latencies["load_model_latency_milli_secs"].count == 1
