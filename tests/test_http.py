"""Real processes under load, with slow clients, in logs, and read from pages of other origins."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import faults
import pytest
from conftest import FUNCTIONS, ROOT

from shared import logs
from shared.web import cors

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
def test_a_request_is_one_line_of_json_without_what_it_brought(name, start):
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


def test_the_older_trace_header_is_read_too(monkeypatch):
    monkeypatch.setattr(logs, "PROJECT", "lab")
    found = logs.trace({"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/1;o=1"})
    assert found == {
        "logging.googleapis.com/trace": "projects/lab/traces/105445aa7843bc8bf206b12000100000",
        "logging.googleapis.com/spanId": "0000000000000001",
        "logging.googleapis.com/trace_sampled": True,
    }
    assert logs.trace({"Traceparent": "nonsense"}) == {}


def test_in_a_terminal_a_line_is_text():
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
        assert headers["Access-Control-Expose-Headers"] == "Server-Timing, Retry-After"
    preflight = {**asked, "Access-Control-Request-Method": "POST"}
    status, headers, content = exchange(server, "OPTIONS", "/", preflight)
    assert (status, content) == (204, b"")
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in headers["Access-Control-Allow-Headers"]
    assert int(headers["Access-Control-Max-Age"]) > 0
    _, headers, _ = exchange(server, "GET", "/", {"Origin": "https://elsewhere.example.org"})
    assert "Access-Control-Allow-Origin" not in headers
    assert "Origin" in headers.get_all("Vary")


def test_any_origin_means_any():
    found = cors.headers({"Origin": "https://who.example"}, "GET", frozenset("*"))
    assert found["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in found


@pytest.mark.parametrize(
    "value",
    [
        "example.org",
        "https://example.org/",
        "https://a.org https://b.org",
        "null",
        "https://Example.org",
        "https://a.org:443",
    ],
)
def test_an_origin_that_is_none_refuses_to_start(value):
    with pytest.raises(ValueError, match="ALLOWED_ORIGINS: expected"):
        cors._origins(value)


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


def test_past_the_limit_requests_are_refused_and_the_others_answered(held):
    server, bucket = held(THREADS="2")
    with ThreadPoolExecutor(90) as pool:
        pending = [pool.submit(server.request, *REVIEW) for _ in range(90)]
        time.sleep(2)  # two are in work, and the others wait behind them
        bucket.released.set()
        answers = [one.result() for one in pending]
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert {answer.json["code"] for answer in refused} == {"overloaded"}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert len({answer.body for answer in answers if answer.status == 200}) == 1
    assert server.request(*REVIEW).status == 200


def test_clients_that_send_drop_by_drop_do_not_hold_up_the_others(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="4")
    address = server.url.removeprefix("http://").split(":")
    slow = []
    for _ in range(4):
        connection = socket.create_connection((address[0], int(address[1])), timeout=60)
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nA fi"
        )
        slow.append(connection)
    stop = threading.Event()

    def drip():
        while not stop.wait(0.2):
            for connection in slow:
                try:
                    connection.sendall(b"l")
                except OSError:
                    return

    dripping = threading.Thread(target=drip)
    dripping.start()
    assert server.request(*REVIEW).status == 200
    stop.set()
    dripping.join()
    for connection in slow:
        connection.settimeout(60)
        assert b" 408 " in connection.recv(65536).split(b"\r\n")[0]
        connection.close()
    assert server.request(*REVIEW).status == 200


def raw(server, *parts, pause=0.0, half_close=False):
    """What comes back of bytes sent as they are; the connection's first line."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return connection.recv(65536).split(b"\r\n")[0]


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"


def test_an_honest_upload_may_take_its_time(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="2")
    parts = [POST + b"Content-Length: 12\r\n\r\n", b"A fi", b"lm, ", b"good"]
    assert b" 200 " in raw(server, *parts, pause=0.8)


def test_a_body_that_is_not_whole_is_a_400(start):
    server = start(ROOT / "functions" / "review" / "main.py")
    assert b" 400 " in raw(server, POST + b"Content-Length: 100\r\n\r\nA film", half_close=True)
    assert b" 400 " in raw(server, POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert not [line for line in lines(server) if line["severity"] == "ERROR"]


def test_bodies_that_nobody_reads_hold_no_thread(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="2")
    host, port = server.url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port)), timeout=60) for _ in range(3)]
    for connection in slow:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx")
    for connection in slow:
        assert b" 200 " in connection.recv(65536).split(b"\r\n")[0]
        connection.close()
    assert server.request(*REVIEW).status == 200


@pytest.mark.parametrize(("setting", "value"), [("THREADS", "many"), ("MAX_INSTANCES", "0")])
def test_a_setting_that_makes_no_sense_is_named_and_stops_the_start(setting, value):
    run = subprocess.run(
        [sys.executable, "-c", "import shared.web.endpoint"],
        cwd=ROOT,
        env={**os.environ, setting: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert f"{setting}: expected a whole number" in run.stderr


def test_a_client_that_vanishes_harms_nobody(start):
    server = start(ROOT / "functions" / "review" / "main.py", THREADS="2")
    address = server.url.removeprefix("http://").split(":")
    for _ in range(8):
        connection = socket.create_connection((address[0], int(address[1])), timeout=60)
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nA"
        )
        connection.close()
    assert server.request(*REVIEW).status == 200
    assert not [line for line in lines(server) if line["severity"] == "ERROR"]


def test_what_is_in_work_when_the_function_is_told_to_end_is_finished(held):
    server, bucket = held()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.request, *REVIEW)
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        bucket.released.set()
        assert answer.result().status == 200
    assert server.process.wait(30) == 0
