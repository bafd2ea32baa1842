"""One plain request to Cloud Storage, for a cold start: without the client, whose import takes most of one.

It knows the two places where no credentials have to be found: Google's own servers, where the metadata
server hands out the service account's token, and an emulator, which wants none. Whatever does not go well
is the client's to try again, or to explain.
"""

import contextlib
import json
import os
import shutil
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Protocol
from urllib.parse import quote, urlsplit

STORAGE = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
METADATA = f"http://{os.environ.get('GCE_METADATA_HOST') or 'metadata.google.internal'}"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 (a path)
PLACES = ("STORAGE_EMULATOR_HOST", "K_SERVICE", "GAE_SERVICE")
"""What is set beside an emulator, on Cloud Run and its functions, and on App Engine."""
SECONDS = 3.0
"""How long a connection, or a read, may take before the client is asked."""


class Writable(Protocol):
    """What `read` writes to."""

    def write(self, data: bytes) -> int: ...


def possible() -> bool:
    """Whether no credentials have to be found here."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return not named and any(place in os.environ for place in PLACES)


def read(uri: str, target: Writable) -> bool:
    """Write the object at `uri`, `gs://bucket/name`, to `target`; whether there was an answer to its end.

    What `target` raises is raised, but for an OSError, which the client will meet again.
    """
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    path = f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
    try:
        headers = {} if "STORAGE_EMULATOR_HOST" in os.environ else {"Authorization": f"Bearer {token()}"}
        with contextlib.closing(_connected(STORAGE)) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                return False
            shutil.copyfileobj(answer, target)
            return not answer.length
    except (OSError, HTTPException, ValueError, KeyError):
        return False


def token() -> str:
    """An access token of the service account that this runs as, from the metadata server.

    Raises:
        OSError, HTTPException, ValueError or KeyError: there is none to be had.
    """
    with contextlib.closing(_connected(METADATA)) as connection:
        connection.request("GET", TOKEN, headers={"Metadata-Flavor": "Google"})
        found = json.load(connection.getresponse())
    if not isinstance(found, dict):
        raise ValueError("the metadata server's answer is no JSON object")
    return str(found["access_token"])


def _connected(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(parts.netloc, timeout=SECONDS)
