"""One plain HTTP request to Cloud Storage, without the official client, whose import is slow.

A plain request is possible if no credentials have to be looked up: on Google's servers, whose metadata server
issues the service account's token, and with an emulator, which needs no token. On any failure, `fetch` falls
back to the official client, which retries and reports.
"""

import contextlib
import json
import os
import re
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from http.client import HTTPConnection
from urllib.parse import SplitResult, quote, urlsplit

from ..connect import connect
from ..errors import ModelUnavailable

STORAGE = "https://storage.googleapis.com"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 (a path)
TOKEN_BYTES = 1 << 16
"""The largest answer of the metadata server; a token has 1 to 2 kB."""


class Incomplete(Exception):
    """The response did not arrive completely; the message says from which server, and why."""


def emulator() -> str | None:
    """Return the address of the emulator that replaces Cloud Storage, if there is one."""
    return os.environ.get("STORAGE_EMULATOR_HOST") or None


def on_google() -> bool:
    """Whether this runs on Cloud Run, Cloud Functions or App Engine, by their environment variables."""
    return bool(os.environ.get("K_SERVICE") or os.environ.get("GAE_SERVICE"))


def possible() -> bool:
    """Whether a plain request is possible: no credentials have to be looked up."""
    return not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") and (on_google() or emulator() is not None)


def metadata() -> str:
    """Return the address of the metadata server."""
    return f"http://{os.environ.get('GCE_METADATA_HOST') or 'metadata.google.internal'}"


def patience(size: int) -> float:
    """Return the timeout of a plain request for `size` bytes, in seconds.

    Two are for the token and the connections, which normally take 0.1 s, and one is for each 20 MB. If
    the store hangs, a function opens its port that much later, well within any platform's start-up timeout.
    """
    return 2 + size / 20e6


class Request:
    """A request in its own thread. At its deadline, the connection is shut down."""

    def __init__(self, uri: str, size: int, seconds: float) -> None:
        """Start reading the object at `uri`, `gs://bucket/name`, of `size` bytes."""
        self._uri, self._size, self._seconds = uri, size, seconds
        self._deadline = time.monotonic() + seconds
        self._peer = ""
        self._lock = threading.Lock()  # guards the next two
        self._late = False
        self._socket: socket.socket | None = None
        self._content: Future[bytes] = Future()
        self._thread = threading.Thread(target=self._run, name="plain request", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the request has ended, or stop it at its deadline; afterwards its thread does not run.

        Only a DNS lookup that hangs cannot be interrupted; its thread holds no lock that a fork would copy.
        """
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._thread.is_alive():
            with self._lock:
                self._late = True
                if self._socket is not None:
                    _shut_down(self._socket)
            self._thread.join(1)

    def result(self) -> bytes:
        """Wait, and return the object's bytes.

        Raises:
            Incomplete: the response did not arrive completely in time.
            ModelUnavailable: the object is larger than the pin says.
        """
        self.wait()
        if self._late or not self._content.done():
            raise self._overdue()
        return self._content.result()

    def _overdue(self) -> Incomplete:
        return Incomplete(f"{self._peer}: no whole answer within {self._seconds:.1f} s")

    def _run(self) -> None:
        try:
            self._content.set_result(self._object())
        except (Incomplete, ModelUnavailable) as error:
            self._content.set_exception(error)
        except TimeoutError:
            self._content.set_exception(self._overdue())
        except Exception as error:
            self._content.set_exception(Incomplete(f"{self._peer}: {type(error).__name__}: {error}"))

    def _object(self) -> bytes:
        bucket, _, name = self._uri.removeprefix("gs://").partition("/")
        path = f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        headers = {} if emulator() else {"Authorization": f"Bearer {self._token()}"}
        content = self._get("the store", emulator() or STORAGE, path, headers, self._size)
        if len(content) > self._size:
            raise ModelUnavailable(
                f"expected {self._size} bytes, and more are coming; publish the pinned file"
            )
        return content

    def _token(self) -> str:
        """Get an access token of the service account that this process runs as."""
        flavor = {"Metadata-Flavor": "Google"}
        answer = json.loads(self._get("the metadata server", metadata(), TOKEN, flavor, TOKEN_BYTES))
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise Incomplete(f"{self._peer}: its answer is not an access token")
        return token

    def _get(self, peer: str, url: str, path: str, headers: dict[str, str], limit: int) -> bytes:
        """Return the body of a GET: at most `limit` bytes, and one more if the body is longer."""
        self._peer = f"{peer} at {url}"
        parts = urlsplit(url)
        connection = HTTPConnection(parts.netloc)
        try:
            connection.sock = self._connected(parts)
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as answer:
                if answer.status != 200:
                    raise Incomplete(f"{self._peer}: it answered {answer.status}")
                content = answer.read(limit + 1)
                if answer.length and len(content) <= limit:
                    raise Incomplete(f"{self._peer}: it broke off after {len(content)} bytes")
                return content
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def _connected(self, parts: SplitResult) -> socket.socket:
        """Connect, with TLS for https."""
        secure = parts.scheme == "https"
        plain = connect(parts.hostname or "", parts.port or (443 if secure else 80), self._deadline)
        try:
            self._watch(plain)
            return self._secured(plain, parts.hostname) if secure else plain
        except OSError:
            plain.close()
            raise

    def _secured(self, plain: socket.socket, host: str | None) -> socket.socket:
        context = ssl.create_default_context()
        secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        try:
            self._watch(secured)
            secured.do_handshake()
        except OSError:
            secured.close()
            raise
        return secured

    def _watch(self, connection: socket.socket) -> None:
        """Let `wait` shut this connection down at the deadline; raises `TimeoutError` if it has passed."""
        with self._lock:
            self._socket = connection
            if self._late:
                raise TimeoutError("stopped")


def _shut_down(connection: socket.socket) -> None:
    """Wake up the thread that is blocked on this connection; `close` would not do that."""
    with contextlib.suppress(OSError):  # it is not connected yet, or already closed
        # SSLSocket.shutdown would remove the TLS state that the other thread still uses.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
