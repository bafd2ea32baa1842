"""Buckets, and Dataflow as far as it goes here: the real SDK submits to a stand-in; nothing is run there."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

IMAGE = "europe-west1-docker.pkg.dev/my-project/batch/batch-review:0123456789ab"


def upload(gcs, name, table):
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    gcs.blob(name).upload_from_string(sink.getvalue().to_pybytes())


def test_a_bucket_is_read_and_written_and_not_written_twice(batch, refusal, gcs):
    upload(gcs, "in/a/b.parquet", pa.table({"id": [1, 2], "text": ["A good film.", None]}))
    words = ("review", "--input", "gs://my-bucket/in/**.parquet", "--column", "text", "--no_auth")
    batch(*words, "--output", "gs://my-bucket/out/")
    names = {blob.name: blob for blob in gcs.list_blobs(prefix="out/")}
    assert set(names) == {"out/good-00000-of-00001.jsonl", "out/bad-00000-of-00001.jsonl"}
    assert json.loads(names["out/good-00000-of-00001.jsonl"].download_as_bytes())["id"] == 1
    assert json.loads(names["out/bad-00000-of-00001.jsonl"].download_as_bytes())["error"]["code"] == "null"
    assert "of an earlier run" in refusal(*words, "--output", "gs://my-bucket/out")


@pytest.mark.parametrize("output", ["gs://my-bucket/jobs/out", "bq://my-project.films.scored"])
def test_the_sdk_submits_the_job_with_the_image_of_the_function(batch, gcs, dataflow, output):
    upload(gcs, "in/a.parquet", pa.table({"id": [1, 2], "text": ["A good film.", None]}))
    said = batch(
        *("review", "--input", "gs://my-bucket/in/*.parquet", "--column", "text", "--output", output),
        *("--runner", "DataflowRunner", "--project", "my-project", "--region", "europe-west1"),
        *("--temp_location", "gs://my-bucket/tmp", "--sdk_container_image", IMAGE, "--max_num_workers", "4"),
        *("--dataflow_endpoint", dataflow.url, "--no_auth"),
    )
    where = "--project=my-project --region=europe-west1"
    assert said == f"submitted: gcloud dataflow jobs describe 2026-job {where}"
    [(path, job)] = dataflow.jobs
    assert path.partition("?")[0] == "/v1b3/projects/my-project/locations/europe-west1/jobs"
    [pool] = job["environment"]["workerPools"]
    assert {each["containerImage"] for each in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 4
    staged = [blob for blob in gcs.list_blobs(prefix="tmp/") if blob.name.endswith("pipeline.pb")]
    content = staged[-1].download_as_bytes()
    assert b"RunInference" in content
    assert b"Write good" in content
    assert b"Write bad" in content
    # Rows of one large file are dealt out to all workers.
    assert b"Deal out rows" in content


def test_a_table_of_bigquery_is_the_input_of_a_job(batch, gcs, dataflow, monkeypatch):
    """The job reads the table; only its columns are asked for here, of a stand-in."""
    from google.cloud import bigquery

    fields = [bigquery.SchemaField("id", "INTEGER"), bigquery.SchemaField("text", "STRING")]
    asked = []

    class Client:
        def get_table(self, name):
            asked.append(name)
            return bigquery.Table(name, fields)

    monkeypatch.setattr(bigquery, "Client", Client)
    batch(
        *("review", "--input", "bq://my-project.films.reviews", "--column", "text"),
        *("--output", "bq://my-project.films.scored"),
        *("--runner", "DataflowRunner", "--project", "my-project", "--region", "europe-west1"),
        *("--temp_location", "gs://my-bucket/tmp", "--sdk_container_image", IMAGE),
        *("--dataflow_endpoint", dataflow.url, "--no_auth"),
    )
    assert asked == ["my-project.films.reviews"]
    assert len(dataflow.jobs) == 1
