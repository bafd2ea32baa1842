"""Batches as people run them: the command line in, files out, compared with HTTP."""

import http.server
import json
import os
import sys
import threading
from pathlib import Path

import functions_framework
import pytest
from google.cloud import storage
from processes import storage_emulator

from batch import __main__ as command

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _environment():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def batch(capsys):
    """Run `python -m batch` in this process; returns its last line, or raises `SystemExit`."""

    def batch(*arguments):
        command.main([str(each) for each in arguments])
        return capsys.readouterr().out.splitlines()[-1]

    return batch


@pytest.fixture
def refusal(batch):
    """Run it; returns the line with which it refuses."""

    def refusal(*arguments):
        with pytest.raises(SystemExit) as stopped:
            batch(*arguments)
        message = str(stopped.value.code)
        assert message.startswith("batch: "), message
        assert "\n" not in message
        return message

    return refusal


@pytest.fixture
def rows():
    """Read the rows of `good` or `bad` of an output folder."""

    def rows(folder, kind="good"):
        found = []
        for path in sorted(Path(folder).glob(f"{kind}-*.jsonl")):
            found += [json.loads(line) for line in path.read_text().splitlines()]
        return found

    return rows


@pytest.fixture(scope="session")
def over_http():
    """Ask a function for the answers to instances, in requests of its own."""
    clients = {}

    def over_http(name, instances):
        if name not in clients:
            path = ROOT / "functions" / name / "main.py"
            for module in [each for each in sys.modules if each == "main" or each.startswith("main.")]:
                del sys.modules[module]
            clients[name] = functions_framework.create_app("predict", str(path)).test_client()
        answers = []
        for start in range(0, len(instances), 32):
            answer = clients[name].post("/", json={"instances": instances[start : start + 32]})
            assert answer.status_code == 200, answer.text
            answers += answer.json["predictions"]
        return answers

    return over_http


@pytest.fixture(scope="session")
def bucket():
    """The bucket `my-bucket` of a Cloud Storage emulator, in a process of its own."""
    with storage_emulator("my-bucket") as url:
        yield url


@pytest.fixture
def gcs(bucket, monkeypatch):
    """The emulated bucket, empty, for Beam and for this test."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket)
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    client = storage.Client.create_anonymous_client()
    for blob in client.list_blobs("my-bucket"):
        blob.delete()
    return client.bucket("my-bucket")


@pytest.fixture
def dataflow():
    """Dataflow's endpoint, which takes one job; `jobs` are what was posted."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.jobs.append((self.path, content))
            answer = json.dumps(
                {"id": "2026-job", "projectId": "my-project", "name": content["name"]}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    server.jobs = []
    server.url = f"http://localhost:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
