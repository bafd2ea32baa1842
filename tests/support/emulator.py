"""The real Auth emulator of firebase-tools, whose tokens are unsigned."""

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from identity import PROJECT
from processes import free_port


@contextlib.contextmanager
def auth_emulator(folder: Path) -> Iterator[str]:
    """Start the emulator in this folder; yield its address. Without firebase-tools, the test is skipped."""
    firebase = os.environ.get("FIREBASE_TOOLS") or shutil.which("firebase")
    if not firebase:
        pytest.skip("firebase-tools is not installed: neither FIREBASE_TOOLS nor PATH leads to `firebase`")
    port = free_port()
    ports = {name: {"host": "127.0.0.1", "port": free_port()} for name in ("hub", "logging")}
    auth = {"host": "127.0.0.1", "port": port}
    settings = {"emulators": {"auth": auth, "ui": {"enabled": False}, **ports, "singleProjectMode": False}}
    (folder / "firebase.json").write_text(json.dumps(settings))
    command = [firebase, "emulators:start", "--only", "auth", "--project", PROJECT]
    own = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=10).close()
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)
