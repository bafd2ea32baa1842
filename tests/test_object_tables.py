"""Images by the signed URLs of BigQuery's object tables: downloaded only from Cloud Storage."""

import base64
import socket
import threading
import time
from urllib.parse import quote

import faults
import pytest
from conftest import ROOT

from shared.errors import BadRequest, ClientLeft, Overloaded
from shared.settings import Settings
from shared.web.engines import objects

CELL = (ROOT / "models" / "malaria" / "examples" / "infected.png").read_bytes()
STORAGE = "https://storage.googleapis.com"
QUERY = "?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=secret-credential&X-Goog-Signature=5ec2e7"


def signed(name, origin=STORAGE):
    return f"{origin}/cells/{quote(name)}{QUERY}"


@pytest.fixture
def bucket(monkeypatch):
    with faults.bucket() as bucket:
        bucket.objects = {"a.png": CELL, "with blank.png": CELL, "text": b"no image"}
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.url)
        yield bucket


@pytest.fixture
def malaria(load, bucket):
    return load("malaria")


def replies(client, *values):
    answer = client.post("/bigquery", json={"calls": [[value] for value in values]})
    assert answer.status_code == 200, answer.text
    return answer.get_json()["replies"]


def test_objects_and_bytes_are_scored_in_one_request_each_in_its_row(malaria, bucket, capsys):
    inline = base64.b64encode(CELL).decode()
    found = replies(
        malaria, signed("a.png"), inline, None, signed("with blank.png"), signed("gone.png"), signed("text")
    )
    good, same, null, blank, gone, text = found
    assert good == same == blank
    assert good["classification"] == "Infected"
    assert null is None
    assert (gone["code"], "answered 404" in gone["message"]) == ("object_unreadable", True)
    assert text["error"] == "1"
    assert len(bucket.seen) == 4
    assert "objects" in capsys.readouterr().out


NOWHERE = [
    "http://storage.googleapis.com/cells/a.png",
    "https://storage.googleapis.com:443/cells/a.png",
    "https://user@storage.googleapis.com/cells/a.png",
    "https://storage.googleapis.com@169.254.169.254/computeMetadata/v1/",
    "https://storage.googleapis.com.example.org/a.png",
    "https://cells.storage.googleapis.com/a.png",
    "https://storage.googleapis.com\\@example.org/a.png",
    "https://storage.googleapis.com/a.png\r\nHost: example.org",
    "https://storage.googleapis.com/a b.png",
    "https://storage.googleapis.com/a.png#fragment",
    "https://storage.googleapis.com/\u00e9.png",
    "https://storage.googleapis.com/",
    "https://storage.googleapis.com/" + "a" * 9000,
    "HTTPS://STORAGE.GOOGLEAPIS.COM/cells/a.png",
    " https://storage.googleapis.com/cells/a.png",
    "https:/storage.googleapis.com/cells/a.png",
    "gs://cells/a.png",
    "file:///etc/passwd",
    "ftp://storage.googleapis.com/a.png",
    "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token",
    "http://localhost/",
    "javascript:alert(1)",
]


def test_no_other_host_is_contacted(malaria, bucket, monkeypatch):
    connected = []
    monkeypatch.setattr(socket.socket, "connect_ex", lambda _, address: connected.append(address))
    for url, reply in zip(NOWHERE, replies(malaria, *NOWHERE), strict=True):
        assert (reply["error"], reply["code"]) == ("1", "bad_request"), url
        assert f"{STORAGE}/" in reply["message"]
    assert connected == []


@pytest.mark.parametrize(
    "production", [{"K_SERVICE": "malaria"}, {"GAE_SERVICE": "malaria"}, {"AIP_HTTP_PORT": "8080"}]
)
def test_in_production_the_emulator_variable_is_ignored(production, bucket, monkeypatch):
    assert objects.store(Settings.read({})) == bucket.url
    assert objects.signed_url(signed("a.png", bucket.url), Settings.read({})) is not None
    for variable, value in production.items():
        monkeypatch.setenv(variable, value)
    settings = Settings.read()
    assert objects.store(settings) == STORAGE
    assert objects.signed_url(signed("a.png"), settings) is not None
    with pytest.raises(BadRequest, match=f"begins with {STORAGE}/"):
        objects.signed_url(signed("a.png", bucket.url), settings)


def test_a_real_url_is_fetched_over_tls_from_the_constant_host(malaria, monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    hosts = []

    def refuse(*host, **_):
        hosts.append(host)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    [reply] = replies(malaria, signed("//evil.example.org/a.png"))
    assert hosts == [("storage.googleapis.com", 443)] * 2
    assert (reply["code"], "the connection failed" in reply["message"]) == ("object_unreadable", True)


def test_no_url_is_in_a_message_or_in_the_log(malaria, bucket, capsys):
    bucket.fault = faults.status(403, b"<Error>ExpiredToken secret-credential</Error>")
    values = [
        signed("a.png"),
        signed("a.png").replace("https", "http"),
        NOWHERE[6] + QUERY,
        f"{signed('a.png')}\n",
    ]
    answer = malaria.post("/bigquery", json={"calls": [[value] for value in values]})
    malaria.post("/bigquery", json={"calls": [[value, 1] for value in values]})
    written = answer.text + capsys.readouterr().out
    assert "answered 403" in answer.text
    assert "secret-credential" not in written
    assert "5ec2e7" not in written
    assert "secret-credential" not in repr(objects.signed_url(signed("a.png"), Settings()))


def test_a_redirect_is_not_followed(malaria, bucket):
    with faults.bucket() as elsewhere:
        elsewhere.objects["a.png"] = CELL
        for status in (301, 302, 303, 307, 308):
            bucket.fault = faults.status(status, Location=signed("a.png", elsewhere.url))
            [reply] = replies(malaria, signed("a.png"))
            assert f"answered {status}" in reply["message"]
        assert elsewhere.seen == []


def test_a_transient_failure_is_retried_once(malaria, bucket):
    def first(handler, content):
        (faults.status(503) if len(bucket.seen) == 1 else faults.Handler.whole)(handler, content)

    bucket.fault = first
    [reply] = replies(malaria, signed("a.png"))
    assert reply["error"] == "0"
    for fault in (faults.status(503), faults.status(429), faults.cut_short, faults.always_reset):
        bucket.fault, before = fault, len(bucket.seen)
        [reply] = replies(malaria, signed("a.png"))
        assert (reply["code"], len(bucket.seen) - before) == ("object_unreadable", 2)
        assert "send this row again" in reply["message"]


def test_a_download_that_is_too_slow_is_abandoned(malaria, bucket, monkeypatch):
    monkeypatch.setattr(objects, "SECONDS", 0.3)

    def slow_head(handler, _):
        while not bucket.released.wait(0.02):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            handler.wfile.flush()

    for fault in (faults.stall, faults.trickle, faults.held, slow_head):
        bucket.fault = fault
        [reply] = replies(malaria, signed("a.png"))
        assert (reply["code"], "did not arrive within" in reply["message"]) == ("object_unreadable", True), (
            fault
        )


def test_a_dead_address_does_not_cost_the_time_of_one_that_answers(malaria, bucket, monkeypatch):
    with faults.silent_port() as port:
        url = signed("a.png", bucket.url)
        faults.resolve_to(monkeypatch, port, bucket.server_address[1])
        assert replies(malaria, url)[0]["classification"] == "Infected"
        faults.resolve_to(monkeypatch, port, port, port)
        monkeypatch.setattr(objects, "SECONDS", 0.3)
        [reply] = replies(malaria, url)
        assert "did not arrive within" in reply["message"]


def test_an_object_over_the_body_limit_is_not_read(load, bucket, monkeypatch):
    monkeypatch.setenv("MAX_BODY_MB", "1")
    client = load("malaria")
    bucket.objects["large"] = bytes(1_000_001)
    for fault in (None, faults.endless):
        bucket.fault = fault
        [reply] = replies(client, signed("large"))
        assert (reply["code"], "at most 1,000,000 bytes" in reply["message"]) == ("object_unreadable", True)


def test_objects_that_are_too_large_together_fail_the_query_with_the_remedy(load, bucket, monkeypatch):
    monkeypatch.setenv("MAX_BODY_MB", "1")
    client = load("malaria")
    bucket.objects["half"] = bytes(600_000)
    answer = client.post("/bigquery", json={"calls": [[signed("half")]] * 3})
    assert answer.status_code == 413
    assert "max_batching_rows" in answer.get_json()["errorMessage"]


def test_at_most_eight_are_fetched_at_once(malaria, bucket):
    lock, at_once = threading.Lock(), []
    running = 0

    def count(handler, content):
        nonlocal running
        with lock:
            running += 1
            at_once.append(running)
            if running == 8:
                bucket.released.set()
        bucket.released.wait(20)
        with lock:
            running -= 1
        handler.whole(content)

    bucket.fault = count
    assert len(replies(malaria, *[signed("a.png")] * 24)) == 24
    assert max(at_once) == 8


def test_the_memory_limit_and_a_disconnected_client_abort_the_download(bucket):
    class Call:
        deadline = time.monotonic() + 60

        def check(self):
            raise ClientLeft("gone")

    items = [objects.signed_url(signed("a.png"), Settings())] * 20

    def refuse(_):
        raise Overloaded("full")

    with pytest.raises(Overloaded):
        objects.fetch(items, Call(), refuse, Settings())
    bucket.fault = faults.held
    threading.Timer(0.5, bucket.released.set).start()
    with pytest.raises(ClientLeft):
        objects.fetch(items, Call(), lambda _: None, Settings())
    assert len(bucket.seen) <= 8 + 20


def test_an_object_of_the_storage_emulator_is_read(emulated, load):
    emulated.blob("cells/a.png").upload_from_string(CELL, "image/png")
    client = load("malaria")
    [reply] = replies(client, f"{STORAGE}/{emulated.name}/cells/a.png{QUERY}")
    assert reply["classification"] == "Infected"


def test_a_text_function_downloads_nothing(load, bucket):
    [reply] = replies(load("review"), signed("a.png"))
    assert bucket.seen == []
    assert "only links" in reply["message"]
