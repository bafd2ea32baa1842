"""deploy.sh builds the container of Dataflow's workers: the real gcloud against the simulated cloud."""

import shlex

import pytest
from conftest import commit
from deployments import drive, pin, succeed

APIS = ("artifactregistry", "cloudbuild", "compute", "dataflow", "run")


@pytest.fixture
def recipe(changed):
    """A checkout with a recipe of the container."""
    folder = changed / "batch"
    if not folder.exists():
        folder.mkdir()
        (folder / "Dockerfile").write_text("ARG PYTHON=3.11\nFROM apache/beam_python${PYTHON}_sdk\n")
        (folder / "requirements.txt").write_text("apache-beam\n")
        commit(changed)
    return changed


def test_a_container_is_built_from_head_once_and_the_command_is_printed(google, recipe):
    planned, done = succeed(google, recipe, "batch", "review", "--dry-run")
    assert done == []
    assert [line.split()[:4] for line in planned.stdout.splitlines()] == [
        ["gcloud", "services", "enable", "artifactregistry.googleapis.com"],
        ["gcloud", "artifacts", "repositories", "create"],
        ["gcloud", "builds", "submit", f"{recipe}/build/stage/batch-review"],
    ]
    run, _ = succeed(google, recipe, "batch", "review")
    [image] = google.images
    assert image.startswith("europe-west1-docker.pkg.dev/demo-project/batch/batch-review:")
    files = google.contexts[image]
    assert files["Dockerfile"] == (recipe / "batch" / "Dockerfile").read_bytes()
    file = pin(recipe, "review")["file"]
    assert files[f"models/{file}"] == (recipe / "models" / file).read_bytes()
    assert {name.split("/")[1] for name in files if name.startswith("functions/")} == {"review"}
    assert {"batch/requirements.txt", "shared/pin.py", "functions/review/requirements.txt"} <= {*files}
    [build] = google.builds.values()
    assert "PYTHON=3.11" in build["steps"][0]["args"]
    command = shlex.split(run.stdout.partition("run ")[2])
    assert command[:4] == [".venv/batch/bin/python", "-m", "batch", "review"]
    given = dict(zip(command[4::2], command[5::2], strict=True))
    assert given["--sdk_container_image"] == image
    assert (given["--project"], given["--region"]) == ("demo-project", "europe-west1")
    again, done = succeed(google, recipe, "batch", "review")
    assert "review: the container is unchanged" in again.stderr
    assert (done, again.stdout) == ([], run.stdout)
    _, done = succeed(google, recipe, "batch", "review", "--runtime", "python312")
    assert len(google.images) == 2


def test_what_prevents_a_container_is_reported(google, checkout, recipe):
    google.services |= {f"{each}.googleapis.com" for each in APIS}
    google.add_account(google.default_account)
    refused, done = drive(google, recipe, "batch", "review")
    assert "may not build: run 'gcloud projects add-iam-policy-binding" in refused.stderr
    assert (refused.returncode, done) == (1, [])
    google.fail_operation = "no space"
    failed, _ = drive(google, recipe, "batch", "review", "--fix")
    assert "run 'gcloud builds list --region=europe-west1'" in failed.stderr
    assert (failed.returncode, google.images) == (1, {})
