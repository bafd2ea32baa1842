"""The contract of every function with engines: BigQuery, Vertex AI, and the protocols V1 and V2.

As in the contract of people's calls, the example is the folder's, and everything else is in `/openapi.json`.
"""

import json

import jsonschema_rs
import pytest
from conftest import ROOT

from shared.example import Example
from shared.pin import Pin


@pytest.fixture
def example(name):
    return Example.read(ROOT / "functions" / name).input


@pytest.fixture
def expected(client, example):
    """Return the answer to a plain call."""
    [answer] = client.post("/", json={"instances": [example]}).get_json()["predictions"]
    return answer


@pytest.fixture
def document(client):
    return client.get("/openapi.json").get_json()


def post(client, path, content, **headers):
    """Post JSON as tritonclient does, with no content type."""
    return client.post(path, data=json.dumps(content), headers=headers)


def test_bigquery_gets_a_reply_for_each_call_in_order(client, example, expected, document):
    calls = [[example], [None], [True], [example], [""]]
    content = {"requestId": "1", "caller": "//bigquery", "sessionUser": "a@example.org", "calls": calls}
    response = post(client, "/bigquery", content)
    assert response.status_code == 200, response.text
    good, null, wrong, again, blank = response.get_json()["replies"]
    assert good == again == expected
    assert null is None
    for bad in (wrong, blank):
        assert set(bad) == {"error", "code", "message"}
        assert bad["message"].startswith(("expected", "the row is not valid JSON"))
    schema = document["paths"]["/bigquery"]["post"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    jsonschema_rs.validate({**schema, "components": document["components"]}, response.get_json())


def test_every_example_of_the_document_gets_the_documented_answer(client, document):
    sent = 0
    for path, operations in document["paths"].items():
        body = (
            operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        )
        for each in body.get("examples", {}).values():
            response = post(client, path, each["value"], **{"Content-Type": "application/json"})
            assert response.status_code == 200, (path, response.text)
            success = operations["post"]["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema_rs.validate({**success, "components": document["components"]}, response.get_json())
            sent += 1
    assert sent == 10


def test_vertex_ai_sends_64_rows_in_the_form_of_its_source(client, example, expected, document):
    field = next(
        iter(
            document["paths"]["/"]["post"]["requestBody"]["content"]["application/json"]["examples"]["one"][
                "value"
            ]
        )
    )
    rows = [[example], {field: example, "key": 7}, {"id": 1, field: example, "more": "x"}, example]
    answer = client.post(
        "/", json={"instances": [*rows * 16, None], "parameters": {"confidence": 0.5}}
    ).get_json()
    *good, null = answer["predictions"]
    assert good == [expected] * 64
    assert (null["error"], null["code"]) == ("1", "bad_request")


def test_vertex_ai_requests_explanations_by_parameters(client, example):
    content = {"instances": [example], "parameters": {"explain": True}}
    assert "explanation" in client.post("/", json=content).get_json()["predictions"][0]
    refused = client.post("/", json={**content, "parameters": {"explain": "perhaps"}})
    assert "explain=1 or explain=0" in refused.get_json()["detail"]


def test_the_v1_protocol_is_the_same_call_under_another_path(client, name, example, expected):
    assert client.get(f"/v1/models/{name}").get_json() == {"name": name, "ready": True}
    response = post(client, f"/v1/models/{name}:predict", {"instances": [example, None]})
    good, bad = response.get_json()["predictions"]
    assert good == expected
    assert bad["error"] == "1"


def test_the_v2_protocol_gives_the_same_answer_as_tensors(client, name, expected, document):
    path = f"/v2/models/{name}/infer"
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    content = body["examples"]["one"]["value"]
    answer = post(client, path, {**content, "id": "a7"}).get_json()
    assert (answer["id"], answer["model_name"]) == ("a7", name)
    tensors = {tensor["name"]: tensor for tensor in answer["outputs"]}
    metadata = {each["name"]: each for each in client.get(f"/v2/models/{name}").get_json()["outputs"]}
    assert set(tensors) <= set(metadata)
    probabilities = tensors.pop("probabilities")
    labels = json.loads(metadata["probabilities"]["parameters"]["labels"])
    assert dict(zip(labels, probabilities["data"], strict=True)) == expected["probabilities"]
    assert probabilities["shape"] == [1, len(labels)]
    [label] = [tensor for tensor in tensors.values() if tensor["name"] != "warnings"]
    assert (label["shape"], label["data"]) == ([1], [expected[label["name"]]])


def test_v2_describes_the_server_and_its_readiness(load, name):
    client = load(name)
    assert client.get("/ready").status_code == 503
    assert client.get("/v2/health/live").get_json() == {"live": True}
    assert client.get("/v2/health/ready").get_json() == {"ready": True}
    assert client.get("/ready").status_code == 200
    version = client.get("/v2").get_json()["version"]
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
        about = client.get(path).get_json()
        assert (about["name"], about["versions"], len(about["inputs"])) == (name, [version], 1)
        assert client.get(f"{path}/ready").get_json() == {"name": name, "ready": True}


def shapes(name):
    """Return the paths that predict, each with the member that holds the error."""
    return {
        "/bigquery": "errorMessage",
        f"/v1/models/{name}:predict": "error",
        f"/v2/models/{name}/infer": "error",
        "/v2/models/another/infer": "error",
        "/v2/anything": "error",
    }


BROKEN = [
    b"",
    b"{",
    b"[" * 9000,
    b"\xff\xfe",
    b"[]",
    b"null",
    b'{"calls": 7, "inputs": 7, "instances": 7}',
    b"{}",
]


def test_no_error_breaks_the_shape_of_its_protocol(client, name):
    for path, member in shapes(name).items():
        answers = [client.post(path, data=body) for body in BROKEN]
        answers += [client.get(path) if "infer" in path or path == "/bigquery" else client.put(path)]
        answers += [client.post(path, data=b"x", headers={"Content-Encoding": "gzip"})]
        answers += [client.post(path, data=bytes(11_000_000))]
        for answer in answers:
            assert 400 <= answer.status_code < 500, (path, answer.text)
            assert answer.content_type == "application/json"
            assert set(answer.get_json()) == {member}
            assert 5 < len(answer.get_json()[member]) < 1000
        if "another" not in path and "anything" not in path:
            assert [each.status_code for each in answers[-3:]] == [405, 415, 413]


def test_a_defect_and_a_missing_model_keep_the_shape_without_internal_details(
    variant, load, name, example, capsys
):
    pin = Pin.read(ROOT / "functions" / name / "model.json").content()
    client = load(variant(name, {**pin, "file": f"{name}/gone.bin"}))
    for path, member in list(shapes(name).items())[:3]:
        tensor = {"name": "row", "datatype": "FP64", "shape": [1, 1], "data": [1]}
        tensor = (
            tensor
            if isinstance(example, dict | list)
            else {**tensor, "datatype": "BYTES", "shape": [1], "data": ["a"]}
        )
        if member != "errorMessage":
            field = client.get(f"/v2/models/{name}").get_json()["inputs"][0]["name"]
            tensor["name"] = field
        answer = post(
            client,
            path,
            {"calls": [[example]], "inputs": [tensor]} if "v1" not in path else {"instances": [example]},
        )
        assert answer.status_code == 503, (path, answer.text)
        assert set(answer.get_json()) == {member}
        assert "try again shortly" in answer.get_json()[member]
        assert "gone" not in answer.text
        assert answer.headers["Retry-After"]
    assert client.get("/v2/health/ready").status_code == 503
    assert "gone.bin" in capsys.readouterr().out
