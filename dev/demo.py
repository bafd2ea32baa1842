"""Send a few calls to the functions that `make serve` runs, and print each with its answer.

    python -m dev.demo [--port 8081] [--only NAME[,NAME]]

The calls to each function: its example, its example together with a bad input, and a wrong path.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from .serve import PORT, ROOT, Function, ServeError, chosen, document, one_input, published, taken

WIDTH = 200
"""The most characters of a call that are printed: a row may have hundreds of columns."""
SECONDS = "60"
"""Timeout of a call: the model may have to be downloaded from a bucket first."""


def main() -> None:
    """Call each function that is running."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=PORT, help="the --port of `make serve`; default: 8081")
    parser.add_argument("--only", default="", metavar="NAME[,NAME]", help="these functions; default: all")
    arguments = parser.parse_args()
    try:
        functions = published(chosen(arguments.only), arguments.port - PORT)
        served = [function for function in functions if taken(function.port)]
        if not served:
            port = functions[0].port
            raise ServeError(f"nothing is served on port {port}: run `make serve` in another terminal first")
        if shutil.which("curl") is None:
            raise ServeError("curl is not installed: it makes the calls, as you would")
        for function in served:
            print(f"\n{function.name}, {function.url}")
            for title, words in calls(function):
                show(title, words)
    except (ServeError, ValueError, OSError) as error:
        sys.exit(str(error))


def calls(function: Function) -> Iterator[tuple[str, list[str]]]:
    """Yield the calls to a function: a title that says what it shows, and curl's arguments."""
    path, field, one = document(function)
    url = function.url + path
    words = one_input(function, field, one)
    yield "one input", [*words, url]
    yield "two inputs, of which one is bad: its error takes its place", [*several(words, field, one), url]
    yield "a wrong path: every error says what was expected", [*words, f"{function.url}/nowhere"]


def several(words: list[str], field: str, one: Any) -> list[str]:
    """Return curl's arguments that send a good input and a bad one."""
    if words[0] == "-F":
        return [*words, "-F", f"{field}=@README.md"]
    if words[0] == "--data-urlencode":
        return [*words, "--data-urlencode", f"{field}= "]
    return [*words[:-1], json.dumps({"instances": [one, {}]})]


def show(title: str, words: list[str]) -> None:
    """Make one call; print it and its answer."""
    command = shlex.join(["curl", *words])
    print(f"\n# {title}\n$ {command[:WIDTH]}{'...' if len(command) > WIDTH else ''}")
    options = ["--silent", "--show-error", "--max-time", SECONDS]
    run = subprocess.run(  # noqa: S603 (our own command)
        ["curl", *options, *words],  # noqa: S607 (the curl of the user's PATH)
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise ServeError(f"the call failed: {run.stderr.strip()}")
    print(run.stdout)


if __name__ == "__main__":
    main()
