"""The plain request to Cloud Storage, as it is made on Google's own servers."""

import contextlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import threading

import faults
import pytest

from shared.errors import ModelUnavailable
from shared.store import plain

URI = "gs://models/v1/a b/review-1.npz"
CONTENT = bytes(range(256)) * 1000


class Google(http.server.ThreadingHTTPServer):
    """The metadata server and Cloud Storage in one server: the token of one gives access to the other."""

    daemon_threads = True
    token = (200, b'{"access_token": "a-token", "expires_in": 3599}')
    answer = (200, CONTENT)

    def handle_error(self, *_):
        """A client that hangs up is what is tested here."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Google

    def do_GET(self):
        if self.path == plain.TOKEN:
            assert self.headers["Metadata-Flavor"] == "Google"
            self.answer(*self.server.token)
        elif self.path != "/download/storage/v1/b/models/o/v1%2Fa%20b%2Freview-1.npz?alt=media":
            self.answer(404, b"no such object")
        elif self.headers["Authorization"] != "Bearer a-token":
            self.answer(401, b"who are you?")
        else:
            self.answer(*self.server.answer)

    def answer(self, status, content, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(certificate=None):
    """A server, with TLS if it is given (certificate, key)."""
    server = Google(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def google(monkeypatch):
    for name in ("STORAGE_EMULATOR_HOST", "K_SERVICE", "GAE_SERVICE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        address = f"127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(plain, "STORAGE", f"http://{address}")
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        yield server


def result(size=256_000, seconds=20):
    """Return the result of a request, after a check that no thread is left."""
    try:
        return plain.Request(URI, size, seconds).result()
    finally:
        assert "plain request" not in {thread.name for thread in threading.enumerate()}


def test_the_token_of_the_service_account_gives_access_to_the_bucket(google):
    assert result() == CONTENT


def test_an_object_of_another_size_is_read_no_further_than_one_byte_over(google):
    assert result(len(CONTENT) + 1) == CONTENT
    with pytest.raises(ModelUnavailable, match="expected 1000 bytes, and more are coming"):
        result(1000)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ((403, b"no"), "it answered 403"),
        ((503, b"no"), "it answered 503"),
        ((200, CONTENT[:-1], len(CONTENT)), "it broke off after 255999 bytes"),
    ],
    ids=["refused", "down", "short"],
)
def test_an_incomplete_answer_is_left_to_the_official_client(answer, cause, google):
    google.answer = answer
    with pytest.raises(plain.Incomplete, match=f"the store at http://127.*: {cause}"):
        result()


@pytest.mark.parametrize(
    "token",
    [
        (200, b"{}"),
        (200, b"[]"),
        (200, b'"no"'),
        (200, b"<html>"),
        (200, b'{"access_token": 7}'),
        (200, b'{"access_token": "two\\nlines"}'),
        (200, b'{"access_token": ""}'),
        (200, b"\xff"),
        (200, b" " * 100_000),
        (404, b""),
        (500, b'{"access_token": "a-token"}'),
    ],
    ids=lambda token: f"{token[0]} {token[1][:30]!r}",
)
def test_the_error_for_a_missing_token_names_the_metadata_server(token, google):
    google.token = token
    with pytest.raises(plain.Incomplete, match="the metadata server at http://127"):
        result()


def test_a_wrong_token_is_refused_by_the_store(google):
    google.token = (200, b'{"access_token": "another"}')
    with pytest.raises(plain.Incomplete, match=r"the store at http://127.*: it answered 401"):
        result()


def test_a_missing_metadata_server_is_named(google, monkeypatch):
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    with pytest.raises(plain.Incomplete, match=r"the metadata server at http://127.0.0.1:9: Connection"):
        result()


def drop_by_drop(connection, over):
    """Send an endless answer in short pieces, so that no single read times out."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n")
    while not over.wait(0.02):
        connection.sendall(b"X-More: yes\r\n")


def half_a_body(connection, over):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n" + CONTENT[:1000])
    over.wait()


def silence(connection, over):
    over.wait()


@contextlib.contextmanager
def hanging(behaviour):
    """Run a server that accepts connections and passes each to `behaviour`."""
    over = threading.Event()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    behaviour(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("behaviour", [silence, half_a_body, drop_by_drop])
def test_a_hanging_store_is_abandoned_at_the_deadline_and_leaves_no_thread(
    behaviour, scheme, google, monkeypatch
):
    with hanging(behaviour) as address:
        monkeypatch.setattr(plain, "STORAGE", f"{scheme}://{address}")
        # With https these are no TLS records, but for the silence.
        with pytest.raises(plain.Incomplete, match=f"the store at {scheme}://{address}: "):
            result(seconds=0.3)


@pytest.mark.parametrize("behaviour", [silence, drop_by_drop])
def test_a_hanging_metadata_server_is_named(behaviour, google, monkeypatch):
    with hanging(behaviour) as address:
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        cause = f"the metadata server at http://{address}: no whole answer within 0.3 s"
        with pytest.raises(plain.Incomplete, match=cause):
            result(seconds=0.3)


def test_a_connection_that_is_never_accepted_is_abandoned_too(google, monkeypatch):
    with faults.silent_port() as port:
        monkeypatch.setattr(plain, "STORAGE", f"http://127.0.0.1:{port}")
        with pytest.raises(plain.Incomplete, match=r"no whole answer within 0.3 s"):
            result(seconds=0.3)


def test_a_dead_address_does_not_cost_the_time_of_one_that_answers(google, monkeypatch):
    with faults.silent_port() as port:
        faults.resolve_to(monkeypatch, port, google.server_address[1])
        monkeypatch.setattr(plain, "STORAGE", "http://storage.example")
        assert result() == CONTENT


def test_a_finished_request_returns_its_bytes_in_a_forked_process(google):
    request = plain.Request(URI, len(CONTENT), 20)
    request.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if request.result() == CONTENT else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key -out certificate"
    )
    command = [*command.split(), "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "certificate", tmp_path / "key"


@pytest.mark.parametrize(
    ("host", "trusted", "refusal"),
    [
        ("localhost", True, None),
        ("localhost", False, "self-signed certificate"),
        ("127.0.0.1", True, "IP address mismatch"),
    ],
)
def test_a_store_is_trusted_only_with_a_valid_certificate_for_its_name(
    host, trusted, refusal, certificate, google, monkeypatch
):
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serving(certificate) as storage:
        monkeypatch.setattr(plain, "STORAGE", f"https://{host}:{storage.server_address[1]}")
        if refusal:
            with pytest.raises(plain.Incomplete, match=refusal):
                result()
        else:
            assert result() == CONTENT


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"K_SERVICE": "review"}, True),
        ({"GAE_SERVICE": "review"}, True),
        ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}, True),
        ({"STORAGE_EMULATOR_HOST": "", "K_SERVICE": ""}, False),
        ({"K_SERVICE": "review", "GOOGLE_APPLICATION_CREDENTIALS": "key.json"}, False),
        ({"K_SERVICE": "review", "GOOGLE_APPLICATION_CREDENTIALS": ""}, True),
    ],
    ids=["a laptop", "cloud run", "app engine", "an emulator", "not set", "named credentials", "none named"],
)
def test_it_is_used_only_if_no_credentials_have_to_be_looked_up(environment, expected, google, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert plain.possible() is expected
