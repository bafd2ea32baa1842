"""Smoke test: send a deployed function its example, and check the answer."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from .config import Config
from .gcloud import Gcloud, GcloudError, dig, objects, text
from .source import Function

STARTING = (0, 401, 403, 404, 429, 502, 503)
"""Statuses while a URL or a role is new, or the model is loading; 0: no connection."""
COMMON_FIELDS = {"error", "message", "probabilities", "explanation", "warnings", "model", "code"}
"""The fields of an answer that are not the label's."""


class WrongAnswer(Exception):
    """The function does not answer, or its answer is not the example's; one line."""


def request(url: str, token: str, content: Any = None) -> tuple[int, Any]:
    """Send a request; return status and body, status 0 if there is no connection or no JSON."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps(content).encode() if content is not None else None
    request = urllib.request.Request(url, body, headers)  # noqa: S310 (an address that Google gave)
    try:
        with urllib.request.urlopen(request, timeout=90) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, " ".join(error.read().decode(errors="replace").split())[:300]
    except (OSError, ValueError, http.client.HTTPException) as error:
        return 0, str(error)


def check_example(url: str, token: str, function: Function, patience: int, split: bool) -> list[str]:
    """Send the function's example, and check the answer field by field; return its warnings.

    A new URL does not answer at once: retry for `patience` seconds. In a split an older model may answer.

    Raises:
        WrongAnswer: the answer is not the example's.
    """
    deadline = time.monotonic() + patience
    while True:
        status, answer = request(url, token, {"instances": [function.example.input]})
        fault = f"{status}: {answer}" if status != 200 else ""
        if not fault and not split and text(answer, "model", "version") != function.pin.version:
            fault = f"the model {text(answer, 'model', 'version') or '?'}"
        if not fault:
            return _check(url, token, function, answer, split)
        if time.monotonic() > deadline or status not in (*STARTING, 200):
            expected = f"the model {function.pin.version}" if status == 200 else "an answer"
            raise WrongAnswer(f"{url}: expected {expected}, got {fault}")
        time.sleep(2)


def check_refusal(url: str, function: Function, patience: int, split: bool) -> None:
    """Send the example without a token, which a function that verifies its callers must refuse.

    Raises:
        WrongAnswer: it is answered, or the model is another version.
    """
    deadline = time.monotonic() + patience
    while True:
        status, answer = request(url, "", {"instances": [function.example.input]})
        refused = status == 401 and '"unauthenticated"' in str(answer)
        version = text(request(url, "")[1], "model", "version")
        if refused and (split or version == function.pin.version):
            return
        if status == 200:
            raise WrongAnswer(f"{url}: expected 401 for a caller without a token, got an answer")
        if time.monotonic() > deadline or status not in STARTING:
            raise WrongAnswer(
                f"{url}: expected the model {function.pin.version} and 401 unauthenticated without a token, "
                f"got the model {version or '?'} and {status}: {answer}"
            )
        time.sleep(2)


def _check(url: str, token: str, function: Function, answer: Any, split: bool) -> list[str]:
    predictions = objects(answer, "predictions")
    if len(predictions) != 1:
        raise WrongAnswer(f"{url}: expected one prediction, got {json.dumps(answer)[:300]}")
    [prediction] = predictions
    key = _key(url, token, prediction)
    label, labels = prediction.get(key), function.pin.labels
    right = label == function.example.label if function.example.label is not None else label in labels
    if prediction.get("error") != "0" or not right:
        expected = function.example.label or f"one of {', '.join(labels)}"
        raise WrongAnswer(f"{url}: expected {key} to be {expected}, got {json.dumps(prediction)[:300]}")
    probabilities = dig(prediction, "probabilities")
    if not isinstance(probabilities, Mapping) or (not split and set(probabilities) != set(labels)):
        raise WrongAnswer(
            f"{url}: expected probabilities of {', '.join(labels)}, got {json.dumps(prediction)[:300]}"
        )
    warnings = [*objects(answer, "warnings"), *objects(prediction, "warnings")]
    return [f"{text(each, 'code')}: {text(each, 'message')}" for each in warnings]


def _key(url: str, token: str, prediction: Mapping[str, Any]) -> str:
    """Return the field that holds the label, which is one of those that have a probability.

    If there are several such fields, OpenAPI lists these very labels for the right one.
    """
    probabilities = dig(prediction, "probabilities")
    labels = list(probabilities) if isinstance(probabilities, Mapping) else []
    candidates = [name for name, value in prediction.items() if name not in COMMON_FIELDS and value in labels]
    if len(candidates) > 1:
        _, document = request(f"{url}/openapi.json", token)
        properties = dig(document, "components", "schemas", "Instance", "properties")
        candidates = [name for name in candidates if dig(properties, name, "enum") == labels]
    if len(candidates) != 1:
        raise WrongAnswer(f"{url}: expected one field with a label, got {json.dumps(prediction)[:300]}")
    return candidates[0]


def identity_token(config: Config, gcloud: Gcloud, url: str) -> str:
    """Return an identity token for a private function.

    Raises:
        GcloudError: gcloud cannot create one.
    """
    more = []
    if config.invoker:
        more = [f"--impersonate-service-account={config.invoker}", f"--audiences={url}"]
    try:
        token = text(gcloud.one("auth", "print-identity-token", *more), "id_token")
    except GcloudError as error:
        raise GcloudError(
            f"no identity token ({error}): sign in with 'gcloud auth login', "
            "or name a service account with --invoker"
        ) from None
    if not token:
        raise GcloudError("gcloud auth print-identity-token: expected a token, got none: run it by hand")
    return token
