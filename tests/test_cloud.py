"""The simulated cloud, used by the real gcloud and the real Cloud Storage client."""

import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cloud import Bucket, Cloud, Object, Service, cloud

Gcloud = Callable[..., subprocess.CompletedProcess[str]]

REGION = "--region=europe-west1"
APIS = [
    f"{name}.googleapis.com" for name in ("run", "cloudfunctions", "cloudbuild", "artifactregistry", "iam")
]
RUNNER = "review-fn@demo-project.iam.gserviceaccount.com"
DEPLOY = (
    *("functions", "deploy", "review", "--gen2", REGION, "--runtime=python311", "--entry-point=predict"),
    *(
        "--trigger-http",
        "--memory=512Mi",
        "--cpu=1",
        "--concurrency=8",
        f"--service-account={RUNNER}",
        "--source=.",
    ),
)


@pytest.fixture
def google() -> Iterator[Cloud]:
    with cloud() as google:
        yield google
        assert google.unknown == []


@pytest.fixture
def gcloud(google: Cloud, tmp_path: Path, quick_gcloud: Path) -> Gcloud:
    """Run gcloud against the simulated cloud, in a folder with the source of a function."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "main.py").write_text("def predict(request): return 'hello'\n")
    (folder / "requirements.txt").write_text("functions-framework\n")
    environment = {**os.environ, **google.environment(tmp_path)}

    def gcloud(*arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        command = [quick_gcloud / "gcloud", *arguments]
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done

    return gcloud


@pytest.fixture
def ready(google: Cloud) -> Cloud:
    """A project in which a function may be deployed."""
    google.services |= {*APIS}
    google.add_account(google.default_account)
    google.add_account(RUNNER)
    builder = f"serviceAccount:{google.default_account}"
    google.policy["bindings"].append({"role": "roles/cloudbuild.builds.builder", "members": [builder]})
    return google


@pytest.fixture
def bucket(google: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bucket `models`, as the Cloud Storage client sees it."""
    for name, value in google.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    from google.cloud import storage

    google.buckets["models"] = Bucket("models")
    return storage.Client(project="demo-project").bucket("models")


def test_an_empty_project_gets_all_resources_of_a_function(google: Cloud, gcloud: Gcloud) -> None:
    gcloud("services", "enable", *APIS)
    assert {*APIS} < google.services
    gcloud("iam", "service-accounts", "create", "review-fn")
    assert RUNNER in google.accounts
    gcloud(
        "storage",
        "buckets",
        "create",
        "gs://models",
        "--location=europe-west1",
        "--uniform-bucket-level-access",
    )
    role = "roles/storage.objectViewer"
    member = f"serviceAccount:{RUNNER}"
    gcloud(
        "storage", "buckets", "add-iam-policy-binding", "gs://models", f"--member={member}", f"--role={role}"
    )
    assert google.buckets["models"].allows(member, role)
    assert google.buckets["models"].uniform


def test_without_billing_no_function_api_is_enabled(google: Cloud, gcloud: Gcloud) -> None:
    google.billing = False
    assert "Billing must be enabled" in gcloud("services", "enable", *APIS, fails=True).stderr
    assert not {*APIS} & google.services


def test_small_and_large_files_go_up_and_down(google: Cloud, gcloud: Gcloud, tmp_path: Path) -> None:
    google.buckets["models"] = Bucket("models")
    (tmp_path / "small").write_bytes(b"small" * 100)
    (tmp_path / "large").write_bytes(os.urandom(9 << 20))
    gcloud("storage", "cp", str(tmp_path / "small"), str(tmp_path / "large"), "gs://models/v1/")
    assert google.buckets["models"].objects["v1/small"].content == b"small" * 100
    gcloud("storage", "cp", "gs://models/v1/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_a_function_is_deployed_and_deployed_again(ready: Cloud, gcloud: Gcloud) -> None:
    ready.on_deploy = lambda _name, _resource, _zip: f"http://127.0.0.1:{len(ready.requests)}"
    gcloud(*DEPLOY, "--no-allow-unauthenticated", "--set-env-vars=A=1")
    assert zipfile.ZipFile(BytesIO(ready.sources["review"])).namelist() == ["main.py", "requirements.txt"]
    assert ready.runs["review"].policy["bindings"] == []
    gcloud(*DEPLOY, "--allow-unauthenticated", "--update-env-vars=B=2")
    assert ready.runs["review"].policy["bindings"] == [{"role": "roles/run.invoker", "members": ["allUsers"]}]
    config = json.loads(gcloud("functions", "describe", "review", REGION, "--format=json").stdout)[
        "serviceConfig"
    ]
    assert config["environmentVariables"] == {"A": "1", "B": "2"}
    assert config["revision"].startswith("review-00002-")
    assert config["uri"] == ready.runs["review"].urls[config["revision"]]
    gcloud("functions", "delete", "review", REGION)
    assert ready.functions == ready.runs == {}


def test_pinned_traffic_does_not_move(ready: Cloud, gcloud: Gcloud) -> None:
    gcloud(*DEPLOY)
    first = ready.runs["review"].latest
    gcloud("run", "services", "update-traffic", "review", REGION, f"--to-revisions={first}=100")
    gcloud(*DEPLOY)
    assert ready.runs["review"].serving == {first: 100}
    ready.fail_operation = "the build failed"
    assert "the build failed" in gcloud(*DEPLOY, fails=True).stderr
    assert ready.functions["review"]["state"] == "ACTIVE"


def test_a_source_is_deployed_to_cloud_run_without_a_function(ready: Cloud, gcloud: Gcloud) -> None:
    ready.on_deploy = lambda _name, service, _zip: (
        f"http://{service['metadata']['name']}:{len(ready.requests)}"
    )
    deploy = ("run", "deploy", "review", REGION, "--source=.", "--function=predict", "--base-image=python311")
    gcloud(*deploy, "--no-allow-unauthenticated")
    first = ready.runs["review"].url
    gcloud(*deploy, "--allow-unauthenticated", "--set-env-vars=A=1")
    assert len(ready.runs["review"].revisions) == 2
    assert ready.runs["review"].url != first
    assert ready.runs["review"].policy["bindings"] == [{"role": "roles/run.invoker", "members": ["allUsers"]}]
    assert ready.functions == {}


def test_a_service_account_gets_an_identity_token(ready: Cloud, gcloud: Gcloud) -> None:
    ready.services.add("iamcredentials.googleapis.com")
    account = f"--impersonate-service-account={RUNNER}"
    token = gcloud("auth", "print-identity-token", account, "--audiences=https://review").stdout
    assert token.count(".") == 2


def test_a_refused_call_has_no_effect(google: Cloud, bucket: Any) -> None:
    from google.api_core.exceptions import Forbidden

    google.refuse = lambda _method, path: (403, "not yours") if path.startswith("/upload/") else None
    with pytest.raises(Forbidden, match="not yours"):
        bucket.blob("a").upload_from_string(b"a")
    assert google.buckets["models"].objects == {}


def test_an_unknown_call_is_recorded(bucket: Any) -> None:
    from google.api_core.exceptions import GoogleAPICallError

    with cloud() as other:
        client = type(bucket.client)(project="demo-project", client_options={"api_endpoint": other.url})
        with pytest.raises(GoogleAPICallError, match="does not know"):
            client.get_service_account_email()
        assert other.unknown == ["GET /storage/v1/projects/demo-project/serviceAccount"]


def test_an_object_is_written_once_and_read_in_parts(google: Cloud, bucket: Any) -> None:
    from google.api_core.exceptions import NotFound, PreconditionFailed

    blob = bucket.blob("v1/a b.npz")
    assert not blob.exists()
    blob.upload_from_string(b"0123456789", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"other", if_generation_match=0)
    assert blob.download_as_bytes() == b"0123456789"
    assert blob.download_as_bytes(start=2, end=4) == b"234"
    blob.reload()
    assert (blob.size, blob.md5_hash) == (10, google.buckets["models"].objects["v1/a b.npz"].md5)
    assert [each.name for each in bucket.list_blobs(prefix="v1/")] == ["v1/a b.npz"]
    with pytest.raises(NotFound):
        bucket.blob("v1/none").download_as_bytes()


def test_a_large_object_is_uploaded_in_chunks(google: Cloud, bucket: Any) -> None:
    content = os.urandom(700_000)
    bucket.blob("large", chunk_size=262_144).upload_from_string(content)
    assert google.buckets["models"].objects["large"].content == content


def test_an_interrupted_call_has_no_effect(google: Cloud, bucket: Any) -> None:
    stopped: list[int] = []
    google.buckets["models"].objects["a"] = Object(b"a", 1)
    google.stop_after = google.hang_up_after = len(google.requests) + 1
    google.on_stop = lambda: stopped.append(1)
    with pytest.raises(OSError, match="closed connection"):
        bucket.blob("a").delete(timeout=1, retry=None)
    assert stopped == [1]
    assert "a" in google.buckets["models"].objects


def test_the_url_is_that_of_the_revision_with_most_traffic() -> None:
    service = Service("review", "europe-west1")
    first = service.revise({"spec": {}}, "http://one")
    service.revise({"spec": {}}, "http://two")
    assert service.url == "http://two"
    service.traffic = [{"revisionName": first, "percent": 90}, {"latestRevision": True, "percent": 10}]
    assert service.url == "http://one"
