"""A function in a real process, with its model in Cloud Storage, and the faults of a download."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faults
import pytest
from conftest import FUNCTIONS, ROOT, free_port
from google.api_core.exceptions import BadGateway
from google.auth import exceptions as auth

from shared.store import download

CALLS = {
    "malaria": ("/classify", (ROOT / "models/malaria/examples/infected.png").read_bytes(), "image/png"),
    "review": ("/predict", b"A brilliant film, I loved it.", "text/plain"),
}


def pinned(name):
    pin = json.loads((ROOT / "functions" / name / "model.json").read_text())
    return pin, (ROOT / "models" / pin["file"]).read_bytes()


@pytest.fixture
def bucket():
    """A bucket that holds every pinned model under `v1/`."""
    with faults.bucket() as server:
        fill(server)
        yield server


def fill(server):
    for name in FUNCTIONS:
        pin, content = pinned(name)
        server.objects[f"v1/{pin['file']}"] = content


@pytest.fixture
def folder(tmp_path):
    """The folder for the functions' temporary files; the test fails if one is left."""
    place = tmp_path / "temporary"
    place.mkdir()
    yield place
    assert not list(place.iterdir())


@pytest.fixture
def deploy(start, folder):
    """Start a function on a bucket at `url`."""

    def deploy(url, name="review", **environment):
        settings = {"STORAGE_EMULATOR_HOST": url, "MODEL_STORE": "gs://models/v1", "TMPDIR": str(folder)}
        return start(ROOT / "functions" / name / "main.py", **{**settings, **environment})

    return deploy


def call(server, name="review"):
    path, body, kind = CALLS[name]
    return server.request("POST", path, body, kind)


def lines(server, message):
    """The log's JSON lines whose message matches."""
    found = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if re.search(message, line["message"])]


def until(condition):
    """Wait for a condition to hold."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(condition)


def answers_again(server, name="review"):
    """Whether a later call, after the time in Retry-After, gets an answer."""
    for _ in range(8):
        answer = call(server, name)
        if answer.status == 200:
            return True
        assert answer.status == 503
        time.sleep(int(answer.headers["Retry-After"]))
    return False


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_model_comes_from_the_bucket_once_and_then_from_memory(name, bucket, deploy, folder):
    server = deploy(bucket.url, name)
    assert server.request("GET", "/ready").status == 503
    first = call(server, name)
    assert first.status == 200, server.log.read_text()
    assert server.request("GET", "/ready").status == 200
    pin, content = pinned(name)
    assert bucket.seen == [""]
    bucket.close()
    assert call(server, name).json == first.json
    [line] = lines(server, "model loaded")
    assert line["severity"] == "INFO"
    assert line["source"] == f"gs://models/v1/{pin['file']}"
    assert line["bytes"] == len(content)
    assert line["version"] == pin["version"]
    assert set(line["seconds"]) == {"import", "fetch", "verify", "load"}
    assert all(seconds >= 0 for seconds in line["seconds"].values())


def test_the_client_downloads_if_credentials_are_set(bucket, deploy, folder):
    bucket.fault = faults.reset_half_way
    server = deploy(bucket.url, GOOGLE_APPLICATION_CREDENTIALS="/nowhere.json")
    assert call(server).status == 200, server.log.read_text()
    # One download that breaks off and one that resumes it: a plain request would start again.
    assert [bool(asked) for asked in bucket.seen] == [False, True]


def test_a_failed_plain_request_is_repeated_by_the_client(bucket, deploy, folder):
    bucket.fault = faults.reset_half_way
    assert call(deploy(bucket.url)).status == 200
    assert [bool(asked) for asked in bucket.seen] == [False, False, True]


def test_the_model_is_downloaded_before_the_first_request(bucket, deploy):
    server = deploy(bucket.url)
    assert bucket.seen == [""]
    bucket.close()
    assert call(server).status == 200


NO_BUCKET = b'{"error": {"code": 404, "message": "The specified bucket does not exist."}}'
FORBIDDEN = b'{"error": {"code": 403, "message": "robot@x does not have storage.objects.get access"}}'
# The fault, whether the function answers in spite of it, and the log line if it does not.
FAULTS = {
    "no such object": (faults.status(404, b"No such object: models/v1/x"), False, "no such object"),
    "no such bucket": (faults.status(404, NO_BUCKET), False, "no such bucket"),
    "forbidden": (faults.status(403, FORBIDDEN), False, "forbidden: give .* roles/storage.objectViewer"),
    "busy twice": (faults.twice(faults.status(429)), True, ""),
    "down for ever": (faults.status(503), False, "gave up trying .*503|timed out"),
    "reset in the middle": (faults.reset_half_way, True, ""),
    "reset, then corrupted": (faults.reset_then_corrupted, False, "expected SHA-256"),
    "always reset": (faults.always_reset, False, "gave up trying|timed out"),
    "stall": (faults.stall, False, "gave up trying|timed out|more are coming"),
    "a byte a second": (faults.trickle, False, "timed out"),
    "cut short": (faults.cut_short, False, "gave up trying|timed out|cannot be downloaded|expected"),
    "runs over": (faults.runs_over, True, ""),
    "endless": (faults.endless, False, "and more are coming"),
    "a smaller object": (faults.smaller, False, r"expected \d+ bytes, found \d+"),
    "one bit flipped": (faults.flipped, False, "expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}"),
    "redirect to nowhere": (
        faults.status(302, Location="http://127.0.0.1:9/elsewhere"),
        False,
        "gave up trying|timed out|cannot be downloaded",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_leads_to_the_right_answer_or_a_503_and_the_function_recovers(fault, bucket, deploy, folder):
    bucket.fault, survived, logged = FAULTS[fault]
    server = deploy(bucket.url, FETCH_SECONDS="5")
    answer = call(server)
    if survived:
        assert answer.status == 200, server.log.read_text()
        return
    assert answer.status == 503
    assert answer.json["code"] == "model_unavailable"
    assert "storage" not in answer.body.decode(), "the caller learns nothing of the inside"
    assert int(answer.headers["Retry-After"]) >= 1
    assert lines(server, logged)[0]["severity"] == "ERROR"
    assert server.request("GET", "/health").status == 200
    bucket.fault = None
    assert answers_again(server)


def test_other_bytes_at_the_end_of_a_redirect_are_refused(bucket, deploy, folder):
    with faults.bucket() as elsewhere:
        elsewhere.fault = faults.status(200, bytes(pinned("review")[0]["bytes"]))
        bucket.fault = faults.status(302, Location=f"{elsewhere.url}/elsewhere")
        server = deploy(bucket.url)
        assert call(server).status == 503
        assert lines(server, "expected SHA-256")


def test_a_refused_connection_is_retried(deploy):
    port = free_port()
    server = deploy(f"http://127.0.0.1:{port}", FETCH_SECONDS="3")
    assert call(server).status == 503
    assert lines(server, "gave up trying|timed out")
    with faults.bucket(port) as bucket:
        fill(bucket)
        assert answers_again(server)


def test_during_the_back_off_the_bucket_gets_no_request(bucket, deploy):
    bucket.fault = faults.status(404)
    server = deploy(bucket.url)
    assert call(server).status == 503
    attempts = len(bucket.seen)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: call(server), range(20)))
    assert {answer.status for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    # At most one more, if the twenty took longer than the first back-off.
    assert len(bucket.seen) <= attempts + 1


def test_twenty_first_requests_share_one_download(bucket, deploy):
    bucket.fault = faults.held
    server = deploy(bucket.url)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(call, server) for _ in range(20)]
        until(lambda: len(bucket.seen) > 1)
        bucket.released.set()
    assert {answer.result().status for answer in answers} == {200}
    assert len({answer.result().body for answer in answers}) == 1
    assert bucket.seen == ["", ""], "one at the start, given up, and one of the client's"
    assert len(lines(server, "model loaded")) == 1


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="another process's children are Linux's")
def test_all_workers_and_those_that_replace_them_share_one_download(bucket, deploy):
    server = deploy(bucket.url, WORKERS="2", WARM_UP="1")
    until(lambda: len(lines(server, "model loaded")) == 2)
    os.kill(children(server.process.pid)[0], signal.SIGKILL)
    until(lambda: len(lines(server, "model loaded")) == 3)
    assert bucket.seen == [""]
    assert call(server).status == 200


PROBE = """
import os, threading
os.register_at_fork(before=lambda: print("threads at the fork:", threading.active_count(), flush=True))
"""


@pytest.mark.parametrize("fault", [None, faults.held, faults.trickle])
def test_the_start_does_not_wait_for_a_hanging_store_or_fork_with_a_thread(fault, bucket, start, tmp_path):
    bucket.fault = fault
    place = tmp_path / "review"
    shutil.copytree(ROOT / "functions" / "review", place)
    with (place / "main.py").open("a") as source:
        source.write(PROBE)
    settings = {"STORAGE_EMULATOR_HOST": bucket.url, "MODEL_STORE": "gs://models/v1"}
    # If the start waited for the store, it would take longer than `start` allows.
    server = start(place / "main.py", FETCH_SECONDS="600", **settings)
    assert set(re.findall("threads at the fork: .*", server.log.read_text())) == {"threads at the fork: 1"}
    assert bucket.seen == [""]


def downloads(store):
    """The processes that download from this store."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().split(b"\0")
            if b"shared.store.download" in command and any(store.encode() in part for part in command):
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the processes are looked for in /proc")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_no_download_outlives_the_function(end, bucket, deploy):
    bucket.fault = faults.held
    store = f"gs://models/{uuid.uuid4()}"
    server = deploy(bucket.url, MODEL_STORE=store, FETCH_SECONDS="4", WARM_UP="1")
    until(lambda: downloads(store))
    workers = children(server.process.pid)
    for process in (server.process.pid, *(workers if end == signal.SIGKILL else [])):
        os.kill(process, end)
    server.process.wait(30)
    until(lambda: not downloads(store))


def test_no_file_in_the_temporary_folder_is_read_or_written(bucket, deploy, tmp_path):
    """Traps are in the places of an earlier cache, and of a likely one."""
    pin, content = pinned("review")
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o777)
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    for number, name in enumerate(("models", f"models-{os.getuid()}")):
        (place / name).mkdir()
        (place / name / f"{pin['sha256']}.npz").write_bytes(content[:-1] + b"?")
        (place / name / f"{pin['sha256']}.part").symlink_to(victim)
        os.mkfifo(place / name / Path(pin["file"]).name)
        if os.getuid() == 0:
            os.chown(place / name, 10_000 + number, 10_000)
    (place / pin["sha256"]).symlink_to(victim)
    before = {path: path.lstat() for path in place.rglob("*")}
    assert call(deploy(bucket.url, TMPDIR=str(place))).status == 200
    assert {path: path.lstat() for path in place.rglob("*")} == before
    assert victim.read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform != "linux", reason="the size of files is limited as on Linux")
def test_a_full_disk_has_no_effect(bucket, deploy):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        server = deploy(bucket.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert call(server).status == 200


@pytest.mark.parametrize("trouble", ["hangs", "fails", "is not there"])
def test_the_error_for_a_missing_token_names_the_metadata_server(trouble, bucket, deploy):
    bucket.fault = faults.status(500) if trouble == "fails" else faults.held
    host = f"127.0.0.1:{free_port()}" if trouble == "is not there" else bucket.url.removeprefix("http://")
    google = {"K_SERVICE": "review", "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}
    server = deploy("", FETCH_SECONDS="5", **google)
    assert call(server).status == 503
    [line] = lines(server, "the metadata server at")
    assert f"the metadata server at http://{host}" in line["message"]
    assert "gcloud" not in line["message"]


@pytest.mark.parametrize("down", [False, True])
def test_a_worker_that_warms_up_is_ready_by_itself(down, bucket, deploy):
    bucket.fault = faults.status(403) if down else None
    server = deploy(bucket.url, WARM_UP="1")
    if down:
        for _ in range(600):
            if len(lines(server, "model_unavailable: .*forbidden")):
                break
            time.sleep(0.05)
        assert server.request("GET", "/ready").status == 503
        bucket.fault = None
    for _ in range(600):
        if server.request("GET", "/ready").status == 200:
            break
        time.sleep(0.05)
    assert server.request("GET", "/ready").status == 200
    assert call(server).status == 200
    assert len(lines(server, "model loaded")) == 1


@pytest.mark.parametrize(
    ("setting", "value"), [("WARM_UP", "yes"), ("FETCH_SECONDS", "soon"), ("FETCH_SECONDS", "0")]
)
def test_an_invalid_setting_stops_the_start(setting, value, deploy, tmp_path):
    with pytest.raises(AssertionError, match=f"{setting}: expected"):
        deploy("http://127.0.0.1:9", **{setting: value})


def test_no_signature_of_a_url_reaches_the_log():
    cause = download.cause(BadGateway("GET https://storage.googleapis.com/b/o?X-Goog-Signature=abc123: no"))
    assert "storage.googleapis.com/b/o" in cause
    assert "abc123" not in cause


LAPTOP = {"K_SERVICE": "", "GAE_SERVICE": "", "GOOGLE_APPLICATION_CREDENTIALS": ""}


@pytest.mark.parametrize(
    ("error", "environment", "advice"),
    [
        (auth.DefaultCredentialsError("none"), {}, "run `gcloud auth application-default login`"),
        (auth.RefreshError("revoked"), {}, "run `gcloud auth application-default login`"),
        (auth.TransportError("no route"), {}, "check the network"),
        (auth.DefaultCredentialsError("none"), {"K_SERVICE": "review"}, "the metadata server at http://"),
        (auth.TransportError("timed out"), {"GAE_SERVICE": "review"}, "the metadata server at http://"),
        (auth.RefreshError("500"), {"K_SERVICE": "review"}, "the metadata server at http://"),
        (
            auth.DefaultCredentialsError("File key.json was not found."),
            {"K_SERVICE": "review", "GOOGLE_APPLICATION_CREDENTIALS": "key.json"},
            "GOOGLE_APPLICATION_CREDENTIALS must name a valid key file",
        ),
    ],
    ids=str,
)
def test_the_advice_on_credentials_fits_the_environment(error, environment, advice, monkeypatch):
    for name, value in {**LAPTOP, **environment}.items():
        monkeypatch.setenv(name, value)
    cause = download.cause(error)
    assert advice in cause
    assert ("gcloud" in cause) == ("gcloud" in advice)
