"""BigQuery's remote functions: the documented requests, the retries, and the errors that users see.

No emulator of BigQuery has remote functions, so a stand-in calls as its documentation says that it calls.
"""

import json

import pytest
from conftest import FUNCTIONS, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from identity import provider

from shared import budget
from shared.errors import TimedOut, TooMuchTogether
from shared.example import Example
from shared.web import endpoint

# https://docs.cloud.google.com/bigquery/docs/remote-functions#input_format, with our arguments.
DOCUMENTED = """{
 "requestId": "124ab1c",
 "caller": "//bigquery.googleapis.com/projects/myproject/jobs/myproject:US.bquxjob_5b4c112c_17961fafeaf",
 "sessionUser": "test-user@test-company.com",
 "userDefinedContext": {},
 "calls": [["A fine film."], [null], ["", "extra"]]
}"""
RETRIED = (408, 429, 500, 503, 504)


class BigQuery:
    """Calls a remote function as BigQuery does: in batches, twice, and until an answer is final."""

    def __init__(self, client, rows=50):
        self.client, self.rows, self.requests = client, rows, 0

    def call(self, calls, context=None):
        content = {
            "requestId": f"r{self.requests}",
            "caller": "//bigquery.googleapis.com/projects/p/jobs/p:EU.j",
            "sessionUser": "ada@example.org",
            "calls": calls,
        }
        content |= {"userDefinedContext": dict(context)} if context else {}
        for _ in range(20):
            self.requests += 1
            answer = self.client.post("/bigquery", json=content)
            if answer.status_code not in RETRIED:
                return answer
        return answer

    def select(self, column, *more, context=None):
        """Return the results for a column; raises the error of the query."""
        rows = [list(row) for row in zip(column, *more, strict=True)]
        results = []
        for start in range(0, len(rows), self.rows):
            calls = rows[start : start + self.rows]
            answers = [self.call(calls, context) for _ in range(2)]  # a partition may be retried whole
            if answers[0].status_code != 200:
                message = answers[0].get_json()["errorMessage"]
                assert len(message.encode()) < 1024
                raise LookupError(message)
            replies, again = (each.get_json()["replies"] for each in answers)
            assert replies == again
            assert len(replies) == len(calls)
            # `RETURNS JSON` takes objects; of another type the query fails.
            assert all(isinstance(reply, dict | None) for reply in replies)
            results += replies
        return results


@pytest.fixture
def table(load_table):
    return lambda *columns: BigQuery(load_table(*columns))


def test_the_documented_request_fails_with_what_is_wrong_with_the_statement(review):
    refused = review.post("/bigquery", data=DOCUMENTED)
    assert refused.status_code == 400
    message = "expected one argument, a text; the SQL function passes 2: create it again"
    assert refused.get_json() == {"errorMessage": message}
    answer = review.post("/bigquery", data=DOCUMENTED.replace(', "extra"', ""))
    assert [reply and reply["error"] for reply in answer.get_json()["replies"]] == ["0", None, "1"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_column_is_scored_in_batches_with_each_result_in_its_row(name, load):
    good = Example.read(ROOT / "functions" / name).input
    column = [None if place % 7 == 3 else 7 if place % 11 == 5 else good for place in range(120)]
    client = load(name)
    [expected] = client.post("/", json={"instances": [good]}).get_json()["predictions"]
    for value, result in zip(column, BigQuery(client).select(column), strict=True):
        assert result == (expected if value is good else None) or (value == 7 and result["error"] == "1")


def test_short_circuits_send_one_row_and_an_empty_batch_is_answered(review):
    assert len(BigQuery(review, 1).select(["good", None])) == 2
    assert review.post("/bigquery", json={"calls": []}).get_json() == {"replies": []}


def test_the_log_names_the_request_id_but_no_user_and_no_row(review, capsys):
    BigQuery(review).call([["a film that only my mother knows of"]])
    review.post("/bigquery", json={"requestId": "r" * 9000, "sessionUser": "ada@example.org", "calls": 7})
    review.post("/bigquery", json={"requestId": ["ada@example.org"], "calls": [["x"]]})
    written = capsys.readouterr().out
    lines = [json.loads(line) for line in written.splitlines() if "httpRequest" in line]
    assert [line.get("requestId") for line in lines] == ["r0", "r" * 200, None]
    assert "ada" not in written
    assert "mother" not in written


@pytest.mark.parametrize("path", ["/bigquery", "/v2/models/review/infer"])
def test_an_object_with_a_repeated_field_is_named_in_the_error(review, path):
    twice = '{"a": 1, "a": 2}'
    tensor = f'{{"name": "text", "datatype": "BYTES", "shape": [1], "data": [{twice}]}}'
    for body in (
        f'{{"calls": [[{twice}]], "inputs": [{tensor}]}}',
        f'{{"calls": [{twice}], "inputs": [{twice}]}}',
        f'{{"calls": {twice}, "inputs": {twice}}}',
        f'{{"calls": [["a"]], "userDefinedContext": {twice}, "inputs": [{tensor}], "id": {twice}}}',
    ):
        assert "'a' occurs twice" in review.post(path, data=body).text


def test_the_context_requests_an_explanation(review):
    bigquery = BigQuery(review)
    [explained] = bigquery.select(["good"], context=[("explain", "1")])
    assert explained["explanation"]["tokens"]
    assert "explanation" not in bigquery.select(["good"], context=[("explain", "0")])[0]
    for context, words in (({"explain": "perhaps"}, "explain=1"), ({"mode": "x"}, '[("explain", "1")]')):
        answer = review.post("/bigquery", json={"calls": [["good"]], "userDefinedContext": context})
        assert words in answer.get_json()["errorMessage"]
        assert answer.status_code == 400


def test_too_many_rows_are_refused_with_the_batch_size_that_fits(review, monkeypatch):
    remedy = "set max_batching_rows in the OPTIONS of the SQL function to"
    many = review.post("/bigquery", json={"calls": [["good"]] * 1025})
    assert (many.status_code, many.get_json()["errorMessage"][-len(remedy) - 5 :]) == (413, f"{remedy} 1024")
    large = review.post("/bigquery", json={"calls": [["x" * 99_999]] * 101})
    assert (large.status_code, f"{remedy} a smaller" in large.text) == (413, True)
    explained = {"calls": [["good film " * 2000]] * 6, "userDefinedContext": {"explain": "1"}}
    large = review.post("/bigquery", json=explained)
    assert (large.status_code, f"{remedy} a smaller" in large.text) == (413, True)


def test_rows_that_are_too_much_work_only_together_fail_the_query_and_not_the_rows(review, monkeypatch):
    calls = [["good film " * 9000]] * 20
    monkeypatch.setattr(budget, "MAX_REQUEST", budget.MAX_WORK)
    together = review.post("/bigquery", json={"calls": calls})
    assert together.status_code == 413
    fits = int(together.get_json()["errorMessage"].rpartition(" ")[2])
    assert len(BigQuery(review, fits).select([call[0] for call in calls])) == 20
    assert all(reply["error"] == "0" for reply in BigQuery(review, fits).select([call[0] for call in calls]))
    monkeypatch.setattr(endpoint, "classify", lambda *_: [TooMuchTogether("it is alone")])
    [alone] = review.post("/bigquery", json={"calls": calls[:1]}).get_json()["replies"]
    assert alone["code"] == "too_much_work"


def test_a_defect_is_a_500_with_an_id_and_affects_only_its_own_row(review, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(endpoint, "classify", fail)
    answer = BigQuery(review).call([["good"]])
    assert answer.status_code == 500
    message = answer.get_json()["errorMessage"]
    assert "secret" not in message
    identifier = message.rpartition("(")[2].rstrip(")")
    assert identifier in capsys.readouterr().out


def test_a_timeout_lets_bigquery_retry_and_says_what_helps(review, monkeypatch):
    def late(*_):
        raise TimedOut("still at work")

    monkeypatch.setattr(endpoint, "classify", late)
    bigquery = BigQuery(review)
    answer = bigquery.call([["good"]])
    assert (answer.status_code, bigquery.requests) == (503, 20)
    assert "max_batching_rows" in answer.get_json()["errorMessage"]


def test_rows_are_read_as_json_or_column_by_column(table):
    bigquery = table()
    rows = [
        {"length": 2, "width": 1},
        [2, 1],
        '{"length": 2, "width": "1.0"}',
        {"length": "2", "width": 1, "more": 9},
    ]
    assert [reply["the label"] for reply in bigquery.select(rows)] == ["two"] * 4
    replies = bigquery.select([2, "1", None, 3.0], [1, None, None, "1e2"])  # NUMERIC comes as a string
    assert [reply and reply["the label"] for reply in replies] == ["two", "one", None, "three"]
    assert replies[3]["warnings"][0]["code"] == "unlike_training"
    assert bigquery.select([None])[0] is None
    for wrong in ("{", "[1, 2", '{"length": 1, "length": 2}', "[" * 9000):
        [reply] = bigquery.select([wrong])
        assert (reply["error"], reply["code"]) == ("1", "bad_request")
    for arguments in ([[1, 2, 3]], [[]], [[1, 2], [1, 2, 3]], ["12"], [{}], [None]):
        refused = bigquery.call(arguments)
        assert refused.status_code == 400, refused.text
        assert "expected" in refused.get_json()["errorMessage"]
    assert "columns in the model's order (length, width)" in bigquery.call([[1, 2, 3]]).text


def test_rows_whose_columns_only_the_model_knows_are_passed_on(table):
    bigquery = table(())
    assert [reply["the label"] for reply in bigquery.select([1, 2], [0, 0], [9, 9])] == ["one", "two"]
    assert bigquery.call([[]]).status_code == 400


def test_a_caller_who_must_sign_in_is_refused_before_the_body_is_read(load, monkeypatch):
    with provider() as issuer:
        for variable, value in {**issuer.settings, "RATE_LIMIT": "2/h"}.items():
            monkeypatch.setenv(variable, value)
        client = load("review")
        answer = client.post("/bigquery", data=bytes(11_000_000))
        assert (answer.status_code, set(answer.get_json())) == (401, {"errorMessage"})
        token = {"Authorization": f"Bearer {issuer.token(issuer.firebase())}"}
        statuses = [client.post("/bigquery", json={"calls": []}, headers=token).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
FUZZED = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize("reads", ["review", "malaria", "table"])
def test_no_input_causes_a_500(reads, request, load):
    client = request.getfixturevalue("table")().client if reads == "table" else load(reads)

    @FUZZED
    @given(calls=JSON | st.lists(st.lists(JSON, max_size=3), max_size=4), context=JSON)
    def fuzz(calls, context):
        content = {"calls": calls, "requestId": context, "userDefinedContext": context}
        answer = client.post("/bigquery", data=json.dumps(content))
        if answer.status_code == 200:
            assert len(answer.get_json()["replies"]) == len(calls)
            # The classifier of the table is a toy, which does not check its rows.
            defects = [reply for reply in answer.get_json()["replies"] if reply and "id" in reply]
            assert reads == "table" or not defects
        else:
            assert answer.status_code == 400, answer.text
            assert set(answer.get_json()) == {"errorMessage"}

    fuzz()
