"""What every function promises, whatever it classifies."""

import base64
import gzip
import http.client
import io
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from conftest import FUNCTIONS, ROOT

from shared.web import endpoint, readers


@dataclass(frozen=True)
class Contract:
    """How one function is called, and what it is to answer."""

    path: str
    key: str
    form: dict[str, Any]
    alias: str
    raw: tuple[bytes, str]
    json: str
    label: str
    labels: set[str] = field(default_factory=set)


INFECTED = ROOT / "models" / "malaria" / "examples" / "infected.png"
REVIEW = "A brilliant, moving film with wonderful acting. I loved every minute of it."
CONTRACTS = {
    "malaria": Contract(
        path="/classify",
        key="classification",
        form={"malaria_cell_image": INFECTED},
        alias="image",
        raw=(INFECTED.read_bytes(), "image/png"),
        json=base64.b64encode(INFECTED.read_bytes()).decode(),
        label="Infected",
        labels={"Infected", "Normal"},
    ),
    "review": Contract(
        path="/predict",
        key="review_sentiment",
        form={"movie_review": REVIEW},
        alias="text",
        raw=(REVIEW.encode(), "text/plain; charset=utf-8"),
        json=REVIEW,
        label="Positive",
        labels={"Positive", "Negative"},
    ),
}


@pytest.fixture(params=FUNCTIONS)
def name(request):
    return request.param


@pytest.fixture
def contract(name):
    return CONTRACTS[name]


@pytest.fixture
def client(load, name):
    return load(name)


def opened(form):
    return {
        key: (io.BytesIO(value.read_bytes()), value.name) if isinstance(value, Path) else value
        for key, value in form.items()
    }


def check(response, name, contract):
    assert response.status_code == 200, response.text
    answer = response.get_json()
    assert answer["error"] == "0"
    assert answer["message"] == "Successful"
    assert answer[contract.key] == contract.label
    probabilities = answer["probabilities"]
    assert set(probabilities) == contract.labels
    assert max(probabilities, key=probabilities.get) == contract.label
    assert sum(probabilities.values()) == pytest.approx(1)
    pin = json.loads((ROOT / "functions" / name / "model.json").read_text())
    assert answer["model"] == {"name": name, "version": pin["version"]}


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


def test_every_function_has_a_contract():
    assert set(CONTRACTS) == set(FUNCTIONS)


def test_the_articles_request_is_answered(client, name, contract):
    check(client.post(contract.path, data=opened(contract.form)), name, contract)


def test_the_root_answers_as_the_articles_path_does(client, name, contract):
    check(client.post("/", data=opened(contract.form)), name, contract)


def test_the_short_field_name_does_as_well(client, name, contract):
    [value] = opened(contract.form).values()
    check(client.post(contract.path, data={contract.alias: value}), name, contract)


def test_a_raw_body_is_answered(client, name, contract):
    body, kind = contract.raw
    check(client.post(contract.path, data=body, content_type=kind), name, contract)


@pytest.mark.parametrize("named", [0, 1])
def test_json_with_one_input_is_answered(client, name, contract, named):
    field = [next(iter(contract.form)), contract.alias][named]
    check(client.post(contract.path, json={field: contract.json}), name, contract)


def test_instances_are_answered_in_their_order_and_a_bad_one_in_its_place(client, name, contract):
    instances = [contract.json, "", {contract.alias: contract.json}]
    answer = client.post(contract.path, json={"instances": instances}).get_json()
    assert answer["model"]["name"] == name
    first, bad, last = answer["predictions"]
    assert first == last
    assert (first["error"], first[contract.key]) == ("0", contract.label)
    assert (bad["error"], bad["code"]) == ("1", "unusable_input")
    assert bad["message"].startswith("expected")
    [alone] = client.post(contract.path, json={"instances": [contract.json]}).get_json()["predictions"]
    assert alone == first


def test_a_field_that_is_repeated_in_a_form_is_a_batch(client, contract):
    [field] = contract.form
    values = [opened(contract.form)[field] for _ in range(3)]
    answer = client.post("/", data={field: values}, content_type="multipart/form-data").get_json()
    assert [one[contract.key] for one in answer["predictions"]] == [contract.label] * 3


def test_more_instances_than_the_limit_are_refused_and_as_many_are_answered(client, contract):
    count = readers.MAX_INSTANCES
    answer = client.post("/", json={"instances": [contract.json] * count})
    assert len(answer.get_json()["predictions"]) == count
    refused = client.post("/", json={"instances": [contract.json] * (count + 1)})
    assert f"at most {count}" in problem(refused, 413, "too_large")
    [value] = opened(contract.form)
    form = {contract.alias: [opened(contract.form)[value] for _ in range(count + 1)]}
    refused = client.post("/", data=form, content_type="multipart/form-data")
    assert f"at most {count}" in problem(refused, 413, "too_large")


NOT_JSON = {
    "no JSON": (b"{'text': 1}", "expected JSON"),
    "nothing": (b"", "expected JSON"),
    "not UTF-8": (b'{"text": "\xe9"}', "expected UTF-8"),
    "a list": (b"[]", "expected a JSON object; got list"),
    "null": (b"null", "got NoneType"),
    "NaN": (b'{"text": NaN}', "knows no NaN"),
    "twice": (b'{"text": "a", "text": "b"}', "'text' is there twice"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "a huge number": (b'{"text": ' + b"9" * 5000 + b"}", "expected"),
    "another field": (b'{"txet": "a"}', "got 'txet'"),
    "no field": (b"{}", "expected one of the fields"),
    "both": (b'{"ALIAS": "a", "instances": ["a"]}', "got 2 of them"),
    "a number": (b'{"ALIAS": 7}', "expected a string in the field 'ALIAS'; got int"),
    "an object": (b'{"ALIAS": {"b64": "x"}}', "expected a string in the field 'ALIAS'; got dict"),
    "no list": (b'{"instances": "a"}', "expected a list"),
    "an empty list": (b'{"instances": []}', "at least one input"),
    "a number among them": (b'{"instances": ["a", 7]}', "instances[1]"),
    "a strange field among them": (b'{"instances": [{"x": "a"}]}', "instances[0]"),
    "explain is a word": (b'{"ALIAS": "a", "explain": "yes"}', "'explain'"),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_json_of_another_form_is_a_400_that_names_what_is_wrong(client, contract, case):
    body, words = NOT_JSON[case]
    body, words = body.replace(b"ALIAS", contract.alias.encode()), words.replace("ALIAS", contract.alias)
    response = client.post("/", data=body, content_type="application/json")
    assert words in problem(response, 400, "bad_request")


def test_a_compressed_body_is_refused_rather_than_misread(client, contract):
    body, kind = contract.raw
    headers = {"Content-Encoding": "gzip"}
    response = client.post("/", data=gzip.compress(body), content_type=kind, headers=headers)
    assert "gzip" in problem(response, 415, "unsupported_type")


def test_a_charset_other_than_utf_8_is_refused_rather_than_misread(client, contract):
    body = json.dumps({contract.alias: contract.json}).encode("utf-16")
    response = client.post("/", data=body, content_type="application/json; charset=utf-16")
    assert "charset=utf-16" in problem(response, 415, "unsupported_type")


def test_a_form_with_both_names_of_the_field_is_refused(client, contract):
    [field] = contract.form
    form = {field: opened(contract.form)[field], contract.alias: opened(contract.form)[field]}
    response = client.post("/", data=form, content_type="multipart/form-data")
    assert "got 2 of them" in problem(response, 400, "bad_request")


def test_explain_takes_yes_or_no(client, contract):
    body, kind = contract.raw
    assert "explanation" not in client.post("/?explain=0", data=body, content_type=kind).get_json()
    assert client.post("/?explain=1", data=body, content_type=kind).get_json()["explanation"]
    assert client.post("/", json={contract.alias: contract.json, "explain": True}).get_json()["explanation"]
    assert "perhaps" in problem(client.post("/?explain=perhaps", data=body), 400, "bad_request")


def test_every_answer_says_where_the_time_went_and_the_first_that_it_was_cold(client, contract):
    body, kind = contract.raw
    first = client.post("/", data=body, content_type=kind).headers["Server-Timing"]
    assert first.endswith(", cold")
    assert {"fetch", "verify", "load", "predict"} <= set(re.findall(r"(\w+);dur=[\d.]+", first))
    second = client.post("/", data=body, content_type=kind).headers["Server-Timing"]
    assert "cold" not in second
    assert "load" not in second
    assert "predict;dur=" in second


def test_options_says_which_methods_there_are(client, contract):
    response = client.options(contract.path)
    assert (response.status_code, response.headers["Allow"]) == (204, "POST, OPTIONS")
    assert client.options("/").headers["Allow"] == "HEAD, GET, POST, OPTIONS"
    problem(client.options("/elsewhere"), 404, "not_found")


def test_without_allowed_origins_no_answer_carries_cors_headers(client):
    headers = client.get("/", headers={"Origin": "https://example.org"}).headers
    assert not [name for name, _ in headers if name.startswith("Access-Control")]


def test_a_browser_gets_the_page_and_a_program_the_status(client, name):
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
    pin = json.loads((ROOT / "functions" / name / "model.json").read_text())
    assert status["model"]["metrics"] == pin["metrics"]
    assert status["max_instances"] == readers.MAX_INSTANCES
    assert status["max_body_bytes"] == endpoint.MAX_BODY


def test_the_openapi_examples_are_answered_as_it_says(client, contract):
    document = client.get("/openapi.json").get_json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/", contract.path, "/health", "/ready", "/openapi.json"}
    schemas = document["components"]["schemas"]
    sent = 0
    for kind, body in document["paths"][contract.path]["post"]["requestBody"]["content"].items():
        for example in body.get("examples", {}).values():
            data = json.dumps(example["value"]) if kind == "application/json" else example["value"]
            response = client.post(contract.path, data=data, content_type=kind)
            assert response.status_code == 200, response.text
            answer = response.get_json()
            schema = schemas["Answers" if "predictions" in answer else "Answer"]
            jsonschema_rs.validate({**schema, "components": document["components"]}, answer)
            sent += 1
    assert sent >= 2


def test_a_prediction_is_not_to_be_stored(client, contract):
    assert client.post("/", data=opened(contract.form)).headers["Cache-Control"] == "no-store"


def test_the_start_page_says_successful_to_a_program(client):
    answer = client.get("/").get_json()
    assert (answer["error"], answer["message"]) == ("0", "Successful")


def test_a_head_request_has_the_status_and_no_body(client):
    response = client.head("/")
    assert response.status_code == 200
    assert not response.data


def test_ready_says_no_before_the_first_answer_and_yes_after_it(client, contract):
    assert client.get("/health").status_code == 200
    before = client.get("/ready")
    problem(before, 503, "model_unavailable")
    assert before.headers["Retry-After"]
    client.post("/", data=opened(contract.form))
    assert client.get("/ready").status_code == 200


def test_an_unknown_path_is_a_404_that_names_the_known_ones(client, contract):
    assert contract.path in problem(client.post("/clasify"), 404, "not_found")


def test_a_wrong_method_is_a_405_with_allow(client, contract):
    response = client.get(contract.path)
    problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST, OPTIONS"


def test_a_form_without_the_field_names_the_fields_expected_and_sent(client, contract):
    for form in ({}, {"picture": "x"}):
        response = client.post(contract.path, data=form, content_type="multipart/form-data")
        detail = problem(response, 400, "bad_request")
        assert contract.alias in detail
        assert ("picture" if form else "none") in detail


def test_another_content_type_is_a_415_that_names_those_we_read(client, contract):
    for kind in ("application/octet-stream", None):
        response = client.post(contract.path, data=b"x", content_type=kind)
        assert "form" in problem(response, 415, "unsupported_type")


def test_a_broken_form_is_a_4xx(client, contract):
    response = client.post(contract.path, data=b"--x\r\nnonsense", content_type="multipart/form-data")
    problem(response, 400, "bad_request")


def test_a_body_over_the_limit_is_a_413(client, contract):
    body, kind = contract.raw
    response = client.post(contract.path, data=body.ljust(endpoint.MAX_BODY + 1), content_type=kind)
    assert f"{endpoint.MAX_BODY:,}" in problem(response, 413, "too_large")


def test_a_store_without_the_model_is_a_503_that_tells_nothing_of_the_inside(
    variant, load, name, contract, capsys
):
    pin = json.loads((ROOT / "functions" / name / "model.json").read_text())
    client = load(variant(name, {**pin, "file": f"{name}/gone.bin"}))
    response = client.post("/", data=opened(contract.form))
    detail = problem(response, 503, "model_unavailable")
    assert response.headers["Retry-After"]
    assert "gone" not in detail
    assert "gone.bin" in capsys.readouterr().out
    assert client.get("/health").status_code == 200
    problem(client.get("/ready"), 503, "model_unavailable")


def test_other_bytes_than_the_pinned_are_never_loaded(variant, load, name, contract, capsys):
    pin = json.loads((ROOT / "functions" / name / "model.json").read_text())
    digest = "0" * 64
    client = load(variant(name, {**pin, "sha256": digest}))
    problem(client.post("/", data=opened(contract.form)), 503, "model_unavailable")
    assert f"expected SHA-256 {digest}" in capsys.readouterr().out


def test_an_unexpected_error_is_a_silent_500(client, contract, monkeypatch, capsys):
    import main

    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(main.Classifier, "predict", fail)
    response = client.post("/", data=opened(contract.form))
    assert "secret" not in problem(response, 500, "internal")
    assert "secret" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["0", "33", "ten", "1.5"])
def test_a_bad_body_limit_refuses_to_start(monkeypatch, value):
    monkeypatch.setenv("MAX_BODY_MB", value)
    with pytest.raises(ValueError, match="MAX_BODY_MB: expected whole megabytes from 1 to 32"):
        endpoint._max_body()


def test_the_functions_folder_with_shared_beside_it_is_all_the_platform_needs(
    start, tmp_path, name, contract
):
    staged = tmp_path / "staged"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "functions" / name, staged, ignore=ignore)
    shutil.copytree(ROOT / "shared", staged / "shared", ignore=ignore)
    server = start(Path("main.py"), staged, MODEL_STORE=str(ROOT / "models"))
    body, kind = contract.raw
    answer = server.request("POST", contract.path, body, kind)
    assert answer.status == 200, server.log.read_text()
    assert answer.json[contract.key] == contract.label


def test_a_real_process_refuses_a_body_over_the_limit_unread_and_goes_on(start, name, contract):
    server = start(ROOT / "functions" / name / "main.py")
    body, kind = contract.raw
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Type", kind)
    connection.putheader("Content-Length", str(200_000_000))
    connection.endheaders()  # and not a byte of the body
    refused = connection.getresponse()
    assert (refused.status, json.load(refused)["code"]) == (413, "too_large")
    connection.close()
    answer = server.request("POST", contract.path, body, kind)
    assert answer.status == 200, answer.body
    assert answer.json[contract.key] == contract.label


def test_a_real_process_refuses_a_body_over_the_limit_whose_length_it_is_not_told(start, name, contract):
    server = start(ROOT / "functions" / name / "main.py")
    body, kind = contract.raw
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    block = bytes(1_000_000)
    count = endpoint.MAX_BODY // len(block) + 1
    connection.request(
        "POST", "/", (block for _ in range(count)), {"Content-Type": kind}, encode_chunked=True
    )
    refused = connection.getresponse()
    assert (refused.status, json.load(refused)["code"]) == (413, "too_large")
    connection.close()
    assert server.request("POST", contract.path, body, kind).status == 200
