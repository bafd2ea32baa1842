"""The plain request to Cloud Storage, as it is made on Google's own servers."""

import http.server
import io
import threading

import pytest

from shared.store import plain

URI = "gs://models/v1/a b/review-1.npz"
CONTENT = bytes(range(256)) * 1000


class Google(http.server.ThreadingHTTPServer):
    """The metadata server and Cloud Storage in one: the token of the one opens the other."""

    metadata = b'{"access_token": "a-token", "expires_in": 3599}'
    answers = (200, CONTENT)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Google

    def do_GET(self):
        if self.path == plain.TOKEN:
            assert self.headers["Metadata-Flavor"] == "Google"
            self.answer(200, self.server.metadata)
        elif self.path != "/download/storage/v1/b/models/o/v1%2Fa%20b%2Freview-1.npz?alt=media":
            self.answer(404, b"no such object")
        elif self.headers["Authorization"] != "Bearer a-token":
            self.answer(401, b"who are you?")
        else:
            self.answer(*self.server.answers)

    def answer(self, status, content, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def google(monkeypatch):
    server = Google(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(plain, "STORAGE", url)
    monkeypatch.setattr(plain, "METADATA", url)
    for place in (*plain.PLACES, "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(place, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_the_token_of_the_service_account_opens_the_bucket(google):
    found = io.BytesIO()
    assert plain.read(URI, found)
    assert found.getvalue() == CONTENT


@pytest.mark.parametrize(
    "answers",
    [(403, b"no"), (503, b"no"), (200, CONTENT[:-1], len(CONTENT))],
    ids=["refused", "down", "short"],
)
def test_what_is_no_whole_answer_is_left_to_the_client(answers, google):
    google.answers = answers
    assert not plain.read(URI, io.BytesIO())


@pytest.mark.parametrize("metadata", [b'{"access_token": "another"}', b"{}", b"[]", b'"no"', b"<html>"])
def test_without_the_right_token_the_client_is_asked(metadata, google):
    google.metadata = metadata
    assert not plain.read(URI, io.BytesIO())


def test_without_a_metadata_server_the_client_is_asked(google, monkeypatch):
    monkeypatch.setattr(plain, "METADATA", "http://127.0.0.1:9")
    assert not plain.read(URI, io.BytesIO())


def test_what_the_target_refuses_is_told(google):
    class Full:
        def write(self, _):
            raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        plain.read(URI, Full())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"K_SERVICE": "review"}, True),
        ({"GAE_SERVICE": "review"}, True),
        ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}, True),
        ({"K_SERVICE": "review", "GOOGLE_APPLICATION_CREDENTIALS": "key.json"}, False),
    ],
    ids=["a laptop", "cloud run", "app engine", "an emulator", "named credentials"],
)
def test_it_is_made_only_where_no_credentials_have_to_be_found(environment, expected, google, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert plain.possible() is expected
