"""What every function promises, whatever it classifies."""

import http.client
import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import FUNCTIONS, ROOT

from shared import endpoint


@dataclass(frozen=True)
class Contract:
    """How one function is called, and what it is to answer."""

    path: str
    key: str
    form: dict[str, Any]
    alias: str
    raw: tuple[bytes, str]
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
        label="Infected",
        labels={"Infected", "Normal"},
    ),
    "review": Contract(
        path="/predict",
        key="review_sentiment",
        form={"movie_review": REVIEW},
        alias="text",
        raw=(REVIEW.encode(), "text/plain; charset=utf-8"),
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
    assert response.headers["Allow"] == "POST"


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
    assert "gone.bin" in capsys.readouterr().err
    assert client.get("/health").status_code == 200
    problem(client.get("/ready"), 503, "model_unavailable")


def test_other_bytes_than_the_pinned_are_never_loaded(variant, load, name, contract, capsys):
    pin = json.loads((ROOT / "functions" / name / "model.json").read_text())
    digest = "0" * 64
    client = load(variant(name, {**pin, "sha256": digest}))
    problem(client.post("/", data=opened(contract.form)), 503, "model_unavailable")
    assert f"expected SHA-256 {digest}" in capsys.readouterr().err


def test_an_unexpected_error_is_a_silent_500(client, contract, monkeypatch, capsys):
    import main

    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(main.Classifier, "predict", fail)
    response = client.post("/", data=opened(contract.form))
    assert "secret" not in problem(response, 500, "internal")
    assert "secret" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "33", "ten", "1.5"])
def test_a_bad_setting_refuses_to_start(monkeypatch, value):
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
