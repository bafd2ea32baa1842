"""`make serve`: both functions at once, with calls to try, and a clean end."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest
from conftest import FUNCTIONS, ROOT, free_port


def serve(port):
    return subprocess.Popen(
        [sys.executable, "-m", "dev.serve", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_ports():
    """The first of as many free neighbours as there are functions."""
    while True:
        first = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
            return first


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_calls_that_work_and_stops_all_of_it_when_told(end):
    port = free_ports()
    process = serve(port)
    guard = threading.Timer(120, process.kill)
    guard.start()
    printed = []
    for line in process.stdout:
        printed.append(line)
        if "Ctrl-C stops them" in line:
            break
    text = "".join(printed)
    try:
        for name, own in zip(FUNCTIONS, range(port, port + len(FUNCTIONS)), strict=True):
            assert f"{name}: http://127.0.0.1:{own}" in text
        calls = re.findall(r"^  (curl .*)$", text, re.MULTILINE)
        assert len(calls) == len(FUNCTIONS)
        if shutil.which("curl"):
            for call in calls:
                run = subprocess.run(
                    shlex.split(call), cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
                )
                assert '"message": "Successful"' in run.stdout
    finally:
        process.send_signal(end)
        rest, _ = process.communicate(timeout=60)
        guard.cancel()
    assert process.returncode == 0, rest
    for own in (port, port + 1):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", own), 1)


def test_a_port_that_is_taken_is_named_with_a_way_out():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        process = serve(port)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"port {port}, for {FUNCTIONS[0]}, is taken" in text
    assert f"make serve PORT={port + 100}" in text


def test_a_function_that_does_not_start_ends_all_and_says_so():
    process = subprocess.Popen(
        [sys.executable, "-m", "dev.serve", "--port", str(free_ports())],
        cwd=ROOT,
        env={**os.environ, "MODEL_STORE": "s3://nowhere"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "MODEL_STORE: expected gs://bucket/prefix or a folder, got 's3://nowhere'" in text
    assert f"{FUNCTIONS[0]} did not start" in text
