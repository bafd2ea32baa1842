"""Download one object from Cloud Storage with the official client, in a process of its own.

    python -m shared.store.download gs://bucket/object BYTES SECONDS

Why a process: the client takes longer to import than the rest of a function, and as much memory, which is
freed when the process ends. And a process can be stopped at its deadline, whatever call it hangs in: a server
that sends one byte a second never triggers a read timeout.

Writes the object's bytes to standard output; on failure it writes the reason instead, and exits with 1.
"""

import io
import os
import re
import signal
import sys
from types import FrameType

from ..errors import ModelUnavailable
from . import plain

CONNECT, READ = 3.0, 5.0
"""Timeouts of one connection and of one read, in seconds, before a retry."""


class Stopped(BaseException):
    """The deadline has passed, or the process must end. A BaseException, so that no library catches it."""


def main() -> int:
    """Download; on failure, write the reason."""
    uri, size, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
        output, status = download(uri, size, seconds), 0
    except (ModelUnavailable, Stopped) as error:
        output, status = str(error).encode(), 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.buffer.write(output)
    return status


def stop(number: int, _: FrameType | None) -> None:
    """Unwind the stack (a signal handler)."""
    raise Stopped("timed out: not downloaded in time" if number == signal.SIGALRM else "stopped half-way")


class Bounded(io.BytesIO):
    """A buffer for the client to write to, up to the pinned size."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def write(self, data: bytes) -> int:  # type: ignore[override]  # the client writes bytes
        """Write, or raise `ModelUnavailable`: the object is larger than the pin says."""
        if self.tell() + len(data) > self._size:
            raise ModelUnavailable(
                f"expected {self._size} bytes, and more are coming; publish the pinned file"
            )
        return super().write(data)


def download(uri: str, size: int, seconds: float) -> bytes:
    """Download the object at `uri` with the official client.

    Broken connections and responses such as 429 and 503 are retried until the time is over.

    Raises:
        ModelUnavailable: it cannot be downloaded, or is larger than `size`; the message says why.
    """
    # Otherwise the client requests the bucket's metadata too, in a background thread.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    try:
        from google.cloud import storage
        from google.cloud.storage.retry import DEFAULT_RETRY
    except ImportError as error:
        raise ModelUnavailable("add google-cloud-storage to requirements.txt") from error
    retry = DEFAULT_RETRY.with_delay(initial=0.2, maximum=2.0, multiplier=2.0).with_timeout(0.9 * seconds)
    target = Bounded(size)
    try:
        blob = storage.Blob.from_uri(uri, client=storage.Client())
        blob.download_to_file(target, timeout=(CONNECT, READ), retry=retry, checksum=None)
    except ModelUnavailable:
        raise
    except Exception as error:  # the client raises its own, requests' and google.auth's errors
        raise ModelUnavailable(cause(error)) from error
    target.truncate()  # a retry may have been shorter than the attempt before it
    return target.getvalue()


def cause(error: Exception) -> str:
    """Say what went wrong and what to do, without query strings, which may hold a signature."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    message = re.sub(r"\?\S+", "", str(error))
    match error:
        case api.NotFound() if "bucket does not exist" in message:
            advice = "no such bucket: check MODEL_STORE"
        case api.NotFound():
            advice = "no such object: publish the pinned file to this store"
        case api.Forbidden() | api.Unauthorized():
            advice = "forbidden: give the function's service account roles/storage.objectViewer on the bucket"
        case auth.GoogleAuthError():
            advice = no_access(unreachable=isinstance(error, auth.TransportError))
        case api.RetryError():
            advice = "gave up trying"
        case _:
            advice = "cannot be downloaded"
    return f"{advice} ({type(error).__name__}: {message})"


def no_access(unreachable: bool) -> str:
    """Say what to do if the credentials give no access, or their server is unreachable."""
    if plain.on_google() and not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return f"no access token: the metadata server at {plain.metadata()} fails or does not answer"
    if unreachable:
        return "no access token: its server cannot be reached; check the network"
    if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return "no access: GOOGLE_APPLICATION_CREDENTIALS must name a valid key file, or be unset"
    return "no credentials: run `gcloud auth application-default login`"


if __name__ == "__main__":
    sys.exit(main())
