"""All settings of a function, read once from the environment and checked.

With an invalid value the function does not start; one line names the variable and what was expected.
"""

import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"


class SettingError(ValueError):
    """An environment variable with an invalid value."""


class SignIn(NamedTuple):
    """The identity provider: a `firebase` project, or the issuer of an `oidc` provider."""

    kind: str
    name: str


class FirebaseConfig(NamedTuple):
    """What a page needs to sign users in with Firebase. It is no secret: every such page shows it."""

    api_key: str
    auth_domain: str
    project: str


class Rate(NamedTuple):
    """At most this many calls in this many seconds."""

    calls: int
    seconds: int


@dataclass(frozen=True)
class Settings:
    """The settings; `TABLE` describes the variables for people.

    Attributes:
        model_store: where the pinned files are: `gs://bucket/prefix`, or a folder.
        allowed_origins: origins whose web pages may read the answers; `*` for any.
        max_body: the largest request body, in bytes.
        max_instances: the most inputs of one request; a reader of large ones has a lower default.
        fetch_seconds: how long the model may take to come from the store.
        request_seconds: how long after its arrival a request is still worth an answer.
        warm_up: whether a worker loads the model as soon as it starts.
        allow_code: whether formats that can run code when they are loaded may be pinned.
        threads: threads of the server, as functions-framework counts them.
        sign_in: the identity provider; None if nobody has to sign in.
        sign_in_audience: the `aud` of an OpenID Connect provider's tokens.
        sign_in_allow: which users may call.
        sign_in_keys: where keys come from in a test, on this machine; empty otherwise.
        firebase_config: how the function's own page signs users in; None if it only takes a token.
        app_check: the number of the project whose apps may call; empty if any may.
        rate_limit: how often one caller may call; None if there is no limit.
        project: the Google Cloud project that log lines belong to; empty if there is none.
        service: the name that the platform knows this function by; empty if it runs elsewhere.
        vertex: whether this is a container of Vertex AI.
        vertex_health: the path on which Vertex AI asks whether the model is ready; empty elsewhere.
        vertex_predict: the path on which it sends instances; empty elsewhere.
    """

    model_store: str = str(ROOT / "models")
    allowed_origins: frozenset[str] = frozenset()
    max_body: int = 10_000_000
    max_instances: int = 1024
    fetch_seconds: int = 20
    request_seconds: int = 50
    warm_up: bool = False
    allow_code: bool = True
    threads: int = 4 * (os.cpu_count() or 1)
    sign_in: SignIn | None = None
    sign_in_audience: str = ""
    sign_in_allow: frozenset[str] = frozenset()
    sign_in_keys: str = ""
    firebase_config: FirebaseConfig | None = None
    app_check: str = ""
    rate_limit: Rate | None = None
    project: str = ""
    service: str = ""
    vertex: bool = False
    vertex_health: str = ""
    vertex_predict: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, **defaults: Any) -> "Settings":
        """Read the variables of `TABLE`; one that is empty counts as not set.

        Args:
            environment: the variables.
            defaults: what the function takes for fields that they do not set.

        Raises:
            SettingError: a value makes no sense; the message names the variable.
        """
        found = defaults
        for row in TABLE:
            value = environment.get(row.variable, "")
            if value:
                found[row.field] = row.parse(row.variable, value)
        if found.get("vertex"):  # it sends nothing to a container before that one is ready
            found["warm_up"] = True
        settings = cls(**found)
        _check_sign_in(settings, environment)
        return settings


def _whole(low: int, high: int, unit: str = "a whole number", scale: int = 1) -> Callable[[str, str], int]:
    def parse(name: str, value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise SettingError(f"{name}: expected {unit} from {low} to {high}, got {value!r}")
        return int(value) * scale

    return parse


def _yes_or_no(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise SettingError(f"{name}: expected 0 or 1, got {value!r}")
    return value == "1"


def _port(name: str, value: str) -> bool:
    if not re.fullmatch(r"[0-9]{1,5}", value):
        raise SettingError(f"{name}: expected a port, got {value!r}")
    return True


def _route(name: str, value: str) -> str:
    if not re.fullmatch(r"(/[\w.:~-]+)+", value):
        raise SettingError(f"{name}: expected a path such as /ready, got {value!r}")
    return value


def _text(_: str, value: str) -> str:
    return value


def _store(name: str, value: str) -> str:
    if value.startswith("gs://"):
        bucket = value.removeprefix("gs://").partition("/")[0]
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", bucket):
            raise SettingError(
                f"{name}: a bucket's name has 3 to 63 characters: small letters, digits, '-', '_' and '.', "
                f"a letter or digit first and last; got {bucket!r}"
            )
    elif "://" in value:
        raise SettingError(f"{name}: expected gs://bucket/prefix or a folder, got {value!r}")
    return value


def _origins(name: str, value: str) -> frozenset[str]:
    origins = frozenset(origin.strip() for origin in value.split(",") if origin.strip())
    for origin in origins - {"*", "null"}:
        if not _is_origin(origin):
            raise SettingError(
                f"{name}: expected *, null, or origins as browsers send them (in small letters, without a "
                "path, a scheme's own port or letters beyond ASCII), such as https://example.org, "
                f"https://*.example.org, http://localhost:*, capacitor://localhost; got {origin!r}"
            )
    return origins


def _is_origin(value: str) -> bool:
    """Whether a browser could send this as `Origin`; the first label of a host and the port may be `*`."""
    parts = re.fullmatch(
        r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:]+\]|[a-z0-9_.*-]+)(?::([1-9][0-9]{0,4}|\*))?", value
    )
    if not parts:
        return False
    scheme, host, port = parts.groups()
    own = {"http": "80", "https": "443"}.get(scheme, "")
    return port != own and (port in (None, "*") or int(port) <= 65535) and _is_host(host)


def _is_host(host: str) -> bool:
    bare = host.removeprefix("*.")
    labels = bare.split(".")
    if host.startswith("[") or labels[-1].isdigit():
        try:
            return str(ipaddress.ip_address(host.strip("[]"))) == host.strip("[]")
        except ValueError:
            return False
    # `*.org` would be everybody's.
    enough = bare == host or len(labels) > 1 or bare == "localhost"
    return enough and len(host) <= 253 and all(re.fullmatch(_LABEL, label) for label in labels)


def _sign_in(name: str, value: str) -> SignIn:
    kind, _, rest = value.partition(":")
    firebase = kind == "firebase" and re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", rest)
    oidc = kind == "oidc" and re.fullmatch(r"https://[^\s/?#]+[^\s?#]*", rest)
    if not firebase and not oidc:
        raise SettingError(f"{name}: expected firebase:PROJECT_ID or oidc:https://issuer/, got {value!r}")
    return SignIn(kind, rest)


def _firebase_config(name: str, value: str) -> FirebaseConfig:
    """Read what the Firebase console calls `firebaseConfig`; what signing in does not need is left out.

    Its domain goes into the page's Content-Security-Policy, so it must be a host and nothing else.
    """
    try:
        content = json.loads(value)
        config = FirebaseConfig(content["apiKey"], content["authDomain"], content["projectId"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SettingError(
            f'{name}: expected JSON with the names in double quotes: {{"apiKey": "...", "authDomain": '
            f'"PROJECT.firebaseapp.com", "projectId": "PROJECT"}}; got {value[:100]!r}'
        ) from None
    if not isinstance(config.api_key, str) or not re.fullmatch(r"[\w-]{1,100}", config.api_key, re.ASCII):
        raise SettingError(f"{name}: apiKey: expected letters, digits, '-' and '_', got {config.api_key!r}")
    domain = config.auth_domain
    if (
        not isinstance(domain, str)
        or "." not in domain
        or not re.match(r"[a-z0-9]", domain)
        or not _is_host(domain)
    ):
        raise SettingError(
            f"{name}: authDomain: expected a host such as PROJECT.firebaseapp.com, got {domain!r}"
        )
    return config


def _allow(name: str, value: str) -> frozenset[str]:
    entries = frozenset(entry.strip() for entry in value.split(",") if entry.strip())
    for entry in entries:
        if not re.fullmatch(r"anonymous|uid:\S+|domain:[\w.-]+\.\w+|claim:[^\s=]+=\S.*", entry):
            raise SettingError(
                f"{name}: expected domain:example.org, uid:ID, claim:NAME=VALUE or anonymous, got {entry!r}"
            )
    return entries


def _loopback(name: str, value: str) -> str:
    if not re.fullmatch(r"http://(127\.0\.0\.1|localhost)(:\d{1,5})?/\S*", value):
        raise SettingError(
            f"{name}: expected http://127.0.0.1:PORT/..., for tests on this machine; got {value!r}"
        )
    return value


def _project_number(name: str, value: str) -> str:
    if not re.fullmatch(r"[0-9]{6,20}", value):
        raise SettingError(f"{name}: expected the number of a Firebase project, got {value!r}")
    return value


def _rate(name: str, value: str) -> Rate:
    units = {"s": 1, "min": 60, "h": 3600}
    found = re.fullmatch(r"([1-9][0-9]{0,6})/(s|min|h)", value)
    if not found:
        raise SettingError(f"{name}: expected a rate such as 60/min, 5/s or 1000/h, got {value!r}")
    return Rate(int(found[1]), units[found[2]])


def _check_sign_in(settings: Settings, environment: Mapping[str, str]) -> None:
    """Refuse sign-in settings that contradict each other, or would let the wrong people in."""
    sign_in = settings.sign_in
    if settings.sign_in_keys and (settings.service or environment.get("GAE_SERVICE")):
        raise SettingError("SIGN_IN_KEYS: it is for tests alone; remove it where the function is deployed")
    if sign_in and sign_in.kind == "oidc" and not settings.sign_in_audience:
        raise SettingError("SIGN_IN_AUDIENCE: expected the `aud` of the tokens, as SIGN_IN is oidc")
    if settings.sign_in_audience and not (sign_in and sign_in.kind == "oidc"):
        raise SettingError("SIGN_IN_AUDIENCE: it belongs to SIGN_IN=oidc:https://issuer/")
    _check_firebase_config(settings)
    if settings.sign_in_allow and not sign_in:
        raise SettingError("SIGN_IN_ALLOW: set SIGN_IN too, or anybody may call")


def _check_firebase_config(settings: Settings) -> None:
    sign_in, config = settings.sign_in, settings.firebase_config
    if config and not (sign_in and sign_in.kind == "firebase"):
        raise SettingError("FIREBASE_CONFIG: it belongs to SIGN_IN=firebase:PROJECT_ID")
    if config and sign_in and config.project != sign_in.name:
        raise SettingError(
            f"FIREBASE_CONFIG: projectId: expected {sign_in.name!r}, the project of SIGN_IN, "
            f"got {config.project!r}"
        )


class Row(NamedTuple):
    """One variable: its name, its field of `Settings`, its parser, its meaning and its default."""

    variable: str
    field: str
    parse: Callable[[str, str], Any]
    meaning: str
    default: str


TABLE = (
    Row(
        "MODEL_STORE",
        "model_store",
        _store,
        "where the pinned files are: `gs://bucket/prefix`, or a folder",
        "this repository's `models/`",
    ),
    Row(
        "ALLOWED_ORIGINS",
        "allowed_origins",
        _origins,
        "origins whose web pages may call, comma separated: `https://example.org`, `https://*.example.org`, "
        "`http://localhost:*`, `capacitor://localhost`, `null`, or `*`",
        "none",
    ),
    Row(
        "MAX_BODY_MB",
        "max_body",
        _whole(1, 32, "whole megabytes", 1_000_000),
        "the largest request body, in megabytes",
        "10",
    ),
    Row(
        "MAX_INSTANCES",
        "max_instances",
        _whole(1, 1024),
        "the most inputs of one request",
        "1024 texts or rows, 128 images",
    ),
    Row(
        "FETCH_SECONDS",
        "fetch_seconds",
        _whole(1, 600, "whole seconds"),
        "the longest time for downloading the model, in seconds",
        "20",
    ),
    Row(
        "REQUEST_SECONDS",
        "request_seconds",
        _whole(1, 3600, "whole seconds"),
        "the longest time for answering a request, in seconds; keep it under the platform's timeout",
        "50",
    ),
    Row(
        "WARM_UP",
        "warm_up",
        _yes_or_no,
        "`1`: load the model as soon as the worker starts, for a start-up probe on `/ready`",
        "0",
    ),
    Row(
        "ALLOW_CODE_IN_MODELS",
        "allow_code",
        _yes_or_no,
        "`0`: refuse formats that can run code when they are loaded (joblib, keras, h5)",
        "1",
    ),
    Row(
        "SIGN_IN",
        "sign_in",
        _sign_in,
        "the identity provider of the users: `firebase:PROJECT_ID`, or `oidc:https://issuer/`",
        "nobody: anyone may call",
    ),
    Row(
        "SIGN_IN_AUDIENCE",
        "sign_in_audience",
        _text,
        "with `oidc`: the `aud` of the tokens, the client's ID",
        "none",
    ),
    Row(
        "SIGN_IN_ALLOW",
        "sign_in_allow",
        _allow,
        "which users may call: `domain:example.org`, `uid:ID`, `claim:NAME=VALUE`, `anonymous`",
        "all but anonymous ones",
    ),
    Row(
        "SIGN_IN_KEYS",
        "sign_in_keys",
        _loopback,
        "for tests: where to fetch the provider's keys, a URL on this machine",
        "the provider",
    ),
    Row(
        "FIREBASE_CONFIG",
        "firebase_config",
        _firebase_config,
        "with `firebase`: the web configuration of the Firebase console, as JSON; the function's page then "
        "offers to sign in by e-mail or with Google",
        "none: the page has a field for a token",
    ),
    Row(
        "APP_CHECK",
        "app_check",
        _project_number,
        "the number of the Firebase project whose apps may call, verified by App Check",
        "any app",
    ),
    Row(
        "RATE_LIMIT",
        "rate_limit",
        _rate,
        "how often one user, or one IP address, may call each worker process: `60/min`",
        "no limit",
    ),
    Row(
        "GOOGLE_CLOUD_PROJECT",
        "project",
        _text,
        "the Google Cloud project, to link log lines to its traces",
        "none",
    ),
    Row(
        "K_SERVICE",
        "service",
        _text,
        "set by Cloud Run and Cloud Functions: the caller's address is then taken from `X-Forwarded-For`",
        "none",
    ),
    Row(
        "AIP_HTTP_PORT",
        "vertex",
        _port,
        "set by Vertex AI; `WARM_UP` is then 1, and answers have no `model`, which Vertex AI adds itself",
        "none",
    ),
    Row(
        "AIP_HEALTH_ROUTE",
        "vertex_health",
        _route,
        "set by Vertex AI: a path that answers as `/ready` does",
        "none",
    ),
    Row(
        "AIP_PREDICT_ROUTE",
        "vertex_predict",
        _route,
        "set by Vertex AI: a path that classifies inputs",
        "none",
    ),
    Row(
        "THREADS",
        "threads",
        _whole(1, 10_000),
        "the server's threads",
        "4 for each CPU",
    ),
)
