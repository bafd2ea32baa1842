"""The OpenAPI document: valid for any function, with right examples, and obeyed by a real process."""

import itertools
import json
from pathlib import Path

import jsonschema_rs
import pytest
import schemathesis
from conftest import FUNCTIONS, ROOT
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.specs.openapi.definitions import OPENAPI_31

from shared.pin import Pin
from shared.settings import Settings
from shared.web import openapi
from shared.web.readers import Images, Rows, Texts
from shared.web.service import Service

BOUNDED = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# A schema cannot express that bytes are an image, or the content of CSV; any text that it allows is answered.
UNSAYABLE = [positive_data_acceptance]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_answer_is_documented(name, start):
    server = start(ROOT / "functions" / name / "main.py")
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    unsayable = [] if "text/plain" in bodies(document.raw_schema, "/") else UNSAYABLE
    statuses = set()

    def probe(case):
        response = case.call(base_url=server.url)
        statuses.add(response.status_code)
        # Nor can it express that the number of a tensor's elements matches its shape.
        unsaid = UNSAYABLE if case.path.endswith("/infer") else unsayable
        case.validate_response(response, excluded_checks=unsaid)

    operations = [found.ok() for found in document.get_all_operations()]
    for operation in operations:
        # A GET has no parameters to vary.
        bounded = BOUNDED if operation.method == "post" else settings(BOUNDED, max_examples=1)
        bounded(given(case=operation.as_strategy())(probe))()
    assert len(operations) == 17  # all but the document itself
    assert 200 in statuses


PIN = {
    "file": "a/a-123456789012.joblib",
    "sha256": "0" * 64,
    "bytes": 1,
    "format": "joblib",
    "version": "1",
    "labels": ["a", "b"],
}
READERS = [
    kind(*fields) for kind in (Images, Texts, Rows) for fields in (("one",), ("one", "two"), ("a", "b", "c"))
]
LABELS = [
    ["no", "yes"],
    [str(digit) for digit in range(10)],
    ["a b", 'with "quotes"', "ọ̀", "error", "schema", "self"],
]
COLUMNS = [None, ["length"], ["length", "width, in cm", "row"]]


def described(folder: Path, reader, labels=LABELS[0], columns=None):
    """The document of a function with this reader."""
    row = dict.fromkeys(columns or ["length"], 1.5)
    example = {Images: "Zm9v", Texts: "A text.", Rows: row}[type(reader)]
    (folder / "example.json").write_text(json.dumps({"port": 8090, "input": example}))
    pin = Pin.parse({**PIN, "labels": labels, "input": {"columns": columns} if columns else {}})
    service = Service("any", pin, Settings(), "/any", reader, lambda: None, "answer", folder)
    return json.loads(json.dumps(openapi.describe(service)))


def bodies(document, path="/any"):
    return document["paths"][path]["post"]["requestBody"]["content"]


def valid(document, kind, value):
    schema = bodies(document)[kind]["schema"]
    return jsonschema_rs.is_valid({**schema, "components": document["components"]}, value)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: f"{type(reader).__name__}{reader.fields}")
def test_the_document_is_valid_for_any_reader_labels_and_columns(tmp_path, reader):
    for labels, columns in itertools.product(LABELS, COLUMNS):
        document = described(tmp_path, reader, labels, columns)
        jsonschema_rs.validator_for(OPENAPI_31).validate(document)
        for schema in (
            *document["components"]["schemas"].values(),
            *(body["schema"] for body in bodies(document).values()),
        ):
            jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: f"{type(reader).__name__}{reader.fields}")
def test_its_examples_are_valid_by_its_schemas_and_two_fields_at_once_are_not(tmp_path, reader):
    document = described(tmp_path, reader, columns=["length", "width"])
    examples = [
        (kind, example["value"])
        for kind, body in bodies(document).items()
        for example in body.get("examples", {}).values()
    ]
    assert len(examples) >= 2
    assert all(valid(document, kind, value) for kind, value in examples)
    one = bodies(document)["application/json"]["examples"]["one"]["value"]
    [example] = one.values()
    for field in reader.fields:
        assert valid(document, "application/json", {field: example, "explain": 1, "parameters": {}, "key": 7})
    for several in itertools.combinations([*reader.fields, "instances"], 2):
        value = {field: [example] if field == "instances" else example for field in several}
        assert not valid(document, "application/json", value)
        for kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            assert "instances" in several or not valid(document, kind, dict.fromkeys(several, "a"))
    for wrong in (
        {},
        {"surely": example},
        {reader.fields[0]: 7},
        {"instances": []},
        {**one, "explain": "perhaps"},
    ):
        assert not valid(document, "application/json", wrong)


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u00a0\u3000", "\x1c\x1f\x85", "\ufeff"])
def test_a_blank_text_is_not_valid(tmp_path, blank):
    document = described(tmp_path, Texts("text"))
    assert not valid(document, "application/json", {"text": blank})
    assert not valid(document, "text/plain", blank)
    for kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        assert not valid(document, kind, {"text": blank})
        assert valid(document, kind, {"text": f"{blank}a"})


def test_two_fields_at_once_are_not_valid_even_if_one_of_them_is_not(tmp_path):
    document = described(tmp_path, Texts("text", "review"))
    for kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        assert valid(document, kind, {"text": "a", "explain": "1"})
        assert not valid(document, kind, {"text": "a", "review": ""})


def test_the_columns_of_rows_are_listed_if_they_are_known(tmp_path):
    document = described(tmp_path, Rows("row"), columns=["length", "width"])
    for row in ({"length": 1, "width": None}, {"length": 1.5, "width": 2, "more": "x"}, [1, 2.5]):
        assert valid(document, "application/json", {"row": row})
        assert valid(document, "application/json", {"instances": [row, {"row": row}]})
    for row in ({"length": 1}, {"length": "x", "width": 1}, [1], [1, 2, 3], ["x", 1], 7, None):
        assert not valid(document, "application/json", {"row": row})
    unknown = described(tmp_path, Rows("row"))
    assert valid(unknown, "application/json", {"row": {"any": 1}})
    assert valid(unknown, "application/json", {"row": [1, 2, 3, 4]})


@pytest.mark.parametrize("labels", LABELS)
def test_an_answer_of_any_labels_is_valid_with_warnings_and_without(tmp_path, labels):
    document = described(tmp_path, Texts("text"), labels)
    schema = {"$ref": "#/components/schemas/Answer", "components": document["components"]}
    answer = {
        "error": "0",
        "message": "Successful",
        "answer": labels[-1],
        "probabilities": dict.fromkeys(labels, 1 / len(labels)),
        "model": {"name": "any", "version": "1"},
    }
    warning = {"code": "language_in_doubt", "message": "The text may be in another language."}
    for right in ({}, {"explanation": None}, {"warnings": []}, {"warnings": [warning, warning]}):
        jsonschema_rs.validate(schema, {**answer, **right})
    for wrong in (
        {"warnings": ["language_in_doubt"]},
        {"warnings": warning},
        {"answer": "surely"},
        {"probabilities": {}},
    ):
        assert not jsonschema_rs.is_valid(schema, {**answer, **wrong})
