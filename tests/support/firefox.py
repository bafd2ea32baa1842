"""A headless Firefox, driven by its protocol Marionette: playwright supports only its own build."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import free_port


class Firefox:
    """One window. A command is a JSON array, after its length: [0, number, name, parameters]."""

    def __init__(self, connection: socket.socket) -> None:
        self.stream = connection.makefile("rwb")
        self.number = 0
        self.read()
        self.command("WebDriver:NewSession", {})

    def read(self) -> Any:
        length = b""
        while (digit := self.stream.read(1)) != b":":
            assert digit, "Firefox has closed the connection"
            length += digit
        return json.loads(self.stream.read(int(length)))

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        self.number += 1
        content = json.dumps([0, self.number, name, parameters]).encode()
        self.stream.write(b"%d:%s" % (len(content), content))
        self.stream.flush()
        _, _, error, result = self.read()
        assert not error, error
        return result["value"] if result and "value" in result else result

    def open(self, url: str) -> None:
        self.command("WebDriver:Navigate", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of an async function in the page; return its result."""
        script = f"return (async (...arguments) => {{ {script} }})(...arguments)"
        parameters = {"script": script, "args": arguments, "newSandbox": False, "sandbox": None}
        return self.command("WebDriver:ExecuteScript", parameters)

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        self.run(f"while (!({condition})) await new Promise((again) => setTimeout(again, 20))")


@contextlib.contextmanager
def firefox(folder: Path) -> Iterator[Firefox]:
    """Start it with an empty profile in this folder; without it, the test is skipped."""
    binary = shutil.which("firefox-esr") or shutil.which("firefox")
    if not binary:
        pytest.skip("there is no Firefox here")
    port, profile = free_port(), folder / "profile"
    profile.mkdir()
    (profile / "user.js").write_text(f'user_pref("marionette.port", {port});\n')
    command = [binary, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "about:blank"], stdout=log, stderr=log)
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port), timeout=60)
                break
            time.sleep(0.1)
        with connection:
            yield Firefox(connection)
    finally:
        process.terminate()
        process.wait(30)
