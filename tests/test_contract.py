"""The contract of every function: each folder in functions/ is tested with its own example.

The example is its `example.json`, everything else is in the `/openapi.json` that it answers.
"""

import csv
import gzip
import http.client
import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from conftest import ROOT
from werkzeug.test import EnvironBuilder

from shared.example import Example
from shared.pin import Pin
from shared.settings import Settings
from shared.web import endpoint

MULTIPART = "multipart/form-data"


@dataclass(frozen=True)
class Contract:
    """The calls of one function and the expected answers, from its folder and its OpenAPI document."""

    name: str
    pin: Pin
    example: Example
    document: dict[str, Any]

    @property
    def path(self) -> str:
        paths = self.document["paths"].items()
        [path] = [path for path, each in paths if each.get("post", {}).get("operationId") == "classifyByName"]
        return path

    @property
    def bodies(self) -> dict[str, Any]:
        return self.document["paths"][self.path]["post"]["requestBody"]["content"]

    @property
    def fields(self) -> list[str]:
        return [way["required"][0] for way in self.bodies[MULTIPART]["schema"]["oneOf"]]

    @property
    def key(self) -> str:
        answer = self.document["components"]["schemas"]["Answer"]["required"]
        [key] = set(answer) - {"error", "message", "probabilities", "model"}
        return key

    @property
    def part(self) -> Any:
        """The example as a part of a form; a file is opened each time."""
        value = self.example.input
        if self.example.file:
            return io.BytesIO(self.example.file.read_bytes()), self.example.file.name
        return value if isinstance(value, str) else json.dumps(value)

    @property
    def raw(self) -> tuple[bytes, str]:
        """The example as a body, and its media type."""
        value = self.example.input
        if self.example.file:
            return self.example.file.read_bytes(), f"image/{self.example.file.suffix[1:].lower()}"
        if isinstance(value, str):
            return value.encode(), "text/plain; charset=utf-8"
        text = io.StringIO()
        csv.writer(text).writerows([value.keys(), value.values()] if isinstance(value, dict) else [value])
        return text.getvalue().encode(), "text/csv"

    def check(self, answer: dict[str, Any]) -> None:
        """Check one answer against the folder's example and pin."""
        assert (answer["error"], answer["message"]) == ("0", "Successful")
        assert set(answer["probabilities"]) == set(self.pin.labels)
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert answer[self.key] in self.pin.labels
        assert self.example.label in (answer[self.key], None)


@pytest.fixture
def fresh(load, name):
    """A client of a function that has not answered any request yet."""
    return load(name)


@pytest.fixture
def contract(client, name):
    folder = ROOT / "functions" / name
    document = client.get("/openapi.json").get_json()
    return Contract(name, Pin.read(folder / "model.json"), Example.read(folder), document)


def answered(response, contract):
    """Return the answers of a response, after a check of each against the contract."""
    assert response.status_code == 200, response.text
    answer = response.get_json()
    assert answer["model"] == {"name": contract.name, "version": contract.pin.version}
    answers = answer.get("predictions", [answer])
    for one in answers:
        contract.check(one)
    return answers


def problem(response, status, code):
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    answer = response.get_json()
    assert answer["status"] == status
    assert answer["code"] == code
    assert answer["error"] == "1"
    assert answer["message"] == answer["detail"]
    assert {"type", "title"} <= set(answer)
    return answer["detail"]


def posted(client, contract, path="/"):
    return client.post(path, data={contract.fields[0]: contract.part}, content_type=MULTIPART)


def test_a_form_is_answered_under_each_field_at_its_path_and_at_the_root(client, contract):
    for path in ("/", contract.path):
        for field in contract.fields:
            form = {field: contract.part}
            [_] = answered(client.post(path, data=form, content_type=MULTIPART), contract)


def test_a_raw_body_is_answered(client, contract):
    body, kind = contract.raw
    [_] = answered(client.post(contract.path, data=body, content_type=kind), contract)


def test_json_with_one_input_is_answered_under_each_field(client, contract):
    for field in contract.fields:
        [_] = answered(client.post(contract.path, json={field: contract.example.input}), contract)


NOT_INPUTS = [7, 1.5, None, True, "", [], {}, [[]], {"surely": "unknown"}, {"surely": {"b64": "unknown"}}]


def test_a_bad_instance_gets_an_error_in_its_place_and_affects_no_other(client, contract):
    good = contract.example.input
    instances = [
        good,
        *NOT_INPUTS,
        {contract.fields[-1]: good},
        {"key": "7", **dict.fromkeys(contract.fields)},
    ]
    response = client.post(contract.path, json={"instances": instances})
    assert response.status_code == 200, response.text
    first, *bad, last, empty = response.get_json()["predictions"]
    assert first == last
    contract.check(first)
    for one in [*bad, empty]:
        assert one["error"] == "1", one
        assert one["code"] in ("bad_request", "unusable_input")
        assert one["message"].startswith("expected")
    [alone] = answered(client.post(contract.path, json={"instances": [good]}), contract)
    assert alone == first


@pytest.mark.parametrize(
    "bad", ['{"a": 1, "a": 2}', "NaN", "-Infinity", "9" * 5000, '"\\ud800"', "[" * 90 + "]" * 90]
)
def test_an_unusual_json_instance_gets_an_error_in_its_place(client, contract, bad):
    good = json.dumps(contract.example.input)
    body = f'{{"instances": [{bad}, {good}, {{"{contract.fields[0]}": {bad}}}]}}'
    response = client.post("/", data=body, content_type="application/json")
    assert response.status_code == 200, response.text
    before, answer, after = response.get_json()["predictions"]
    contract.check(answer)
    assert before["error"] == after["error"]
    assert before["message"].startswith(("expected", "Successful"))


def test_a_field_that_is_repeated_in_a_form_is_a_batch(client, contract):
    form = {contract.fields[0]: [contract.part for _ in range(3)]}
    assert len(answered(client.post("/", data=form, content_type=MULTIPART), contract)) == 3


def test_inputs_up_to_the_limit_are_answered_and_more_are_refused(client, contract):
    count, good = client.get("/").get_json()["max_instances"], contract.example.input
    assert len(answered(client.post("/", json={"instances": [good] * count}), contract)) == count
    refused = client.post("/", json={"instances": [good] * (count + 1)})
    assert f"at most {count}" in problem(refused, 413, "too_large")
    form = {contract.fields[0]: [contract.part for _ in range(count + 1)]}
    environ = EnvironBuilder(method="POST", data=form, content_type=MULTIPART).get_environ()
    with environ["wsgi.input"]:  # a file, if it is large, which the client would not close
        refused = client.open(environ)
    assert f"at most {count}" in problem(refused, 413, "too_large")


NOT_JSON = {
    "no JSON": (b"{'text': 1}", "not valid JSON"),
    "nothing": (b"", "not valid JSON"),
    "not UTF-8": (b'{"FIELD": "\xe9"}', "expected UTF-8"),
    "a list": (b"[]", "expected a JSON object; got a list"),
    "null": (b"null", "got null"),
    "NaN": (b'{"FIELD": NaN}', "nan, which is not valid JSON"),
    "twice": (b'{"FIELD": "a", "FIELD": "b"}', "'FIELD' occurs twice"),
    "deep": (b"[" * 50_000, "nested too deeply"),
    "another field": (b'{"surely": "a"}', "got 'surely'"),
    "no field": (b"{}", "expected one of the fields"),
    "both": (b'{"FIELD": "a", "instances": ["a"]}', "got 2 of them"),
    "a number": (b'{"FIELD": 7}', "got a number"),
    "no list": (b'{"instances": "a"}', "expected a list"),
    "an empty list": (b'{"instances": []}', "at least one input"),
    "explain is no word for yes or no": (b'{"FIELD": "a", "explain": "perhaps"}', "explain=1"),
    "explain is a list": (b'{"FIELD": "a", "explain": [1]}', "explain=1"),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_json_of_the_wrong_shape_is_a_400_that_names_the_fault(client, contract, case):
    body, words = NOT_JSON[case]
    body = body.replace(b"FIELD", contract.fields[0].encode())
    response = client.post("/", data=body, content_type="application/json")
    assert words.replace("FIELD", contract.fields[0]) in problem(response, 400, "bad_request")


@pytest.mark.parametrize(("value", "words"), [(b"{}", "100,000 objects"), (b"1", "300,000 values")])
def test_json_that_is_larger_than_any_batch_is_refused_unparsed(client, value, words):
    body = b'{"instances": [' + (value + b",") * 400_000 + value + b"]}"
    response = client.post("/", data=body, content_type="application/json")
    assert f"at most {words}" in problem(response, 413, "too_large")


def test_extra_fields_of_googles_and_tensorflows_clients_are_accepted(client, contract):
    beside = {"parameters": {"a": 1}, "signature_name": "serving_default", "key": "7"}
    answered(client.post("/", json={"instances": [contract.example.input], **beside}), contract)
    answered(client.post("/", json={contract.fields[0]: contract.example.input, **beside}), contract)


@pytest.mark.parametrize("kind", ["text/plain;charset=UTF-8", "application/octet-stream", None, "text/json"])
def test_json_is_read_under_any_content_type(client, contract, kind):
    for content in ({contract.fields[0]: contract.example.input}, {"instances": [contract.example.input]}):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            body = json.dumps(content).encode(encoding)
            [_] = answered(client.post("/", data=body, content_type=kind), contract)


def test_json_with_curls_default_type_is_read(client, contract):
    body = json.dumps({contract.fields[0]: contract.example.input})
    kind = "application/x-www-form-urlencoded"
    [_] = answered(client.post("/", data=body, content_type=kind), contract)
    cut = client.post("/", data=body[:-1], content_type=kind)
    assert "not valid JSON" in problem(cut, 400, "bad_request")


def test_a_field_of_a_form_may_be_named_as_a_list(client, contract):
    for suffix in ("[]", "[0]"):
        form = {contract.fields[0] + suffix: contract.part}
        [_] = answered(client.post("/", data=form, content_type=MULTIPART), contract)


def test_a_compressed_body_is_refused_rather_than_misread(client, contract):
    body, kind = contract.raw
    headers = {"Content-Encoding": "gzip"}
    response = client.post("/", data=gzip.compress(body), content_type=kind, headers=headers)
    assert "gzip" in problem(response, 415, "unsupported_type")


def test_a_form_with_several_names_of_the_field_is_refused(client, contract):
    if len(contract.fields) == 1:
        pytest.skip("it has one field")
    form = {field: contract.part for field in contract.fields}  # noqa: C420 (each its own stream)
    response = client.post("/", data=form, content_type=MULTIPART)
    assert f"got {len(form)} of them" in problem(response, 400, "bad_request")


@pytest.mark.parametrize("word", ["1", "true", "True", "yes", "on", ""])
def test_any_word_for_yes_requests_an_explanation(client, contract, word):
    body, kind = contract.raw
    [answer] = answered(client.post(f"/?explain={word}", data=body, content_type=kind), contract)
    assert "explanation" in answer
    form = {contract.fields[0]: contract.part, "explain": word}
    [answer] = answered(client.post("/", data=form, content_type=MULTIPART), contract)
    assert "explanation" in answer


@pytest.mark.parametrize("value", [True, 1, "true", "1", "yes"])
def test_any_json_value_for_yes_requests_an_explanation(client, contract, value):
    content = {contract.fields[0]: contract.example.input, "explain": value}
    [answer] = answered(client.post("/", json=content), contract)
    assert "explanation" in answer


@pytest.mark.parametrize("value", [False, 0, "false", "no", None])
def test_a_value_for_no_requests_no_explanation(client, contract, value):
    content = {contract.fields[0]: contract.example.input, "explain": value}
    [answer] = answered(client.post("/", json=content), contract)
    assert "explanation" not in answer
    body, kind = contract.raw
    assert "explanation" not in client.post("/?explain=off", data=body, content_type=kind).get_json()


def test_an_unknown_value_of_explain_is_a_400(client, contract):
    body, kind = contract.raw
    response = client.post("/?explain=perhaps", data=body, content_type=kind)
    assert "perhaps" in problem(response, 400, "bad_request")


def test_every_answer_has_server_timing_and_the_first_is_marked_as_cold(fresh, contract):
    body, kind = contract.raw
    first = fresh.post("/", data=body, content_type=kind).headers["Server-Timing"]
    assert first.endswith(", cold")
    assert {"fetch", "verify", "load", "predict"} <= set(re.findall(r"(\w+);dur=[\d.]+", first))
    second = fresh.post("/", data=body, content_type=kind).headers["Server-Timing"]
    assert "cold" not in second
    assert "load" not in second
    assert "predict;dur=" in second


def test_options_lists_the_allowed_methods(client, contract):
    response = client.options(contract.path)
    assert (response.status_code, response.headers["Allow"]) == (204, "POST, OPTIONS")
    assert client.options("/").headers["Allow"] == "HEAD, GET, POST, OPTIONS"
    problem(client.options("/elsewhere"), 404, "not_found")


def test_without_allowed_origins_no_answer_carries_cors_headers(client):
    headers = client.get("/", headers={"Origin": "https://example.org"}).headers
    assert not [name for name, _ in headers if name.startswith("Access-Control")]


def test_a_browser_gets_the_page_and_a_program_gets_the_status(client, contract):
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    page = client.get("/", headers={"Accept": browser})
    assert page.content_type == "text/html; charset=utf-8"
    assert "<title>" in page.text
    assert "{{" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for accept in ("*/*", "application/json", None):
        response = client.get("/", headers={"Accept": accept} if accept else {})
        assert response.content_type == "application/json"
        assert response.headers["Vary"] == "Accept"
    status = response.get_json()
    assert (status["error"], status["message"]) == ("0", "Successful")
    assert status["model"]["metrics"] == dict(contract.pin.metrics)
    assert status["max_instances"] == (128 if contract.example.file else 1024)
    assert status["max_body_bytes"] == Settings().max_body


def test_the_openapi_examples_get_the_documented_answers(client, contract):
    assert contract.document["openapi"] == "3.1.0"
    schemas = contract.document["components"]["schemas"]
    sent = 0
    for kind, body in contract.bodies.items():
        for example in body.get("examples", {}).values():
            data = json.dumps(example["value"]) if kind == "application/json" else example["value"]
            response = client.post(f"{contract.path}?explain=1", data=data, content_type=kind)
            answered(response, contract)
            answer = response.get_json()
            schema = schemas["Answers" if "predictions" in answer else "Answer"]
            jsonschema_rs.validate({**schema, "components": contract.document["components"]}, answer)
            sent += 1
    assert sent >= 2


def test_a_prediction_forbids_caching(client, contract):
    assert posted(client, contract).headers["Cache-Control"] == "no-store"


def test_a_head_request_has_the_status_and_no_body(client):
    response = client.head("/")
    assert response.status_code == 200
    assert not response.data


def test_ready_is_a_503_before_the_first_answer_and_a_200_after_it(fresh, contract):
    assert fresh.get("/health").status_code == 200
    before = fresh.get("/ready")
    problem(before, 503, "model_unavailable")
    assert before.headers["Retry-After"]
    posted(fresh, contract)
    assert fresh.get("/ready").status_code == 200


def test_an_unknown_path_is_a_404_that_names_the_known_ones(client, contract):
    assert contract.path in problem(client.post("/elsewhere"), 404, "not_found")


def test_a_wrong_method_is_a_405_with_allow(client, contract):
    response = client.get(contract.path)
    problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("kind", [MULTIPART, "application/x-www-form-urlencoded"])
def test_a_form_without_the_field_names_the_fields_expected_and_sent(client, contract, kind):
    for form in ({}, {"surely": "x"}):
        detail = problem(client.post(contract.path, data=form, content_type=kind), 400, "bad_request")
        assert contract.fields[-1] in detail
        assert ("surely" if form else "none") in detail


@pytest.mark.parametrize("kind", ["application/pdf", "application/xml", "multipart/mixed; boundary=x"])
def test_an_unsupported_content_type_is_a_415_that_names_the_supported_ones(client, contract, kind):
    response = client.post(contract.path, data=b"x", content_type=kind)
    assert "expected a form with the field" in problem(response, 415, "unsupported_type")


@pytest.mark.parametrize("kind", [MULTIPART, f"{MULTIPART}; boundary="])
def test_the_error_for_a_form_without_a_boundary_says_who_sets_it(client, contract, kind):
    response = client.post(contract.path, data=b"--x\r\nnonsense", content_type=kind)
    assert "let the client set Content-Type" in problem(response, 400, "bad_request")


def test_a_body_over_the_limit_is_a_413(client, contract):
    body, kind = contract.raw
    limit = Settings().max_body
    response = client.post(contract.path, data=body.ljust(limit + 1), content_type=kind)
    assert f"{limit:,}" in problem(response, 413, "too_large")


def test_a_store_without_the_model_is_a_503_without_internal_details(variant, load, contract, capsys):
    pin = contract.pin.content()
    client = load(variant(contract.name, {**pin, "file": f"{contract.name}/gone.bin"}))
    response = posted(client, contract)
    detail = problem(response, 503, "model_unavailable")
    assert response.headers["Retry-After"]
    assert "gone" not in detail
    assert "gone.bin" in capsys.readouterr().out
    assert client.get("/health").status_code == 200
    problem(client.get("/ready"), 503, "model_unavailable")


def test_bytes_that_are_not_the_pinned_ones_are_never_loaded(variant, load, contract, capsys):
    digest = "0" * 64
    client = load(variant(contract.name, {**contract.pin.content(), "sha256": digest}))
    problem(posted(client, contract), 503, "model_unavailable")
    assert f"expected SHA-256 {digest}" in capsys.readouterr().out


def test_an_unexpected_error_is_a_500_without_details(client, contract, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(endpoint, "classify", fail)
    assert "secret" not in problem(posted(client, contract), 500, "internal")
    assert "secret" in capsys.readouterr().out


def test_the_folder_with_shared_beside_it_is_a_service_that_refuses_large_bodies_unread(
    start, tmp_path, contract
):
    staged = tmp_path / "staged"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "functions" / contract.name, staged, ignore=ignore)
    shutil.copytree(ROOT / "shared", staged / "shared", ignore=ignore)
    server = start(Path("main.py"), staged, MODEL_STORE=str(ROOT / "models"))
    body, kind = contract.raw

    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Type", kind)
    connection.putheader("Content-Length", str(200_000_000))
    connection.endheaders()  # and not a byte of the body
    refused = connection.getresponse()
    assert (refused.status, json.load(refused)["code"]) == (413, "too_large")
    connection.close()

    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    block = bytes(1_000_000)
    blocks = (block for _ in range(Settings().max_body // len(block) + 1))  # their length is not told
    connection.request("POST", "/", blocks, {"Content-Type": kind}, encode_chunked=True)
    refused = connection.getresponse()
    assert (refused.status, json.load(refused)["code"]) == (413, "too_large")
    connection.close()

    answer = server.request("POST", contract.path, body, kind)
    assert answer.status == 200, server.log.read_text()
    contract.check(answer.json.get("predictions", [answer.json])[0])
