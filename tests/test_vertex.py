"""Vertex AI: the documented requests, those of its batch jobs, and the variables of its container.

https://docs.cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
"""

import json
import time

import jsonschema_rs
import pytest
from conftest import FUNCTIONS, ROOT

from shared.example import Example
from shared.settings import SettingError, Settings

ROUTES = {
    "AIP_HTTP_PORT": "8080",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/123/deployedModels/456",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/123/deployedModels/456:predict",
}


def post(client, instances, path="/", **more):
    answer = client.post(path, json={"instances": instances, **more})
    assert answer.status_code == 200, answer.text
    return answer.get_json()["predictions"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_container_becomes_ready_by_itself_and_answers_on_its_routes(name, start):
    server = start(ROOT / "functions" / name / "main.py", **ROUTES)
    for _ in range(600):
        ready = server.request("GET", ROUTES["AIP_HEALTH_ROUTE"])
        if ready.status == 200:
            break
        assert ready.status == 503
        time.sleep(0.05)
    assert ready.status == 200
    instance = Example.read(ROOT / "functions" / name).input
    body = json.dumps({"instances": [instance] * 64, "parameters": {}}).encode()
    answer = server.request("POST", ROUTES["AIP_PREDICT_ROUTE"], body, "application/json").json
    # Vertex AI adds `model`, a string, and others.
    assert set(answer) == {"predictions"}
    assert len(answer["predictions"]) == 64
    document = server.request("GET", "/openapi.json").json
    schema = {**document["components"]["schemas"]["Answers"], "components": document["components"]}
    jsonschema_rs.validate(schema, answer)
    assert "labels" in server.request("GET", "/").json["model"]


def test_a_batch_job_sends_rows_in_the_form_of_its_source(load):
    client = load("review")
    lines = ["A fine film.", {"text": "A fine film.", "key": 7}]  # JSONL
    table = [["A fine film."], {"id": 1, "text": "A fine film.", "lang": None}]  # BigQuery, array and object
    [expected, *others] = post(client, [*lines, *table])
    assert others == [expected] * 3
    bad = post(client, [None, [], [None], ["a", "b"], {"id": 1}, {"text": None, "id": 1}, "A fine film."])
    assert [one["error"] for one in bad] == ["1"] * 6 + ["0"]
    assert bad[-1] == expected


def test_files_and_tfrecords_are_sent_as_b64(load):
    client = load("malaria")
    image = Example.read(ROOT / "functions" / "malaria").input
    [expected, *others] = post(
        client, [image, {"b64": image}, [{"b64": image}], {"image": {"b64": image}, "id": 1}]
    )
    assert others == [expected] * 3


def test_two_known_fields_in_one_row_are_refused(load):
    [wrong] = post(load("review"), [{"text": "a", "movie_review": "b"}])
    assert (wrong["code"], wrong["message"]) == (
        "bad_request",
        "expected one of the fields movie_review, text; got movie_review, text",
    )


def test_unknown_parameters_are_ignored(load):
    client = load("review")
    [plain] = post(client, ["good"])
    for parameters in (
        {},
        None,
        [],
        7,
        "x",
        {"confidenceThreshold": 0.5},
        {"explain": None},
        {"explain": False},
    ):
        assert post(client, ["good"], parameters=parameters) == [plain]
    assert "explanation" in post(client, ["good"], parameters={"explain": True})[0]
    assert "explanation" not in post(client, ["good"], parameters={"explain": True}, explain=False)[0]


def test_its_variables_are_checked_and_it_is_warm():
    settings = Settings.read(ROUTES)
    assert settings.vertex is settings.warm_up is True
    assert Settings.read({**ROUTES, "WARM_UP": "0"}).warm_up is True
    for variable, value in (
        ("AIP_HTTP_PORT", "http"),
        ("AIP_HEALTH_ROUTE", "ready"),
        ("AIP_PREDICT_ROUTE", "/a b"),
    ):
        with pytest.raises(SettingError, match=variable):
            Settings.read({**ROUTES, variable: value})
