"""`make demo`: real calls to the functions that `make serve` runs, printed with their answers."""

import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading

import pytest
from conftest import FUNCTIONS, ROOT, first_port
from processes import served

from dev import demo, serve
from shared.example import Example

PORTS = {name: Example.read(ROOT / "functions" / name).port for name in FUNCTIONS}


def run(port, *arguments):
    command = [sys.executable, "-m", "dev.demo", "--port", str(port), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_it_prints_calls_with_their_real_answers():
    port = first_port(PORTS.values())
    with served(ROOT, port):
        result = run(port)
        calls = re.findall(r"^\$ (curl .*)\n(.*)$", result.stdout, re.MULTILINE)
        assert (result.returncode, len(calls)) == (0, 3 * len(FUNCTIONS)), result.stderr
        for name, (one, two, wrong) in zip(FUNCTIONS, zip(*[iter(calls)] * 3, strict=True), strict=True):
            assert f'"{Example.read(ROOT / "functions" / name).label}"' in one[1]
            good, bad = json.loads(two[1])["predictions"]
            assert (good["error"], bad["error"]) == ("0", "1")
            assert json.loads(wrong[1])["status"] == 404
            again = subprocess.run(shlex.split(one[0]), cwd=ROOT, capture_output=True, text=True, check=True)
            assert again.stdout == one[1]


def test_if_nothing_is_served_it_says_what_to_do_first():
    result = run(first_port(PORTS.values()), "--only", FUNCTIONS[0])
    assert (result.returncode, result.stdout) == (1, "")
    assert "run `make serve` in another terminal first" in result.stderr


def test_another_program_on_the_port_is_named():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None
    with server:
        threading.Thread(target=server.handle_request).start()
        taken = server.server_address[1]
        name = FUNCTIONS[0]
        result = run(taken - PORTS[name] + serve.PORT, "--only", name)
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    address = f"http://127.0.0.1:{taken}/openapi.json"
    assert f"{address}: expected the description of {name}, got status 501: is it another" in result.stderr


def test_a_bad_row_is_sent_together_with_a_good_one():
    words = ["-H", "Content-Type: application/json", "-d", '{"row": {"a": 1}}']
    [*_, content] = demo.several(words, "row", {"a": 1})
    assert json.loads(content) == {"instances": [{"a": 1}, {}]}
