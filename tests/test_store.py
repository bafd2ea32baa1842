"""A function whose model lies in Cloud Storage, as a process of its own, and what goes wrong on the way."""

import json
import re
import resource
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faults
import pytest
from conftest import FUNCTIONS, ROOT, free_port

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
    """Where the temporary files of the functions go; their cache is in there."""
    place = tmp_path / "temporary"
    place.mkdir()
    return place


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


def settled(cache):
    """The files of the cache once no download runs any more."""
    for _ in range(600):
        left = list(cache.glob("*")) if cache.is_dir() else []
        if not any(path.suffix == ".part" for path in left):
            break
        time.sleep(0.05)
    return left


def answers_again(server, name="review"):
    """Whether a later call, made when the function asks for it, gets an answer."""
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
    [cached] = settled(folder / "models")
    assert cached.read_bytes() == content
    assert cached.stem == pin["sha256"]
    assert bucket.seen == [""]
    cached.unlink()
    bucket.close()
    assert call(server, name).json == first.json
    [line] = lines(server, "model loaded")
    assert line["severity"] == "INFO"
    assert line["source"] == f"gs://models/v1/{pin['file']}"
    assert line["bytes"] == len(content)
    assert line["version"] == pin["version"]
    assert set(line["seconds"]) == {"import", "fetch", "verify", "load"}
    assert all(seconds >= 0 for seconds in line["seconds"].values())


def test_the_client_downloads_where_credentials_are_named(bucket, deploy, folder):
    bucket.fault = faults.reset_half_way
    server = deploy(bucket.url, GOOGLE_APPLICATION_CREDENTIALS="/nowhere.json")
    assert call(server).status == 200, server.log.read_text()
    # One that breaks off and one that goes on from there: a plain request would begin again.
    assert [bool(asked) for asked in bucket.seen] == [False, True]


def test_what_breaks_off_a_plain_request_is_tried_again_by_the_client(bucket, deploy, folder):
    bucket.fault = faults.reset_half_way
    assert call(deploy(bucket.url)).status == 200
    assert [bool(asked) for asked in bucket.seen] == [False, False, True]


def test_the_download_begins_at_the_start(bucket, deploy, folder):
    deploy(bucket.url)
    for _ in range(600):
        if list((folder / "models").glob("*.npz")):
            break
        time.sleep(0.05)
    assert len(settled(folder / "models")) == 1
    assert bucket.seen == [""]


NO_BUCKET = b'{"error": {"code": 404, "message": "The specified bucket does not exist."}}'
FORBIDDEN = b'{"error": {"code": 403, "message": "robot@x does not have storage.objects.get access"}}'
# The fault, whether the function answers all the same, and what the log says where it does not.
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
def test_a_fault_ends_in_the_right_answer_or_in_a_503_and_passes_when_it_does(fault, bucket, deploy, folder):
    bucket.fault, survived, logged = FAULTS[fault]
    server = deploy(bucket.url, FETCH_SECONDS="5")
    answer = call(server)
    if survived:
        assert answer.status == 200, server.log.read_text()
        assert len(settled(folder / "models")) == 1
        return
    assert answer.status == 503
    assert answer.json["code"] == "model_unavailable"
    assert "storage" not in answer.body.decode(), "the caller learns nothing of the inside"
    assert int(answer.headers["Retry-After"]) >= 1
    assert lines(server, logged)[0]["severity"] == "ERROR"
    assert server.request("GET", "/health").status == 200
    assert settled(folder / "models") == []
    bucket.fault = None
    assert answers_again(server)
    [cached] = settled(folder / "models")
    assert cached.read_bytes() == pinned("review")[1]


def test_other_bytes_at_the_end_of_a_redirect_are_refused(bucket, deploy, folder):
    with faults.bucket() as elsewhere:
        elsewhere.fault = faults.status(200, bytes(pinned("review")[0]["bytes"]))
        bucket.fault = faults.status(302, Location=f"{elsewhere.url}/elsewhere")
        server = deploy(bucket.url)
        assert call(server).status == 503
        assert lines(server, "expected SHA-256")
        assert settled(folder / "models") == []


def test_a_refused_connection_is_tried_again(deploy):
    port = free_port()
    server = deploy(f"http://127.0.0.1:{port}", FETCH_SECONDS="3")
    assert call(server).status == 503
    assert lines(server, "gave up trying|timed out")
    with faults.bucket(port) as bucket:
        fill(bucket)
        assert answers_again(server)


def test_between_two_attempts_the_bucket_is_left_alone(bucket, deploy):
    bucket.fault = faults.status(404)
    server = deploy(bucket.url)
    assert call(server).status == 503
    attempts = len(bucket.seen)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: call(server), range(20)))
    assert {answer.status for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    # At most one more, where the twenty took longer than the rest after the first failure.
    assert len(bucket.seen) <= attempts + 1


def test_twenty_first_requests_share_one_download(bucket, deploy):
    bucket.fault = faults.held
    server = deploy(bucket.url)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(call, server) for _ in range(20)]
        time.sleep(1)
        bucket.released.set()
    assert {answer.result().status for answer in answers} == {200}
    assert len({answer.result().body for answer in answers}) == 1
    assert bucket.seen == [""]
    assert len(lines(server, "model loaded")) == 1


def test_two_processes_share_a_cache_and_a_download(bucket, deploy, folder):
    bucket.fault = faults.held
    servers = [deploy(bucket.url) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(call, server) for server in servers]
        time.sleep(1)
        bucket.released.set()
    assert [answer.result().status for answer in answers] == [200, 200]
    assert bucket.seen == [""]
    assert len(settled(folder / "models")) == 1


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_function_leaves_no_half_file(end, bucket, deploy, folder):
    bucket.fault = faults.stall
    server = deploy(bucket.url, FETCH_SECONDS="6")
    for _ in range(600):
        if list((folder / "models").glob("*.part")):
            break
        time.sleep(0.02)
    assert list((folder / "models").glob("*.part"))
    server.process.send_signal(end)
    server.process.wait(30)
    assert settled(folder / "models") == []


def test_what_a_killed_download_left_is_written_over(bucket, deploy, folder):
    pin, content = pinned("review")
    (folder / "models").mkdir()
    (folder / "models" / f"{pin['sha256']}.part").write_bytes(content[:1000] + b"?")
    assert call(deploy(bucket.url)).status == 200
    assert [path.read_bytes() for path in settled(folder / "models")] == [content]


def test_a_damaged_file_in_the_cache_is_fetched_anew(bucket, deploy, folder):
    pin, content = pinned("review")
    (folder / "models").mkdir()
    (folder / "models" / f"{pin['sha256']}.npz").write_bytes(content[:-1] + b"?")
    assert call(deploy(bucket.url)).status == 200
    assert [path.read_bytes() for path in settled(folder / "models")] == [content]


def test_a_cache_that_cannot_be_written_to_is_named_and_recovers(bucket, deploy, folder):
    # Nobody may create a file there, not even root.
    (folder / "models").symlink_to("/sys" if sys.platform == "linux" else "/dev")
    server = deploy(bucket.url)
    assert call(server).status == 503
    assert lines(server, r"models/[0-9a-f]{64}\.part: cannot be written")
    (folder / "models").unlink()
    assert answers_again(server)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are Linux's")
def test_a_full_disk_is_named_and_recovers(bucket, deploy, folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        server = deploy(bucket.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert call(server).status == 503
    assert lines(server, "cannot be written: .*the disk is full")
    assert settled(folder / "models") == []
    for worker in children(server.process.pid):
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (soft, hard))
    assert answers_again(server)


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
def test_a_setting_that_cannot_be_read_stops_the_start(setting, value, deploy, tmp_path):
    with pytest.raises(AssertionError, match=f"{setting}: expected"):
        deploy("http://127.0.0.1:9", **{setting: value})


def test_no_signature_of_a_url_reaches_the_log():
    from google.api_core.exceptions import BadGateway

    from shared.store import download

    told = download.cause(BadGateway("GET https://storage.googleapis.com/b/o?X-Goog-Signature=abc123: no"))
    assert "storage.googleapis.com/b/o" in told
    assert "abc123" not in told
