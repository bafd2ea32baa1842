"""The cost of a request to a warm function: counted, not timed."""

import json
import subprocess
import sys

import faults
import pytest
from conftest import FUNCTIONS, ROOT

SCRIPT = """
import gc, json, os, sys
import functions_framework
client = functions_framework.create_app("predict", "functions/{name}/main.py").test_client()
requests = [{requests}]
sys.stdout = open(os.devnull, "w")

def ask(times):
    for _ in range(times):
        for body, kind in requests:
            answer = client.post("/", data=body, content_type=kind)
            assert answer.status_code == 200, answer.text

seen, watching = [], False

def watch(event, arguments):
    if watching and event in ("open", "import", "subprocess.Popen", "socket.connect"):
        seen.append([event, str(arguments[0])])

sys.addaudithook(watch)
{body}
sys.__stdout__.write(json.dumps(found))
"""
REQUESTS = {
    "malaria": """
    (open("models/malaria/examples/infected.png", "rb").read(), "image/png"),
    (open("models/malaria/examples/normal.png", "rb").read(), "image/png"),
    """,
    "review": """
    (b"Dis film sweet well well.", "text/plain"),
    ("movie_review=A+fine+film,+f%C3%ADim%C3%B9+d%C3%A1ra", "application/x-www-form-urlencoded"),
    """,
}


def run(name, body):
    script = SCRIPT.format(name=name, requests=REQUESTS[name], body=body)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_first_request_reads_the_model_and_no_other_data(name):
    found = run(name, "watching = True; ask(1); watching = False; found = seen")
    pin = json.loads((ROOT / "functions" / name / "model.json").read_text())
    opened = [path for event, path in found if event == "open" and not path.endswith((".py", ".pyc"))]
    in_the_store = [path for path in opened if path.startswith(str(ROOT / "models"))]
    # Python audits each opening twice: before it and during it.
    assert in_the_store == [str(ROOT / "models" / pin["file"])] * 2
    assert not [event for event, _ in found if event in ("subprocess.Popen", "socket.connect")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_imported_function_has_one_thread_and_collects_garbage(name):
    assert run(name, "found = [gc.isenabled(), len(os.listdir('/proc/self/task'))]") == [True, 1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_warm_request_opens_no_file_and_imports_nothing(name):
    assert run(name, "ask(2); watching = True; ask(5); watching = False; found = seen") == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_thousand_requests_leak_neither_memory_nor_files(name):
    body = """
def left():
    gc.collect()
    return len(gc.get_objects()), sys.getallocatedblocks()

ask(250)
before = left()
ask(500)
found = [after - former for after, former in zip(left(), before)]
"""
    objects, blocks = run(name, body)
    # Caches and free lists still grow a little; a leak would be at least one object for each request.
    assert objects < 50
    assert blocks < 500


def test_a_download_on_googles_servers_needs_no_client_and_no_file(tmp_path):
    script = """
import json, os, sys
from pathlib import Path
from shared.pin import Pin
from shared.settings import Settings
from shared.store import fetch
seen = []
sys.addaudithook(lambda event, _: seen.append(event))
pin, settings = Pin.read(Path("functions/review/model.json")), Settings.read()
fetch.prefetch(pin, settings)
fetch.join(pin, settings)
assert len(fetch.fetch(pin, settings)) == pin.bytes
heavy = ("google.api_core", "google.auth", "google.cloud.storage", "requests", "flask", "werkzeug", "numpy")
print(json.dumps([sorted({"subprocess.Popen", "os.mkdir"} & {*seen}), sorted({*heavy} & {*sys.modules})]))
"""
    pin = json.loads((ROOT / "functions" / "review" / "model.json").read_text())
    with faults.bucket() as bucket:
        bucket.objects[f"v1/{pin['file']}"] = (ROOT / "models" / pin["file"]).read_bytes()
        settings = {
            "STORAGE_EMULATOR_HOST": bucket.url,
            "MODEL_STORE": "gs://models/v1",
            "TMPDIR": str(tmp_path),
        }
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert bucket.seen == [""]
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], []]
    assert not list(tmp_path.iterdir())
