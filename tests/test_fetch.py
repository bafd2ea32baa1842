import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FUNCTIONS, ROOT

from shared.errors import ModelUnavailable
from shared.store import fetch

CONTENT = b"weights" * 1000
PIN = {
    "file": "thing/thing-0.bin",
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "bytes": len(CONTENT),
    "format": "tflite",
    "version": "1",
    "labels": ["No", "Yes"],
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "thing").mkdir()
    (tmp_path / PIN["file"]).write_bytes(CONTENT)
    return tmp_path


def test_a_file_with_the_pinned_bytes_is_served(store):
    assert fetch.fetch(PIN, str(store)).read_bytes() == CONTENT


def test_one_flipped_bit_is_refused_and_both_digests_are_named(store):
    changed = bytearray(CONTENT)
    changed[1234] ^= 1
    (store / PIN["file"]).write_bytes(changed)
    with pytest.raises(ModelUnavailable) as refusal:
        fetch.fetch(PIN, str(store))
    assert PIN["sha256"] in str(refusal.value)
    assert hashlib.sha256(changed).hexdigest() in str(refusal.value)


def test_a_file_of_another_size_is_refused_unread(store):
    (store / PIN["file"]).write_bytes(CONTENT + b"!")
    with pytest.raises(ModelUnavailable, match=r"expected 7000 bytes, found 7001"):
        fetch.fetch(PIN, str(store))


def test_a_missing_file_says_to_check_the_store(tmp_path):
    with pytest.raises(ModelUnavailable, match="check MODEL_STORE"):
        fetch.fetch(PIN, str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"bytes": "7000"}, "'bytes' of type int"),
        ({"labels": ["Yes"]}, "two labels"),
        ({"file": "../../etc/passwd"}, "relative to the model store"),
        ({"version": None}, "'version' of type str"),
    ],
)
def test_a_pin_that_is_none_stops_the_start_with_a_message(tmp_path, change, message):
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**PIN, **change}))
    with pytest.raises(ValueError, match=message):
        fetch.read_pin(path)


@pytest.mark.parametrize("value", ["s3://bucket/models", "gs://", "http://127.0.0.1/models"])
def test_a_store_of_an_unknown_kind_refuses_to_start(value):
    command = [sys.executable, "-c", "import shared.store.fetch"]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "MODEL_STORE": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert f"MODEL_STORE: expected gs://bucket/prefix or a folder, got '{value}'" in run.stderr


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_committed_model_is_the_pinned_one(name):
    pin = fetch.read_pin(ROOT / "functions" / name / "model.json")
    path = fetch.fetch(pin, str(ROOT / "models"))
    assert path.name == f"{name}-{pin['sha256'][:12]}{path.suffix}"
    assert pin["version"].endswith(pin["sha256"][:7])


@pytest.fixture
def bucket(emulated, monkeypatch, tmp_path):
    """An emulated bucket, and a cache that is empty."""
    monkeypatch.setattr(fetch, "CACHE", tmp_path / "cache")
    return emulated


def test_a_model_comes_from_cloud_storage_once_and_from_the_cache_afterwards(bucket, tmp_path):
    blob = bucket.blob(f"v1/{PIN['file']}")
    blob.upload_from_string(CONTENT)
    path = fetch.fetch(PIN, "gs://models/v1")
    assert path.read_bytes() == CONTENT
    blob.delete()
    assert fetch.fetch(PIN, "gs://models/v1") == path
    assert list((tmp_path / "cache").iterdir()) == [path]


def test_other_bytes_in_cloud_storage_are_refused_and_leave_nothing_behind(bucket, tmp_path):
    bucket.blob(f"v1/{PIN['file']}").upload_from_string(CONTENT[::-1])
    with pytest.raises(ModelUnavailable, match="expected SHA-256"):
        fetch.fetch(PIN, "gs://models/v1")
    assert not list((tmp_path / "cache").iterdir())


def test_an_object_that_is_not_there_leaves_nothing_behind(bucket, tmp_path):
    with pytest.raises(ModelUnavailable, match="NotFound"):
        fetch.fetch(PIN, "gs://models/v1")
    assert not list((tmp_path / "cache").iterdir())


def test_a_damaged_cached_file_is_fetched_again(bucket):
    bucket.blob(f"v1/{PIN['file']}").upload_from_string(CONTENT)
    path = fetch.fetch(PIN, "gs://models/v1")
    path.write_bytes(CONTENT[:-1] + b"?")
    assert fetch.fetch(PIN, "gs://models/v1").read_bytes() == CONTENT
