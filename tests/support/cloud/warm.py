"""gcloud and bq as they are, but started once: each call is a fork of a process that has imported them.

Their start takes longer than all that they do here. `warm` runs this file with gcloud's own Python, and makes
a command that hands its arguments, environment and open files over.
"""

import atexit
import contextlib
import importlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLIENT = """#!{python} -ISE
import json, os, socket, struct, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
call = dict(argv=sys.argv, folder=os.getcwd(), environment=dict(os.environ), group=os.getpgrp())
socket.send_fds(server, [json.dumps(call).encode()], [0, 1, 2])
os._exit(struct.unpack("i", server.recv(4))[0])
"""


@contextlib.contextmanager
def warm(folder: Path, program: str = "gcloud") -> Iterator[Path]:
    """Return a folder for the front of PATH with a `gcloud` or `bq` that starts quickly."""
    fields = "--format=value(basic.python_location,installation.sdk_root)"
    told = subprocess.run(["gcloud", "info", fields], capture_output=True, text=True, check=True).stdout
    python, root = told.rstrip("\n").split("\t")
    address = folder / f"{program}.socket"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CLOUDSDK_ROOT_DIR": root,
        "CLOUDSDK_PYTHON_SITEPACKAGES": "1",
    }
    command = [python, "-I", __file__, program, root, str(address)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            (folder / program).write_text(CLIENT.format(python=sys.executable, address=str(address)))
            (folder / program).chmod(0o755)
            yield folder
        finally:
            process.terminate()


def load_gcloud(root: str) -> tuple[Any, Any]:
    """Import gcloud; return a function that runs it, and its tree of commands."""
    sys.path.insert(0, f"{root}/lib")
    import gcloud

    sys.path = gcloud.reorder_sys_path(sys.path)
    gcloud._fix_google_module()
    main = gcloud._import_gcloud_main()
    commands = main.CreateCLI([])
    return lambda: main.main(commands), commands._TopElement()


def load_bq(root: str) -> tuple[Any, Any]:
    """Import bq; return a function that runs it. The `bq` command only adds gcloud's project and proxy."""
    sys.path.insert(0, f"{root}/platform/bq")
    import bq

    def main() -> None:
        settings = {
            "project_id": "CORE_PROJECT",
            "proxy_address": "PROXY_ADDRESS",
            "proxy_port": "PROXY_PORT",
        }
        added = [f"--{name}={os.environ[f'CLOUDSDK_{value}']}" for name, value in settings.items()]
        sys.argv[1:1] = added
        bq.run_main()

    return main, None


def serve(program: str, root: str, address: str) -> None:
    """Answer calls, one after another, for ever."""
    main, element = load_bq(root) if program == "bq" else load_gcloud(root)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        content, files, _, _ = socket.recv_fds(client, 1 << 20, 3)
        call = json.loads(content)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            become(call, files)
            execute(main, writing)
        for file in (*files, writing):
            os.close(file)
        with os.fdopen(reading) as told:
            modules = told.read().split()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(OSError):  # who called may have been stopped meanwhile
            client.sendall(struct.pack("i", status))
        client.close()
        learn(modules, call["argv"][1:], element)


def become(call: dict[str, Any], files: list[int]) -> None:
    """Run the called command in this process, which joins the caller's process group."""
    os.setpgid(0, call["group"])
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv = call["argv"]


def execute(main: Any, writing: int) -> None:
    """Run the command, report its imports, and exit without freeing memory, which is slow."""
    before, code = {*sys.modules}, 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os.write(writing, "\n".join({*sys.modules} - before).encode())
    os._exit(code)


def learn(modules: list[str], words: list[str], element: Any) -> None:
    """Import the modules and load the commands that a call has needed, for the next calls."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    for word in words:
        element = element and element.LoadSubElement(word)


if __name__ == "__main__":
    serve(*sys.argv[1:])
