"""A file is read once, up to its pinned size, and exactly these bytes are verified and loaded."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import FUNCTIONS, ROOT

from shared.errors import ModelUnavailable
from shared.pin import Pin
from shared.settings import Settings
from shared.store import fetch

CONTENT = b"weights" * 1000
PIN = Pin.parse(
    {
        "file": "thing/thing-0.bin",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "bytes": len(CONTENT),
        "format": "tflite",
        "version": "1",
        "labels": ["No", "Yes"],
    }
)


@pytest.fixture
def store(tmp_path):
    """The settings of a store that is a folder, and the path of its file, which does not exist yet."""
    (tmp_path / "thing").mkdir()
    return Settings(model_store=str(tmp_path)), tmp_path / PIN.file


def test_a_file_with_the_pinned_bytes_is_served(store):
    settings, path = store
    path.write_bytes(CONTENT)
    assert fetch.fetch(PIN, settings) == CONTENT


def test_a_symbolic_link_is_followed_as_in_a_mounted_volume(store):
    settings, path = store
    path.with_name("..data").write_bytes(CONTENT)
    path.symlink_to("..data")
    assert fetch.fetch(PIN, settings) == CONTENT


def test_one_flipped_bit_is_refused_and_both_digests_are_named(store):
    settings, path = store
    changed = bytearray(CONTENT)
    changed[1234] ^= 1
    path.write_bytes(changed)
    with pytest.raises(ModelUnavailable) as refusal:
        fetch.fetch(PIN, settings)
    assert PIN.sha256 in str(refusal.value)
    assert hashlib.sha256(changed).hexdigest() in str(refusal.value)


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"!", CONTENT * 2])
def test_a_file_of_another_size_is_refused_with_both_sizes(content, store):
    settings, path = store
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=f"expected 7000 bytes, found {len(content)}; publish"):
        fetch.fetch(PIN, settings)


def test_a_file_that_is_larger_than_memory_is_refused_unread(store):
    settings, path = store
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelUnavailable, match=f"expected 7000 bytes, found {1 << 40}"):
        fetch.fetch(PIN, settings)


def link(target):
    return lambda path: path.symlink_to(target)


THINGS = {
    "nothing": (lambda _: None, "cannot read the pinned model: No such file"),
    "a folder": (Path.mkdir, "cannot read the pinned model: Is a directory"),
    "a FIFO": (os.mkfifo, "expected a regular file"),
    "an endless device": (link("/dev/zero"), "expected a regular file"),
    "an empty device": (link("/dev/null"), "expected a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "cannot read the pinned model: Too many"),
    "a link to nothing": (link("nothing"), "cannot read the pinned model: No such file"),
    "a link to a folder": (link("/"), "cannot read the pinned model: Is a directory"),
    "a file as a folder": (lambda path: (path.parent.rmdir(), path.parent.touch()), "Not a directory"),
}


@pytest.mark.parametrize("thing", THINGS)
def test_what_is_not_a_regular_file_is_refused_without_hanging(thing, store):
    settings, path = store
    make, cause = THINGS[thing]
    make(path)
    with pytest.raises(ModelUnavailable, match=f"{cause}.*"):
        fetch.fetch(PIN, settings)


def test_a_link_to_a_fifo_that_somebody_writes_to_is_not_read(store):
    settings, path = store
    fifo = path.with_name("fifo")
    os.mkfifo(fifo)
    path.symlink_to(fifo)
    writer = os.open(fifo, os.O_RDWR)
    os.write(writer, CONTENT)
    with pytest.raises(ModelUnavailable, match="expected a regular file"):
        fetch.fetch(PIN, settings)
    os.close(writer)


def test_a_file_that_grows_while_it_is_read_is_read_no_further(store, monkeypatch):
    settings, path = store
    path.write_bytes(CONTENT)
    before = os.fstat

    def grows(descriptor):
        about = before(descriptor)
        path.write_bytes(CONTENT * 1000)
        return about

    monkeypatch.setattr(fetch.os, "fstat", grows)
    with pytest.raises(ModelUnavailable, match="expected 7000 bytes, found 7001"):
        fetch.fetch(PIN, settings)


def test_the_error_for_a_missing_file_names_the_store(tmp_path):
    with pytest.raises(ModelUnavailable, match="check MODEL_STORE"):
        fetch.fetch(PIN, Settings(model_store=str(tmp_path)))


@pytest.fixture
def bucket(emulated):
    """An emulated bucket, and the settings of a store in it."""
    return emulated, Settings(model_store="gs://models/v1", fetch_seconds=10)


@pytest.mark.parametrize("credentials", ["", "/nowhere.json"], ids=["plain", "client"])
def test_a_bucket_gives_the_pinned_bytes_and_no_others(credentials, bucket, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", credentials)
    models, settings = bucket
    blob = models.blob(f"v1/{PIN.file}")
    with pytest.raises(
        ModelUnavailable, match=r"gs://models/v1/thing/thing-0\.bin: no such object.*NotFound"
    ):
        fetch.fetch(PIN, settings)
    for content, cause in ((CONTENT[::-1], "expected SHA-256"), (CONTENT * 2, "more are coming")):
        blob.upload_from_string(content)
        with pytest.raises(ModelUnavailable, match=f"gs://models/v1/thing/thing-0.bin: .*{cause}"):
            fetch.fetch(PIN, settings)
    blob.upload_from_string(CONTENT)
    assert fetch.fetch(PIN, settings) == CONTENT


def test_a_prefetched_file_is_returned_once_and_not_kept(bucket):
    models, settings = bucket
    blob = models.blob(f"v1/{PIN.file}")
    blob.upload_from_string(CONTENT)
    fetch.prefetch(PIN, settings)
    fetch.join(PIN, settings)
    blob.delete()
    assert fetch.fetch(PIN, settings) == CONTENT
    with pytest.raises(ModelUnavailable, match="no such object"):
        fetch.fetch(PIN, settings)


def test_a_prefetched_file_is_verified_too(bucket):
    models, settings = bucket
    models.blob(f"v1/{PIN.file}").upload_from_string(CONTENT[::-1])
    fetch.prefetch(PIN, settings)
    with pytest.raises(ModelUnavailable, match="expected SHA-256"):
        fetch.fetch(PIN, settings)


def test_a_folder_is_not_prefetched(store):
    settings, _ = store
    before = threading.active_count()
    fetch.prefetch(PIN, settings)
    fetch.join(PIN, settings)
    assert threading.active_count() == before
    assert not fetch._early


# From the moment the file has been opened, each audited step (a file opened, a module imported, an object
# made) puts another file in its place, or none. The requests come from eight threads.
SWAP = """
import itertools, json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import functions_framework
from shared.example import Example

folder = Path("functions/{name}")
file = Path(os.environ["MODEL_STORE"], "{file}")
others = [file.with_name("zeros"), file.with_name("backwards"), None]
others[0].write_bytes(bytes({size}))
others[1].write_bytes(file.read_bytes()[::-1])
body = json.dumps({{"instances": [Example.read(folder).input] * 2}})
opened, steps, watching, swapping = 0, itertools.count(), False, False
opener = None  # the thread that opens the file: it has done so once it comes to its next step

def swap(event, arguments):
    global opened, opener, swapping
    if not watching or swapping:
        return
    if event == "open" and arguments[0] == str(file) and arguments[1] is None:
        opened, opener = opened + 1, threading.get_ident()
    elif opener == threading.get_ident() or (opened and opener is None):
        opener = None
        swapping = True
        file.unlink(missing_ok=True)
        if other := others[next(steps) % 3]:
            os.link(other, file)
        swapping = False

def ask(times):
    client = functions_framework.create_app("predict", str(folder / "main.py"))
    def one(_):
        answer = client.test_client().post("/", data=body, content_type="application/json")
        return answer.status_code, answer.text
    with ThreadPoolExecutor(8) as pool:
        return sorted(set(pool.map(one, range(times))))

right = ask(1)
for module in [name for name in sys.modules if name == "main" or name.startswith("main.")]:
    del sys.modules[module]
sys.addaudithook(swap)
watching = True
answers = ask(64)
watching = False
print(json.dumps([right, answers, opened, next(steps)]))
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whatever_happens_to_the_file_only_the_pinned_model_answers(name, tmp_path):
    pin = Pin.read(ROOT / "functions" / name / "model.json")
    (tmp_path / pin.file).parent.mkdir()
    shutil.copyfile(ROOT / "models" / pin.file, tmp_path / pin.file)
    done = subprocess.run(
        [sys.executable, "-c", SWAP.format(name=name, file=pin.file, size=pin.bytes)],
        cwd=ROOT,
        env={**os.environ, "MODEL_STORE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    right, answers, opened, steps = json.loads(done.stdout.splitlines()[-1])
    assert opened == 1
    assert steps > 10
    assert answers == right, done.stdout
    assert [status for status, _ in answers] == [200]
