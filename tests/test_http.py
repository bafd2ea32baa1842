"""Real processes under load, with slow clients, in logs, and read from pages of other origins."""

import contextlib
import http.client
import inspect
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import unquote

import faults
import pytest
from conftest import FUNCTIONS, ROOT
from flask import Request
from werkzeug.test import EnvironBuilder

from shared import logs
from shared.classifier import classify
from shared.errors import BadRequest, ClientLeft, Overloaded, TimedOut, TooLarge
from shared.web import worker
from shared.web.body import STEP, Memory, receive
from shared.web.client import KEY, Client
from shared.web.readers.reader import body_of

REVIEW = ("POST", "/predict", b"A brilliant film, I loved it.", "text/plain")
ORIGIN = "https://lab.example.org"


def lines(server):
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def exchange(server, method, path, headers, body=None):
    """An answer with all its headers, also of methods that urllib does not know."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_request_is_one_json_log_line_without_its_input(name, start):
    server = start(ROOT / "functions" / name / "main.py")
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    secret = b"a film that only my mother knows of"
    body = secret if name == "review" else (ROOT / "models/malaria/examples/infected.png").read_bytes()
    kind = "text/plain" if name == "review" else "image/png"
    headers = {"Content-Type": kind, "traceparent": f"00-{trace}-{span}-01", "User-Agent": "probe/1"}
    status, _, _ = exchange(server, "POST", "/?explain=1", headers, body)
    assert status == 200
    [line] = [one for one in lines(server) if one.get("httpRequest", {}).get("requestMethod") == "POST"]
    assert line["severity"] == "INFO"
    assert line["httpRequest"]["status"] == 200
    assert line["httpRequest"]["requestUrl"] == "/"
    assert line["httpRequest"]["requestSize"] == str(len(body))
    assert int(line["httpRequest"]["responseSize"]) > 0
    assert line["httpRequest"]["userAgent"] == "probe/1"
    assert float(line["httpRequest"]["latency"].removesuffix("s")) > 0
    assert line["logging.googleapis.com/trace"].endswith(trace)
    assert line["logging.googleapis.com/spanId"] == span
    assert line["logging.googleapis.com/trace_sampled"] is True
    assert line["cold"] is True
    assert line["model"] == json.loads((ROOT / "functions" / name / "model.json").read_text())["version"]
    assert len(line["labels"]) == 1
    assert "predict" in line["milliseconds"]
    assert secret.decode() not in server.log.read_text()
    assert "base64" not in server.log.read_text()


def test_the_older_trace_header_is_read_too():
    found = logs.trace({"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/1;o=1"}, "lab")
    assert found == {
        "logging.googleapis.com/trace": "projects/lab/traces/105445aa7843bc8bf206b12000100000",
        "logging.googleapis.com/spanId": "0000000000000001",
        "logging.googleapis.com/trace_sampled": True,
    }
    assert logs.trace({"Traceparent": "nonsense"}, "lab") == {}


def test_in_a_terminal_the_log_is_plain_text():
    script = "from shared import logs; logs.write('INFO', 'it works\\x1b[2J', stack_trace='where')"
    master, slave = os.openpty()
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=slave, check=True)
    os.close(slave)
    told = os.read(master, 1000).decode()
    os.close(master)
    assert "INFO    it works" in told
    assert "\x1b" not in told
    assert "where" in told
    assert "{" not in told


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_kind_of_answer_can_be_read_by_an_allowed_origin(name, start, tmp_path):
    server = start(ROOT / "functions" / name / "main.py", ALLOWED_ORIGINS=f"{ORIGIN}, http://localhost:3000")
    asked = {"Origin": ORIGIN, "Content-Type": "text/plain"}
    for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/ready"), ("GET", "/none"), ("PUT", "/")):
        status, headers, _ = exchange(server, method, path, asked)
        assert headers["Access-Control-Allow-Origin"] == ORIGIN, (method, path, status)
        assert "Origin" in headers.get_all("Vary")
        assert headers["Access-Control-Expose-Headers"] == "Server-Timing, Retry-After, WWW-Authenticate"
    preflight = {**asked, "Access-Control-Request-Method": "POST"}
    status, headers, content = exchange(server, "OPTIONS", "/", preflight)
    assert (status, content) == (204, b"")
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in headers["Access-Control-Allow-Headers"]
    assert int(headers["Access-Control-Max-Age"]) > 0
    _, headers, _ = exchange(server, "GET", "/", {"Origin": "https://elsewhere.example.org"})
    assert "Access-Control-Allow-Origin" not in headers
    assert "Origin" in headers.get_all("Vary")


@pytest.fixture
def held(start, tmp_path):
    """Start the review function with a model that comes when `bucket.released` is set."""
    pin = json.loads((ROOT / "functions" / "review" / "model.json").read_text())
    with faults.bucket() as bucket:
        bucket.objects[f"v1/{pin['file']}"] = (ROOT / "models" / pin["file"]).read_bytes()
        bucket.fault = faults.held

        def held(**environment):
            settings = {"STORAGE_EMULATOR_HOST": bucket.url, "MODEL_STORE": "gs://models/v1"}
            place = {"TMPDIR": str(tmp_path)}
            return start(
                ROOT / "functions" / "review" / "main.py", **settings, **place, **environment
            ), bucket

        yield held


def address(server):
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def logged(server, status, count=1):
    """The log lines of so many requests with this status, once they are written."""
    for _ in range(600):
        found = [line for line in lines(server) if line.get("httpRequest", {}).get("status") == status]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(server.log.read_text())


SLOW = {
    "half a request line": b"GET /hea",
    "half a head": b"GET /health HTTP/1.1\r\nHost: x\r\nX-More: ",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nA",
}


@contextlib.contextmanager
def dripping(connections):
    """Send a byte on each now and then."""
    stop = threading.Event()

    def drip():
        while not stop.wait(0.2):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.sendall(b"l")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for connection in connections:
            connection.close()


def test_slow_uploads_block_nobody_and_get_an_error(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="1")
    slow = [socket.create_connection(address(server), timeout=60) for _ in range(12)]
    for connection, part in zip(slow, [*SLOW.values()] * 4, strict=True):
        connection.sendall(part)
    with dripping(slow):
        assert server.request("GET", "/health").status == 200
        assert server.request(*REVIEW).status == 200
        answered, _, _ = select.select(slow, [], [], 0)
        assert not answered  # the others have been answered before, and not after, these were given up
        for connection in slow:
            assert b" 408 " in connection.makefile("rb").read().split(b"\r\n")[0]
    assert server.request(*REVIEW).status == 200


def raw(server, *parts, pause=0.0, half_close=False):
    """What comes back of bytes sent as they are; the connection's first line."""
    with socket.create_connection(address(server), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return connection.recv(65536).split(b"\r\n")[0]


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"


def test_a_slow_but_steady_upload_is_accepted(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="2")
    parts = [POST + b"Content-Length: 12\r\n\r\n", b"A fi", b"lm, ", b"good"]
    assert b" 200 " in raw(server, *parts, pause=0.8)


def test_an_incomplete_body_is_a_400(start):
    server = start(ROOT / "functions" / "review" / "main.py")
    assert b" 400 " in raw(server, POST + b"Content-Length: 100\r\n\r\nA film", half_close=True)
    assert b" 400 " in raw(server, POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert not [line for line in lines(server) if line["severity"] == "ERROR"]


UNREAD = {
    "GET /health": 200,
    "OPTIONS /": 204,
    "POST /nowhere": 404,
    "POST /nowhere%0a": 404,
    "PUT /": 405,
    "POST /health": 405,
    "POST / ": 413,
}


def test_unread_bodies_block_nobody_and_the_answer_arrives(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="1")
    slow = [socket.create_connection(address(server), timeout=60) for _ in UNREAD]
    for connection, (line, status) in zip(slow, UNREAD.items(), strict=True):
        head = f"{line.strip()} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nx"
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()  # to its end: the connection is not kept
        assert f" {status} ".encode() in answer.split(b"\r\n")[0], line
        assert b"\r\nConnection: close\r\n" in answer
    assert server.request(*REVIEW).status == 200
    # The whole body, as most clients send it before they read: the refusal still reaches them.
    status, _, content = exchange(server, "POST", "/", {"Content-Type": "text/plain"}, bytes(11_000_000))
    assert (status, json.loads(content)["code"]) == (413, "too_large")
    for connection in slow:
        connection.close()


LONG = {
    "line": (b"GET /" + bytes([97]) * 10_000_000, 414, "line_too_long"),
    "header": (b"GET / HTTP/1.1\r\nX-Long: " + bytes([97]) * 10_000_000, 431, "headers_too_large"),
    "headers": (b"GET / HTTP/1.1\r\n" + b"X-More: a\r\n" * 500_000, 431, "headers_too_large"),
    "no HTTP": (b"\x16\x03\x01 what is this\r\n\r\n", 400, "bad_request"),
}


def test_malformed_and_oversized_requests_are_refused_in_json(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="1")
    for content, status, code in LONG.values():
        with socket.create_connection(address(server), timeout=60) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(content)
            head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
        assert f" {status} ".encode() in head.split(b"\r\n")[0]
        assert json.loads(body)["code"] == code
    assert all(line.startswith("{") for line in server.log.read_text().splitlines())


def test_a_client_that_disconnects_affects_nobody(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="2")
    for _ in range(8):
        connection = socket.create_connection(address(server), timeout=60)
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nA"
        )
        connection.close()
    assert server.request(*REVIEW).status == 200
    assert not [line for line in lines(server) if line["severity"] == "ERROR"]


@contextlib.contextmanager
def at_work(server):
    """A connection whose request a thread has taken; what comes back is the answer alone."""
    with socket.create_connection(address(server), timeout=60) as connection:
        head = POST + f"Origin: {ORIGIN}\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n".encode()
        connection.sendall(head)
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"A film.")
        yield connection


def test_running_requests_are_finished_after_sigterm(held):
    server, bucket = held()
    with at_work(server) as connection:
        server.process.send_signal(signal.SIGTERM)
        bucket.released.set()
        assert b" 200 " in connection.makefile("rb").readline()
    assert server.process.wait(30) == 0


def test_requests_that_cannot_be_finished_after_sigterm_get_an_answer(held):
    server, _ = held(ALLOWED_ORIGINS=ORIGIN)
    with at_work(server) as connection:
        server.process.send_signal(signal.SIGTERM)
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert b" 503 " in head.split(b"\r\n")[0]
    assert f"Access-Control-Allow-Origin: {ORIGIN}" in head.decode().split("\r\n")
    assert json.loads(body)["code"] == "timed_out"
    assert server.process.wait(30) == 0
    assert [line["id"] for line in logged(server, 503)] == [json.loads(body)["id"]]


def test_a_request_past_its_deadline_is_answered_and_the_next_is_served(held):
    server, bucket = held(REQUEST_SECONDS="1", THREADS="1")
    answers = [server.request(*REVIEW) for _ in range(2)]  # one at work, and one that finds no place
    for answer in answers:
        assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "timed_out", "1")
    bucket.released.set()
    for _ in range(60):
        if (answer := server.request(*REVIEW)).status == 200:
            break
        assert answer.json["code"] == "timed_out"
    assert answer.status == 200


def test_work_for_a_disconnected_client_is_skipped(held):
    server, bucket = held(THREADS="1")
    for _ in range(3):
        with socket.create_connection(address(server), timeout=60) as connection:
            connection.sendall(POST + b"Content-Length: 7\r\n\r\nA film.")
    bucket.released.set()
    for line in logged(server, 499, 3):
        assert "predict" not in line["milliseconds"]
    assert server.request(*REVIEW).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
def test_nothing_is_parsed_or_loaded_for_a_disconnected_client(kind, load, pair, capsys):
    client, _, theirs = pair
    theirs.close()
    answer = load("review").post("/", data="{ film", content_type=kind, environ_overrides={KEY: client})
    assert (answer.status_code, answer.get_json()["code"]) == (499, "client_left")
    assert "cold" not in json.loads(capsys.readouterr().out)


def test_a_client_that_disconnects_ends_its_batch():
    class Counter:
        labels, decoded = ("a", "b"), 0

        def decode(self, _):
            self.decoded += 1

    for checks in (2, 3):
        counter, left = Counter(), iter([None] * (checks - 1))
        with pytest.raises(StopIteration):
            classify(counter, ["x", "y"], False, lambda left=left: next(left))
        assert counter.decoded == checks - 1


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(60)
        yield Client(ours), ours, theirs


def test_a_client_that_left_is_noticed_behind_what_it_sent_and_nothing_of_that_is_read(pair):
    client, ours, theirs = pair
    later = time.monotonic() + 60
    client.check(later)
    theirs.sendall(b"the next request")
    client.check(later)
    theirs.close()
    with pytest.raises(ClientLeft):
        client.check(later)
    assert ours.recv(100) == b"the next request"


def test_nothing_is_started_after_the_deadline(pair):
    with pytest.raises(TimedOut):
        pair[0].check(time.monotonic())
    with pytest.raises(TimedOut):
        Client().check(time.monotonic())


def test_a_limit_that_has_passed_answers_once_and_closes(pair):
    client, _, theirs = pair
    client.await_answer(time.monotonic() + 60, lambda: b"too late")
    client.tick(None)
    assert not select.select([theirs], [], [], 0)[0]
    client.await_answer(time.monotonic(), lambda: b"too late")
    client.tick(None)
    client.tick(None)
    assert theirs.makefile("rb").read() == b"too late"
    assert not client.claim()
    with pytest.raises(TimedOut):
        client.check(time.monotonic() + 60)


def test_a_claimed_answer_is_the_threads_own_and_a_stop_shortens_every_limit(pair):
    client, _, theirs = pair
    client.await_answer(time.monotonic(), lambda: b"too late")
    assert client.claim()
    client.tick(None)
    assert not select.select([theirs], [], [], 0)[0]
    client.await_answer(time.monotonic() + 60, lambda: b"stopped")
    client.tick(time.monotonic())
    assert not select.select([theirs], [], [], 0)[0]
    client.tick(time.monotonic() - 9)
    assert theirs.makefile("rb").read() == b"stopped"


def received(body, limit, take=lambda _: None, **environ):
    request = Request(EnvironBuilder(method="POST", data=body).get_environ() | environ)
    receive(request, limit, take)
    return body_of(request)


def test_a_body_is_read_up_to_its_limit():
    assert received(b"four", 4) == b"four"
    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    assert received(b"four", 4, **chunked) == b"four"
    assert received(b"", 4, **chunked) == b""
    with pytest.raises(TooLarge, match="at most 4 bytes; this one has 5 or more"):
        received(b"fiver", 4)
    with pytest.raises(TooLarge, match="at most 4 bytes; this one has 5 or more"):
        received(b"five and more", 4, **chunked)
    with pytest.raises(BadRequest, match="a body of 9 bytes; got 4"):
        received(b"four", 10, CONTENT_LENGTH="9")


def test_all_bodies_share_a_limit_and_release_their_memory():
    memory = Memory(2 * STEP)
    with memory.share() as one, memory.share() as other:
        assert len(received(bytes(STEP + 1), 9 * STEP, one)) == STEP + 1
        with pytest.raises(Overloaded):
            received(bytes(STEP), 9 * STEP, other)
    with memory.share() as later:
        assert len(received(bytes(2 * STEP), 9 * STEP, later)) == 2 * STEP


def test_flask_is_left_out_unless_it_would_do_more_than_call_the_function(load, monkeypatch):
    def hooked(change):
        app = load("review").application
        target = inspect.unwrap(app.view_functions["run"])
        change(app)
        return not worker.needs_no_flask(app, target)

    assert not hooked(lambda _: None)
    assert hooked(lambda app: app.before_request(lambda: "not today"))
    assert hooked(lambda app: app.after_request(lambda response: response))
    assert hooked(lambda app: app.teardown_request(lambda _: None))
    assert hooked(lambda app: setattr(app, "wsgi_app", app.wsgi_app.wsgi_app))
    assert hooked(lambda app: app.view_functions.update(run=lambda _: "wrapped"))
    monkeypatch.setenv("LOG_EXECUTION_ID", "true")
    assert hooked(lambda _: None)


def test_requests_on_one_connection_are_answered_in_their_order(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="1")
    asked = ["GET /health", "GET /nowhere", "GET /health"]
    with socket.create_connection(address(server), timeout=60) as connection:
        answers = connection.makefile("rb")
        for burst in (asked, asked):
            connection.sendall("".join(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n" for line in burst).encode())
            for line in burst:
                expected = b"404" if "nowhere" in line else b"200"
                assert answers.readline().split()[1] == expected
                length = 0
                while (header := answers.readline()) != b"\r\n":
                    length = int(header.split()[1]) if header.startswith(b"Content-Length") else length
                answers.read(length)


def test_workers_share_the_number_of_their_connections(monkeypatch):
    loads = worker.Loads()
    assert loads.fewest(besides=1) == math.inf
    loads.set(1, 5)
    assert (loads.fewest(besides=1), loads.fewest(besides=2)) == (math.inf, 5)
    loads.set(2, 3)
    assert (loads.fewest(besides=1), loads.fewest(besides=3)) == (3, 3)
    monkeypatch.setattr(worker.Loads, "FRESH_SECONDS", -60)
    assert loads.fewest(besides=1) == math.inf


STRANGE = [
    "/%0a",
    "/x%00y",
    "/a%0d%0aSet-Cookie:%20x",
    "/%7f",
    "/%ff",
    "/%e2%80%a8",
    "//classify",
    "/favicon.ico",
]


@pytest.mark.parametrize("path", STRANGE)
def test_a_path_that_the_framework_would_answer_is_a_problem_too_with_its_line(path, load, capsys):
    answer = load("review").get("/", environ_overrides={"PATH_INFO": unquote(path, "latin-1")})
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answer.get_json()["code"] == "not_found"
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["httpRequest"]["status"] == 404
    assert "\n" not in answer.headers.to_wsgi_list()


@pytest.mark.parametrize("path", ["/predict", "/predict/", "/predict//", "/", "//", ""])
def test_slashes_at_the_end_change_nothing(path, load):
    client = load("review")
    answer = client.post(
        "/", data=REVIEW[2], content_type="text/plain", environ_overrides={"PATH_INFO": path}
    )
    assert answer.get_json()["review_sentiment"] == "Positive"
    assert client.get("/health/").get_json() == {"status": "alive"}
    assert client.get("/predict/").headers["Allow"] == "POST, OPTIONS"


def test_a_5xx_has_the_id_of_its_log_line_and_no_internal_details(load, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MODEL_STORE", str(tmp_path))
    answer = load("review").post("/", data=REVIEW[2], content_type="text/plain")
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (503, "model_unavailable")
    [line] = [json.loads(each) for each in capsys.readouterr().out.splitlines() if problem["id"] in each]
    assert line["id"] == problem["id"]
    assert str(tmp_path) in line["message"]
    assert str(tmp_path) not in answer.text
    assert "id" not in load("review").get("/nowhere").get_json()


def test_the_id_of_an_internal_error_of_one_instance_is_logged_too(load, monkeypatch, capsys):
    client = load("review")
    kind = sys.modules["main"].Classifier
    right = kind.decode

    def decode(self, raw):
        if raw == "break":
            raise RuntimeError("the inside")
        return right(self, raw)

    monkeypatch.setattr(kind, "decode", decode)
    answer = client.post("/", json={"instances": [REVIEW[2].decode(), "break"]})
    good, bad = answer.get_json()["predictions"]
    assert (answer.status_code, good["error"], bad["code"]) == (200, "0", "internal")
    assert "the inside" not in answer.text
    [line] = [json.loads(each) for each in capsys.readouterr().out.splitlines() if bad["id"] in each]
    assert (line["severity"], line["labels"]) == ("ERROR", ["Positive", None])
    assert "RuntimeError: the inside" in line["message"]
    assert "in decode" in line["stack_trace"]


def test_log_records_of_libraries_are_json_and_limited():
    script = """if True:
        import logging, warnings
        from shared import logs
        logs.capture()
        for number in range(500):
            warnings.warn(f"tag {number} of a crafted file\\nis odd", UserWarning)
            logging.getLogger("PIL").warning("tag %d", number)
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("gunicorn.error").exception("it broke")
        assert not [name for name in globals().get("__warningregistry__", {}) if name != "version"]
    """
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    written = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(written) == logs.Library.LINES
    assert {line["severity"] for line in written} == {"WARNING"}
    assert "tag 0 of a crafted file" in written[0]["message"]
    assert "not logged" in written[-1]["message"]
    assert run.stderr == ""
