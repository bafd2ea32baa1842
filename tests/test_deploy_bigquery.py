"""deploy.sh makes functions in SQL: with the real bq and gcloud against the simulated cloud."""

import shutil
from pathlib import Path

import cloud
import pytest
from conftest import ROOT
from deployments import configured, drive, succeed

from deploy import report, source
from deploy.bigquery import commands, resources
from deploy.bigquery.function import contains, locations, remote_function
from deploy.console import DeployError
from deploy.gcloud import Bq, Gcloud, GcloudError
from deploy.state import Service
from shared.example import Example
from shared.pin import Pin

PROJECT = {"PROJECT_ID": "demo-project"}
REFUSING = "http://127.0.0.1:9"
"""An address where nothing listens."""
CREATE = ("bigquery", "review", "--dataset", "reviews")


@pytest.fixture
def datasets(google, quick_bq):
    """A project with datasets."""
    assert f"{quick_bq}:" in google.settings["PATH"]
    google.datasets |= {"reviews": "EU", "more": "EU", "american": "US"}
    return google


@pytest.fixture
def deployed(datasets):
    """A project with datasets and the function `review`."""
    service = datasets.runs["review"] = cloud.Service("review", "europe-west1")
    service.revise({"metadata": {}, "spec": {"containers": [{"image": "review"}]}}, REFUSING)
    datasets.services |= {"run.googleapis.com", "cloudfunctions.googleapis.com"}
    return datasets


def invokers(google):
    """Return the members who may call `review`."""
    return [member for each in google.runs["review"].policy["bindings"] for member in each["members"]]


def test_one_command_makes_a_function_in_sql_and_destroy_takes_it_back(datasets, checkout):
    google = datasets
    succeed(google, checkout, "review")
    review = google.runs["review"]
    review.urls[review.latest] = REFUSING
    planned, done = succeed(google, checkout, *CREATE, "--dry-run")
    assert done == []
    assert [line.split()[:3] for line in planned.stdout.splitlines()[:4]] == [
        ["gcloud", "services", "enable"],
        ["bq", "mk", "--connection"],
        ["gcloud", "run", "services"],
        ["bq", "query", "--location=eu"],
    ]
    run, done = succeed(google, checkout, *CREATE)
    assert len(done) == 4
    [connection] = google.connections.values()
    assert connection["name"].endswith("/locations/eu/connections/review-europe-west1")
    account = f"serviceAccount:{connection['cloudResource']['serviceAccountId']}"
    assert invokers(google) == [account]
    assert not any(account in str(each) for each in google.policy["bindings"])
    routine = google.routines["reviews.review"]
    assert routine["arguments"] == [{"name": "text", "dataType": {"typeKind": "STRING"}}]
    assert routine["returnType"] == {"typeKind": "JSON"}
    assert routine["remoteFunctionOptions"] == {
        "endpoint": f"{google.runs['review'].url}/bigquery",
        "maxBatchingRows": "1000",
        "connection": connection["name"],
    }
    again, done = succeed(google, checkout, *CREATE)
    assert "reviews.review: unchanged" in again.stderr
    assert (done, again.stdout) == ([], run.stdout)
    _, done = succeed(google, checkout, *CREATE, "--max-batching-rows", "9")
    assert len(done) == 1
    assert google.routines["reviews.review"]["remoteFunctionOptions"]["maxBatchingRows"] == "9"
    _, done = succeed(google, checkout, *CREATE[:2], "--dataset", "more")
    assert [call.split(" ")[0] for call in done] == ["PATCH", "POST"]
    result, _ = succeed(google, checkout, "destroy", "--yes")
    for line in (
        "BigQuery function demo-project:reviews.review",
        "BigQuery connection eu.review-europe-west1",
    ):
        assert line in result.stderr
    assert (google.routines, google.connections, google.runs) == ({}, {}, {})


def test_resources_of_others_are_neither_replaced_nor_deleted(deployed, checkout):
    google = deployed
    google.services.add("bigqueryconnection.googleapis.com")
    reference = {"projectId": google.project, "datasetId": "reviews", "routineId": "review"}
    google.routines["reviews.review"] = {"routineReference": reference, "routineType": "SCALAR_FUNCTION"}
    refused, done = drive(google, checkout, *CREATE)
    assert "the function demo-project:reviews.review was not created by this script" in refused.stderr
    path = f"projects/{google.number}/locations/eu/connections/review-europe-west1"
    google.connections[path] = {"name": path, "cloudResource": {"serviceAccountId": "a@example.com"}}
    other, more = drive(google, checkout, *CREATE[:2], "--dataset", "more")
    assert "run 'bq rm --connection --location=eu review-europe-west1'" in other.stderr
    assert (refused.returncode, other.returncode, done, more) == (1, 1, [], [])
    succeed(google, checkout, "destroy", "--yes")
    assert [*google.routines, *google.connections] == ["reviews.review", path]


def test_a_function_that_bigquery_cannot_call_is_refused_with_the_reason(deployed, checkout):
    google = deployed
    for dataset, message in (
        ("nowhere", "run 'bq mk --dataset --location=europe-west1 demo-project:nowhere' first"),
        (
            "american",
            "is in US, the function in europe-west1: name a dataset in europe-west1 or EU, or deploy",
        ),
    ):
        run, done = drive(google, checkout, "bigquery", "review", "--dataset", dataset)
        assert (run.returncode, done) == (1, [])
        assert message in run.stderr
    run, _ = drive(google, checkout, "bigquery", "malaria", "--dataset", "reviews")
    assert "malaria is not deployed in europe-west1: run './deploy.sh malaria' first" in run.stderr


@pytest.fixture
def service(monkeypatch):
    """Change the deployed function `review`."""

    def service(callers=(), **settings):
        resource = {
            "metadata": {"name": "review"},
            "status": {"url": "https://x"},
            "spec": {"template": {"spec": {"containers": [{"env": named(settings)}]}}},
        }
        monkeypatch.setattr(commands.queries, "run_services", lambda *_: {"review": resource})
        monkeypatch.setattr(commands.queries, "callers", lambda *_: tuple(callers))
        config = configured(*CREATE, **PROJECT)
        return commands._deployed(config, Gcloud("demo-project", 1), "review", frozenset({"run"}))

    return service


def named(settings):
    return [{"name": name, "value": value} for name, value in settings.items()]


def test_a_function_with_sign_in_is_refused_and_a_public_one_gets_a_warning(service, capsys):
    for checks in ({"SIGN_IN": "firebase:p"}, {"APP_CHECK": "1"}):
        with pytest.raises(DeployError, match="verifies its callers"):
            service(["allUsers"], **checks)
    assert service(["serviceAccount:a"]) == Service(url="https://x", callers=("serviceAccount:a",))
    assert capsys.readouterr().err == ""
    service(["allUsers"], RATE_LIMIT="60/min")
    stderr = capsys.readouterr().err
    assert "review is public" in stderr
    assert "run './deploy.sh review' without --public" in stderr
    assert "RATE_LIMIT=60/min also limits BigQuery's calls" in stderr


def test_a_commit_without_the_path_that_bigquery_calls_is_refused(monkeypatch):
    calls, statuses = [], [200, 0, 503, 404]
    monkeypatch.setattr(commands, "identity_token", lambda *_: "token")
    monkeypatch.setattr(commands, "request", lambda *call: calls.append(call) or (statuses.pop(0), ""))
    given = (configured(*CREATE, **PROJECT), Gcloud("demo-project", 1), "review", "https://x")
    for _ in range(3):
        commands._check_path(*given)
    with pytest.raises(DeployError, match=r"has no path /bigquery: run '\./deploy\.sh review' first"):
        commands._check_path(*given)
    assert calls[-1] == ("https://x/bigquery", "token", {"calls": []})


def test_a_datasets_location_is_the_functions_region_or_contains_it():
    assert [contains("EU", each) for each in ("europe-west1", "europe-west2", "us-east1")] == [
        *(True, False, False)
    ]
    assert contains("US", "us-central1")
    assert contains("europe-west2", "europe-west2")
    assert not contains("europe-west1", "europe-west4")
    assert locations("europe-west6") == ["europe-west6"]
    assert locations("us-east1") == ["us-east1", "US"]


def example(value, file=None):
    return Example(8080, value, file)


@pytest.mark.parametrize(
    ("given", "argument", "rows"),
    [
        (example("A text."), "text STRING", 1000),
        (example("aGk=", Path("example.png")), "image STRING", 32),
        (example({"age": 3}), "row JSON", 1000),
    ],
)
def test_each_kind_of_input_has_its_argument_and_its_number_of_rows(given, argument, rows):
    made = remote_function(configured(*CREATE, **PROJECT), "my-model", given, "https://x", "EU")
    assert made.statement == (
        f"CREATE OR REPLACE FUNCTION `demo-project.reviews.my_model`({argument}) RETURNS JSON\n"
        "REMOTE WITH CONNECTION `demo-project.eu.my-model-europe-west1`\n"
        f"OPTIONS (endpoint = 'https://x/bigquery', max_batching_rows = {rows})"
    )


def test_the_statement_is_printed_after_a_deployment_that_bigquery_can_call(tmp_path):
    folder = ROOT / "functions" / "review"
    pin = Pin.read(folder / "model.json")
    function = source.Function("review", pin, Example.read(folder), folder, tmp_path)
    config = configured("review", "--region", "us-east1", **PROJECT)
    head, *statement = report.in_sql(config, function, "https://x")
    assert "./deploy.sh bigquery review --dataset DATASET --region us-east1" in head
    assert "a dataset in us-east1 or US" in head
    assert "`demo-project.DATASET.review`(text STRING)" in statement[0]
    assert "`demo-project.us-east1.review-us-east1`" in statement[1]
    for options in (("--sign-in", "firebase:p-0000"), ("--to", "appengine", "--public")):
        assert report.in_sql(configured("review", *options, **PROJECT), function, "https://x") == []


def test_errors_of_bq_are_one_line(tmp_path, monkeypatch):
    script = "printf 'BigQuery error in show operation: Not found:\\nDataset a:b\\n'; exit 2"
    (tmp_path / "bq").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bq").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(GcloudError, match=r"^bq show a:b: Not found: Dataset a:b$"):
        Bq("demo-project", 60).one("show", "--dataset", "a:b")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(GcloudError, match="run 'gcloud components install bq'"):
        Bq("demo-project", 60).one("show")


def test_the_installed_bq_command_does_the_same(google, monkeypatch):
    google.datasets["reviews"] = "EU"
    path = f"{Path(shutil.which('bq')).parent}:/usr/bin:/bin"
    for name, value in {**google.settings, "PATH": path}.items():
        monkeypatch.setenv(name, value)
    config = configured(*CREATE, **PROJECT)
    assert resources.location(config, Bq("demo-project", 120)) == "EU"
