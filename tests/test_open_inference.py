"""The Open Inference Protocol: tensors in JSON and in binary, and tensors that contradict their header."""

import base64
import json
import struct
import tracemalloc

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from identity import provider

CELL = (ROOT / "models" / "malaria" / "examples" / "infected.png").read_bytes()
TEXTS = ["A fine film, I loved it.", "Bad.", "Dis film sweet well well."]
REVIEW, MALARIA = "/v2/models/review/infer", "/v2/models/malaria/infer"


@pytest.fixture
def table(load_table):
    return load_table()


def tensor(name, data, shape=None, datatype="BYTES", **more):
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data, **more}


def outputs(answer):
    assert answer.status_code == 200, answer.text
    content = answer.get_json()
    found = {each["name"]: each for each in content["outputs"]}
    for each in found.values():
        size = 1
        for dimension in each["shape"]:
            size *= dimension
        assert len(each["data"]) == size
    return found


def refusal(answer, status=400):
    assert (answer.status_code, set(answer.get_json())) == (status, {"error"}), answer.text
    return answer.get_json()["error"]


def binary(elements):
    return b"".join(struct.pack("<I", len(each)) + each for each in elements)


def in_binary(client, path, inputs, raw, header=None, **more):
    """Post JSON followed by binary data."""
    head = json.dumps({"inputs": inputs, **more}).encode()
    length = str(len(head) if header is None else header)
    return client.post(path, data=head + raw, headers={"Inference-Header-Content-Length": length})


def bytes_of(name, elements, size=None, shape=None):
    parameters = {"binary_data_size": len(binary(elements)) if size is None else size}
    return {"name": name, "datatype": "BYTES", "shape": shape or [len(elements)], "parameters": parameters}


@pytest.mark.parametrize(
    ("shape", "data"),
    [([3], TEXTS), ([3, 1], TEXTS), ([3, 1], [[text] for text in TEXTS]), ([3], [[text] for text in TEXTS])],
)
def test_texts_in_json_are_answered_nested_or_flat(review, shape, data):
    expected = review.post("/", json={"instances": TEXTS}).get_json()["predictions"]
    for name in ("text", "movie_review"):
        found = outputs(review.post(REVIEW, json={"inputs": [tensor(name, data, shape)]}))
        assert found["review_sentiment"]["data"] == [one["review_sentiment"] for one in expected]
        assert found["review_sentiment"]["shape"] == [3]
        flat = [share for one in expected for share in one["probabilities"].values()]
        assert (found["probabilities"]["data"], found["probabilities"]["shape"]) == (flat, [3, 2])


def test_texts_in_binary_and_in_base64_are_the_same_texts(review):
    expected = outputs(review.post(REVIEW, json={"inputs": [tensor("text", TEXTS)]}))
    elements = [text.encode() for text in TEXTS]
    assert outputs(in_binary(review, REVIEW, [bytes_of("text", elements)], binary(elements))) == expected
    coded = tensor(
        "text", [base64.b64encode(each).decode() for each in elements], parameters={"content_type": "base64"}
    )
    assert outputs(review.post(REVIEW, json={"inputs": [coded]})) == expected
    said = tensor("text", TEXTS, [3, 1], parameters={"content_type": "str"})
    assert outputs(review.post(REVIEW, json={"inputs": [said]})) == expected


def test_images_are_read_as_bytes_or_in_base64(load):
    client = load("malaria")
    coded = base64.b64encode(CELL).decode()
    expected = outputs(client.post(MALARIA, json={"inputs": [tensor("image", [coded, coded])]}))
    assert expected["classification"]["data"] == ["Infected"] * 2
    raw = [CELL, CELL]
    assert outputs(in_binary(client, MALARIA, [bytes_of("image", raw)], binary(raw))) == expected
    mlserver = tensor("malaria_cell_image", [coded, coded], [2, 1], parameters={"content_type": "base64"})
    assert outputs(client.post(MALARIA, json={"inputs": [mlserver]})) == expected


def test_rows_are_read_as_one_tensor_or_as_one_for_each_column(table):
    path = "/v2/models/table/infer"
    whole = tensor("an input", [1, 9, 2, 9], [2, 2], "FP64")
    columns = [tensor("length", [1, 2], [2, 1], "INT64"), tensor("width", [9.5, None], [2], "FP32")]
    for inputs in ([whole], columns, [tensor("an input", [[1, 9], [2, 9]], [2, 2], "INT8")]):
        found = outputs(table.post(path, json={"inputs": inputs}))
        assert found["the label"]["data"] == ["one", "two"]
    raw = struct.pack("<2q", 1, 2) + struct.pack("<2d", 9, float("nan"))
    inputs = [
        {"name": name, "datatype": kind, "shape": [2], "parameters": {"binary_data_size": 16}}
        for name, kind in (("length", "INT64"), ("width", "FP64"))
    ]
    assert outputs(in_binary(table, path, inputs, raw))["the label"]["data"] == ["one", "two"]
    for wrong in (
        [tensor("length", [1, 2], datatype="INT64"), tensor("width", [1], datatype="INT64")],
        [tensor("a", ["x"])],
    ):
        assert "expected" in refusal(table.post(path, json={"inputs": wrong}))


def test_warnings_are_a_tensor_that_is_sent_if_there_are_any_or_on_request(table):
    path = "/v2/models/table/infer"
    doubtful, sure = (tensor("an input", [place, 0], [1, 2], "FP64") for place in (3, 1))
    [warnings] = outputs(table.post(path, json={"inputs": [doubtful]}))["warnings"]["data"]
    assert json.loads(warnings)[0]["code"] == "unlike_training"
    assert "warnings" not in outputs(table.post(path, json={"inputs": [sure]}))
    asked = {"inputs": [sure], "outputs": [{"name": "warnings"}, {"name": "the label"}]}
    found = outputs(table.post(path, json=asked))
    assert [*found] == ["warnings", "the label"]
    assert found["warnings"]["data"] == ["[]"]


def test_a_parameter_or_an_output_requests_explanations(review):
    inputs = [tensor("text", TEXTS)]
    for more in ({"parameters": {"explain": True}}, {"outputs": [{"name": "explanation"}]}):
        found = outputs(review.post(REVIEW, json={"inputs": inputs, **more}))
        assert [json.loads(each)["tokens"][0]["start"] for each in found["explanation"]["data"]] == [0, 0, 0]
    assert "explanation" not in outputs(review.post(REVIEW, json={"inputs": inputs}))
    refused = review.post(REVIEW, json={"inputs": inputs, "parameters": {"explain": "perhaps"}})
    assert "explain=1 or explain=0" in refusal(refused)


def test_the_answer_has_the_id_and_only_the_requested_outputs(review):
    content = {"id": "\u00e9 7", "model_name": "x", "inputs": [tensor("text", TEXTS)]}
    asked = {"outputs": [{"name": "review_sentiment", "parameters": {"binary_data": True}}]}
    answer = review.post(REVIEW, json={**content, **asked, "parameters": {"binary_data_output": True}})
    assert answer.get_json()["id"] == "\u00e9 7"
    assert [*outputs(answer)] == ["review_sentiment"]
    assert "id" not in review.post(REVIEW, json={"inputs": content["inputs"]}).get_json()
    assert "string in the field 'id'" in refusal(review.post(REVIEW, json={**content, "id": 7}))
    for wrong in ([{"name": "x"}], ["review_sentiment"], [{}], 7, {"name": "x"}, [None]):
        assert "'outputs'" in refusal(review.post(REVIEW, json={**content, "outputs": wrong}))


def test_one_bad_element_fails_the_request_and_is_named(review, load):
    for bad, status in (("", 422), (None, 422), (7, 422), ({"a": 1}, 422), ("x" * 100_001, 413)):
        answer = review.post(REVIEW, json={"inputs": [tensor("text", [*TEXTS, bad])]})
        assert refusal(answer, status).startswith("inputs[0].data[3]: expected ")
    elements = [b"A film.", b"\xff\xff"]
    answer = in_binary(review, REVIEW, [bytes_of("text", elements)], binary(elements))
    assert refusal(answer, 422).startswith("inputs[0].data[1]: expected UTF-8 text")
    answer = load("malaria").post(MALARIA, json={"inputs": [tensor("image", ["bm8gaW1hZ2U="])]})
    assert refusal(answer, 422).startswith("inputs[0].data[0]: ")


def test_another_model_or_version_is_a_404_and_too_many_are_a_413(review):
    for path in (
        "/v2/models/other/infer",
        "/v2/models/review/versions/0/infer",
        "/v2/models/review/versions/0",
    ):
        assert "expected the model 'review'" in refusal(review.post(path, json={}), 404)
    many = {"inputs": [tensor("text", ["a"] * 1025)]}
    assert "at most 1,024" in refusal(review.post(REVIEW, json=many), 413)
    assert "at most 300,000" in refusal(
        review.post(REVIEW, json={"inputs": [tensor("text", [], [600, 600])]}), 413
    )


GOOD = tensor("text", TEXTS)
LIES = {
    "no inputs": {},
    "an empty list": {"inputs": []},
    "an object": {"inputs": GOOD},
    "no tensor": {"inputs": ["text"]},
    "two tensors": {"inputs": [GOOD, {**GOOD, "name": "movie_review"}]},
    "one twice": {"inputs": [GOOD, GOOD]},
    "no name": {"inputs": [{**GOOD, "name": None}]},
    "another name": {"inputs": [{**GOOD, "name": "image"}]},
    "another type": {"inputs": [{**GOOD, "datatype": "FP32"}]},
    "an unknown type": {"inputs": [{**GOOD, "datatype": "STRING"}]},
    "a type that is a list": {"inputs": [{**GOOD, "datatype": ["BYTES"]}]},
    "no data": {"inputs": [{**GOOD, "data": None}]},
    "data that is a text": {"inputs": [{**GOOD, "data": "abc"}]},
    "data of two depths": {"inputs": [{**GOOD, "data": ["a", ["b"], "c"]}]},
    **{
        f"shape {shape}": {"inputs": [{**GOOD, "shape": shape}]}
        for shape in (
            *(None, [], [2], [4], [-3], [-1, -3], [3.0], ["3"], [True, 3], [1, 3], [3, 0], [0], [3, 1, 1]),
            *(3, {"0": 3}, [10**30], [10**4000, 10**4000], [2**31], [[3]]),
        )
    },
}


@pytest.mark.parametrize("lie", LIES)
def test_a_tensor_that_contradicts_its_shape_or_datatype_is_refused(review, lie):
    answer = review.post(REVIEW, data=json.dumps(LIES[lie]))
    assert "expected" in refusal(answer)


RAW = binary([b"A film.", b"Bad."])
WRONG = {
    "a length beyond the body": (9999, RAW, len(RAW)),
    "a negative length": (-1, RAW, len(RAW)),
    "no number": ("1e2", RAW, len(RAW)),
    "a blank": ("", RAW, len(RAW)),
    "digits of another script": ("١٢", RAW, len(RAW)),
    "one byte too few": (None, RAW[:-1], len(RAW)),
    "one byte too many": (None, RAW + b"x", len(RAW)),
    "a size that is negative": (None, RAW, -1),
    "a size that is true": (None, RAW, True),
    "a size that is a text": (None, RAW, str(len(RAW))),
    "a size that is too small": (None, RAW, len(RAW) - 1),
    "a size without end": (None, RAW, 10**4000),
    "an element longer than what follows": (None, struct.pack("<I", 2**32 - 1) + b"A film.", 11),
    "an element too many": (None, RAW + binary([b"x"]), len(RAW) + 5),
    "an element too few": (None, binary([b"A film."]), 11),
    "half a length": (None, RAW[:-6], len(RAW) - 6),
    "nothing": (None, b"", 0),
}


@pytest.mark.parametrize("case", WRONG)
def test_binary_data_that_contradicts_the_json_is_refused(review, case):
    header, raw, size = WRONG[case]
    inputs = [bytes_of("text", [b"", b""], size)]
    header = header.encode().decode("latin-1") if isinstance(header, str) else header
    assert "expected" in refusal(in_binary(review, REVIEW, inputs, raw, header))


def test_a_wrong_length_of_the_json_is_reported(review):
    answer = in_binary(review, REVIEW, [bytes_of("text", [b"a"])], binary([b"a"]), 20)
    assert "Inference-Header-Content-Length says that 20 bytes are JSON" in refusal(answer)


@pytest.mark.parametrize("datatype", ["FP64", "INT64", "UINT8", "BOOL", "FP16"])
def test_numbers_of_another_type_than_declared_are_refused(table, datatype):
    path = "/v2/models/table/infer"
    for value in (
        "1",
        {"a": 1},
        1 if datatype == "BOOL" else True,
        *([] if datatype.startswith("FP") else [1.5]),
    ):
        answer = table.post(path, json={"inputs": [tensor("an input", [value, 1], [1, 2], datatype)]})
        assert refusal(answer).startswith("inputs[0].data[0]: expected ")
    short = {"name": "an input", "datatype": datatype, "shape": [1, 2], "parameters": {"binary_data_size": 1}}
    assert "bytes of" in refusal(in_binary(table, path, [short], b"x"))


BOMBS = {
    "deep data": b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":'
    + b"[" * 90_000
    + b"]" * 90_000
    + b"}]}",
    "nested shape": b'{"inputs":[{"name":"text","datatype":"BYTES","shape":'
    + b"[" * 900
    + b"]" * 900
    + b',"data":[]}]}',
    "many tensors": b'{"inputs":['
    + b'{"name":"text","datatype":"BYTES","shape":[0],"data":[]},' * 33_000
    + b"{}]}",
    "many numbers": b'{"inputs":[{"name":"text","datatype":"FP32","shape":[1],"data":['
    + b"1," * 299_000
    + b"1]}]}",
    "twice": b'{"inputs":[{"name":"text","name":"text","datatype":"BYTES","shape":[1],"data":["a"]}]}',
    "not UTF-8": b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["\xff"]}]}',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_at_little_cost(review, bomb):
    review.post(REVIEW, json={"inputs": [GOOD]})
    tracemalloc.start()
    answer = review.post(REVIEW, data=BOMBS[bomb])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code in (400, 413), answer.text
    assert set(answer.get_json()) == {"error"}
    assert peak < 120_000_000


def test_many_small_binary_tensors_are_read_in_linear_time(table):
    each = {"datatype": "UINT8", "shape": [1], "parameters": {"binary_data_size": 1}}
    inputs = [{"name": str(number), **each} for number in range(20_000)]
    answer = in_binary(table, "/v2/models/table/infer", inputs, bytes(20_000))
    assert answer.status_code in (200, 413, 422), answer.text


def test_a_caller_who_must_sign_in_is_refused_before_the_body_is_read(load, monkeypatch):
    with provider() as issuer:
        for variable, value in {**issuer.settings, "RATE_LIMIT": "1/h"}.items():
            monkeypatch.setenv(variable, value)
        client = load("review")
        for path in (REVIEW, "/v1/models/review:predict"):
            answer = client.post(path, data=bytes(11_000_000))
            assert "WWW-Authenticate" in answer.headers
            assert refusal(answer, 401)
        token = {"Authorization": f"Bearer {issuer.token(issuer.firebase())}"}
        content = {"inputs": [GOOD]}
        assert client.post(REVIEW, json=content, headers=token).status_code == 200
        assert refusal(client.post(REVIEW, json=content, headers=token), 429)
        assert client.get("/v2/health/ready").status_code == 200


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=8,
)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["text", "length", "an input"]) | JSON,
        "datatype": st.sampled_from(["BYTES", "FP64", "INT8", "BOOL"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
    },
    optional={
        "data": st.lists(SCALARS, max_size=4) | JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20) | JSON}) | JSON,
    },
)


@pytest.mark.parametrize("name", ["review", "table"])
def test_no_input_causes_a_500(name, request, load):
    client = request.getfixturevalue("table") if name == "table" else load(name)

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(
        inputs=st.lists(TENSORS, max_size=3) | JSON,
        raw=st.binary(max_size=24),
        header=st.integers(-1, 9) | st.none(),
    )
    def fuzz(inputs, raw, header):
        answer = in_binary(client, f"/v2/models/{name}/infer", inputs, raw, header)
        # The classifier of the table is a toy, which does not check its rows.
        allowed = (200, 400, 413, 422, *([500] if name == "table" else []))
        assert answer.status_code in allowed, answer.text
        assert answer.status_code == 200 or set(answer.get_json()) == {"error"}

    fuzz()
