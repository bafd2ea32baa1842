"""The settings are read once, checked, and documented correctly."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from flask import Request
from werkzeug.test import EnvironBuilder

from shared.settings import TABLE, SettingError, Settings
from shared.web import cors


def test_unset_and_empty_variables_mean_the_defaults():
    assert Settings.read({}) == Settings.read({row.variable: "" for row in TABLE}) == Settings()


def test_a_kind_of_input_has_its_own_defaults():
    assert Settings.read({}, max_instances=128).max_instances == 128
    assert Settings.read({"MAX_INSTANCES": "7"}, max_instances=128).max_instances == 7


def test_a_set_variable_is_read():
    found = Settings.read(
        {
            "MODEL_STORE": "gs://my-models/v1",
            "ALLOWED_ORIGINS": "https://a.example.org, http://localhost:3000",
            "MAX_BODY_MB": "3",
            "MAX_INSTANCES": "7",
            "FETCH_SECONDS": "9",
            "REQUEST_SECONDS": "11",
            "WARM_UP": "1",
            "ALLOW_CODE_IN_MODELS": "0",
            "GOOGLE_CLOUD_PROJECT": "lab",
            "THREADS": "5",
        }
    )
    assert found == Settings(
        model_store="gs://my-models/v1",
        allowed_origins=frozenset({"https://a.example.org", "http://localhost:3000"}),
        max_body=3_000_000,
        max_instances=7,
        fetch_seconds=9,
        request_seconds=11,
        warm_up=True,
        allow_code=False,
        threads=5,
        project="lab",
    )


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("THREADS", "many", "a whole number from 1"),
        ("THREADS", "0", "a whole number from 1"),
        ("MAX_INSTANCES", "1.5", "a whole number from 1"),
        ("MAX_INSTANCES", "٣", "a whole number from 1"),
        ("MAX_BODY_MB", "33", "whole megabytes from 1 to 32"),
        ("REQUEST_SECONDS", "-1", "whole seconds from 1"),
        ("FETCH_SECONDS", "1e3", "whole seconds from 1"),
        ("WARM_UP", "yes", "0 or 1"),
        ("ALLOW_CODE_IN_MODELS", "true", "0 or 1"),
        ("MODEL_STORE", "s3://bucket/x", "gs://bucket/prefix or a folder"),
        ("MODEL_STORE", "gs://ab/x", "3 to 63 characters"),
        ("MODEL_STORE", "gs:///x", "3 to 63 characters"),
        ("MODEL_STORE", f"gs://{64 * 'a'}/x", "3 to 63 characters"),
        ("MODEL_STORE", "gs://My-Models/x", "small letters"),
    ],
)
def test_an_invalid_value_is_refused_by_name(variable, value, expected):
    with pytest.raises(SettingError, match=f"^{variable}: .*{re.escape(expected)}"):
        Settings.read({variable: value})


@pytest.mark.parametrize("bucket", ["abc", 63 * "a", "my_models.example.org", "0-1"])
def test_a_bucket_name_of_three_to_sixty_three_characters_is_accepted(bucket):
    assert Settings.read({"MODEL_STORE": f"gs://{bucket}/v1"}).model_store == f"gs://{bucket}/v1"


def test_a_function_with_a_bad_setting_does_not_start_and_says_why_in_one_line():
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "functions_framework",
            "--target=predict",
            "--source=functions/review/main.py",
        ],
        cwd=ROOT,
        env={**os.environ, "MAX_INSTANCES": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr == "MAX_INSTANCES: expected a whole number from 1 to 1024, got '0'\n"


@pytest.mark.parametrize(
    "value",
    [
        "example.org",
        "https://",
        "https://:",
        "https://:443",
        "https://a.org:",
        "https://a.org:0",
        "https://a.org:080",
        "https://a.org:99999",
        "https://a.org:65536",
        "https://a.org:443",
        "http://a.org:80",
        "https://a.org:port",
        "https://example.org/",
        "https://user@example.org",
        "https://a.org https://b.org",
        "https://Example.org",
        "https://münchen.de",
        "https://a..org",
        "https://.org",
        "https://a.org.",
        "https://-a.org",
        "https://[::1",
        "https://[]",
        "https://[0:0::1]",
        "https://256.1.1.1",
        "https://1.2.3",
        f"https://{64 * 'a'}.org",
        "https://*",
        "https://*.org",
        "https://*example.org",
        "https://a.*.org",
        "https://*.*.example.org",
        "https://*.1.2.3.4",
        "*://example.org",
        "*.example.org",
        "http*://example.org",
        "capacitor://",
        "NULL",
        "**",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(value):
    with pytest.raises(SettingError, match="ALLOWED_ORIGINS: expected"):
        Settings.read({"ALLOWED_ORIGINS": value})


def answered(origins, origin, method="GET", **more):
    """The CORS headers of an answer."""
    headers = {"Origin": origin, **more} if origin else more
    request = Request(EnvironBuilder(method=method, headers=headers).get_environ())
    return dict(
        cors.headers(request, "POST, OPTIONS", Settings.read({"ALLOWED_ORIGINS": origins}).allowed_origins)
    )


@pytest.mark.parametrize(
    ("setting", "allowed", "refused"),
    [
        ("https://example.org", ["https://example.org"], ["http://example.org", "https://a.example.org"]),
        ("https://example.org:8443", ["https://example.org:8443"], ["https://example.org"]),
        ("http://[::1]:3000", ["http://[::1]:3000"], ["http://[::1]"]),
        ("http://192.168.1.7", ["http://192.168.1.7"], ["http://192.168.1.77", "http://192x168.1.7"]),
        ("capacitor://localhost", ["capacitor://localhost"], ["http://localhost", "ionic://localhost"]),
        ("ionic://localhost", ["ionic://localhost"], ["capacitor://localhost"]),
        (
            "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
            ["chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb"],
            ["chrome-extension://other"],
        ),
        (
            "http://localhost:*",
            ["http://localhost", "http://localhost:1", "http://localhost:65535"],
            [
                "https://localhost",
                "http://localhost.evil.org",
                "http://localhost:",
                "http://localhost:1.evil.org",
            ],
        ),
        (
            "https://*.example.org",
            ["https://a.example.org", "https://b.a.example.org"],
            [
                "https://example.org",
                "https://evilexample.org",
                "https://a.example.org.evil.org",
                "https://a.exampleXorg",
                "http://a.example.org",
                "https://a.example.org:8443",
                "https://evil.org/.example.org",
                "https://.example.org",
            ],
        ),
        (
            "https://*.example.org:*",
            ["https://a.example.org:8443", "https://a.example.org"],
            ["https://b.org:1"],
        ),
        ("null", ["null"], ["https://example.org", ""]),
        (
            "https://a.org, http://localhost:*",
            ["https://a.org", "http://localhost:5"],
            ["http://a.org", "null"],
        ),
    ],
)
def test_only_the_allowed_origins_may_read(setting, allowed, refused):
    for origin in allowed:
        found = answered(setting, origin)
        assert found["Access-Control-Allow-Origin"] == found["Timing-Allow-Origin"] == origin
        assert found["Vary"] == "Origin"
    for origin in refused:
        assert answered(setting, origin) == {"Vary": "Origin"}, origin


def test_any_origin_means_any():
    found = answered("*", "https://who.example")
    assert found["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in found
    assert answered("", "https://who.example") == {}


def test_a_preflight_allows_the_requested_headers():
    names = "x-requested-with, X-Firebase-AppCheck,sentry-trace ,baggage"
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
    found = answered("https://a.org", "https://a.org", "OPTIONS", **preflight)
    assert (
        found["Access-Control-Allow-Headers"]
        == "x-requested-with, X-Firebase-AppCheck, sentry-trace, baggage"
    )
    assert found["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    assert found["Vary"] == "Origin, Access-Control-Request-Headers"
    assert answered("*", "https://a.org", "OPTIONS", **preflight)["Vary"] == "Access-Control-Request-Headers"
    assert "Access-Control-Allow-Headers" not in answered(
        "https://a.org", "https://b.org", "OPTIONS", **preflight
    )


def test_a_preflight_does_not_allow_an_invalid_header_name():
    names = "x-good, bad name, <b>, a:b, é, , " + 101 * "x"
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
    found = answered("*", "https://a.org", "OPTIONS", **preflight)
    assert found["Access-Control-Allow-Headers"] == "x-good"


def test_the_table_lists_every_setting():
    assert sorted(row.field for row in TABLE) == sorted(Settings.__dataclass_fields__)
    others = {  # of functions-framework, numpy, App Engine and the storage client
        "worker.py": {"LOG_EXECUTION_ID"},
        "start.py": {"OPENBLAS_NUM_THREADS"},
        "objects.py": {"GAE_SERVICE", "STORAGE_EMULATOR_HOST"},
    }
    for path in [*(ROOT / "shared" / "web").rglob("*.py"), *(ROOT / "shared").glob("*.py")]:
        lines = [line for line in path.read_text().splitlines() if re.search(r"os\.environ|getenv", line)]
        read = {name for line in lines for name in re.findall(r'"([A-Z_]+)"', line)}
        assert path.name == "settings.py" or read == others.get(path.name, set()), path
