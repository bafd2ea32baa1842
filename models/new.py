"""Make a function of your own: the folders `functions/NAME` and `models/NAME`.

    python -m models.new NAME --reads image|text|rows --labels A,B,...

In a terminal, it asks for what is missing; without options, for all of it. NAME has small letters and digits
only, so that it can be a Python package, a Cloud Run service and part of a service account. The labels stand
in the order of the model's outputs. Either all files are written or none.
"""

import argparse
import keyword
import re
import sys
from collections.abc import Callable
from typing import TypeVar

from dev.lock import LockError
from shared.pin import Pin, Unpublished

from .skeleton import KINDS, ROOT, Function, make, next_port

COMMANDS = (
    *("alerts", "all", "batch", "bigquery", "default", "destroy", "github", "logs", "rollback", "stage"),
    "status",
)
"""Words that mean something else to deploy.sh or to App Engine."""
ANSWER = ("code", "error", "explanation", "message", "model", "predictions", "probabilities", "warnings")
REQUEST = ("explain", "instances", "key", "parameters", "signature_name")
PATHS = ("/eventlog", "/health", "/ready")

Value = TypeVar("Value")

FILES = {
    "main.py": "the function: its reader, its runtime, its response key",
    "model.json": "the pin: the labels, until a model is published",
    "example.json": "an example input, for the page and the test calls; put a real one in its place",
    "example.png": "the image of the example",
    "requirements.in": "the packages it needs",
    "requirements.txt": "their lock file, with hashes",
    "README.md": "a model card to fill in",
}
"""What each file is, in a few words."""
NEXT = """
next:
  make setup                      # once: installs what publishing needs
  .venv/dev/bin/python -m models.publish {name} ../{model}
  make serve ONLY={name}
  git add functions/{name} models/{name} && git commit -m "Serve {name}"
  ./deploy.sh {name}"""


def main() -> None:
    """Make the folders, and print the next commands."""
    parser = argparse.ArgumentParser(prog="python -m models.new", description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", metavar="NAME", help="3 to 27 small letters and digits")
    parser.add_argument("--reads", metavar="|".join(KINDS), help="what an input is")
    parser.add_argument(
        "--labels", metavar="A,B,...", help="two or more, in the order of the model's outputs"
    )
    parser.add_argument(
        "--key", default="label", help="the field of an answer that holds the label; default: label"
    )
    parser.add_argument(
        "--path", default="/predict", help="the path that classifies, beside /; default: /predict"
    )
    parser.add_argument("--field", help="the field of forms and JSON objects; default: image, text or row")
    arguments = parser.parse_args()
    try:
        function = described(arguments)
        paths = make(function)
    except (ValueError, LockError) as error:
        sys.exit(f"nothing was made: {error}")
    except (EOFError, KeyboardInterrupt):
        sys.exit("\nnothing was made")
    print(f"{function.name}: {len(function.labels)} labels, on port {function.port}")
    width = max(len(str(path)) for path in paths)
    print("\n".join(f"  {path!s:<{width}}  {FILES.get(path.name, '')}".rstrip() for path in paths))
    print(NEXT.format(name=function.name, model=KINDS[function.reads].model))


def described(arguments: argparse.Namespace) -> Function:
    """Check the options, and ask for the missing ones; raises `ValueError` if one is not valid."""
    name = obtain(arguments.name, "name of the function (small letters and digits)", checked_name)
    reads = obtain(arguments.reads, f"what it reads ({', '.join(KINDS)})", checked_reads)
    labels = obtain(
        arguments.labels, "labels, comma separated, in the order of the model's outputs", checked_labels
    )
    return Function(
        name=name,
        reads=reads,
        labels=labels,
        key=checked_word("key", arguments.key, ANSWER),
        path=checked_path(arguments.path),
        field=checked_word("field", arguments.field or KINDS[reads].field, REQUEST),
        port=next_port(),
    )


def obtain(given: str | None, question: str, check: Callable[[str], Value]) -> Value:
    """Return the value of an option, or ask for it until an answer is valid.

    Raises:
        ValueError: the option is not valid, or is missing and this is no terminal.
    """
    if given is not None:
        return check(given)
    if not sys.stdin.isatty():
        raise ValueError(f"{question}: nothing was given; see python -m models.new --help")
    while True:
        try:
            return check(input(f"{question}: ").strip())
        except ValueError as error:
            print(error)


def checked_name(value: str) -> str:
    """Return a name that is valid everywhere and not used yet; raises `ValueError`."""
    # Its service account is called NAME-fn, and Google requires 6 to 30 characters.
    if not re.fullmatch(r"[a-z][a-z0-9]{2,26}", value) or keyword.iskeyword(value):
        raise ValueError(f"name: expected 3 to 27 small letters and digits, a letter first; got {value!r}")
    if value in COMMANDS:
        raise ValueError(f"name: {value!r} is a command of deploy.sh; expected another name")
    for place in (f"functions/{value}", f"models/{value}", f"models/{value}.py", value):
        if (ROOT / place).exists():
            raise ValueError(f"name: {place} is there already; expected a new name")
    return value


def checked_reads(value: str) -> str:
    """Return a kind of input; raises `ValueError`."""
    if value not in KINDS:
        raise ValueError(f"reads: expected {', '.join(KINDS)}; got {value!r}")
    return value


def checked_labels(value: str) -> tuple[str, ...]:
    """Split labels at their commas, and check them as a pin's; raises `ValueError`."""
    labels = [label.strip() for label in value.split(",")]
    try:
        Pin.parse({"labels": labels})
    except Unpublished:
        return tuple(labels)
    raise AssertionError("labels alone are no whole pin")


def checked_word(name: str, value: str, taken: tuple[str, ...]) -> str:
    """Return the name of a field that is not one of `taken`; raises `ValueError`."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) or value in taken:
        raise ValueError(
            f"{name}: expected letters, digits and underscores, and none of {', '.join(taken)}; got {value!r}"
        )
    return value


def checked_path(value: str) -> str:
    """Return a path that neither the platform nor the function itself uses; raises `ValueError`."""
    if not re.fullmatch(r"(/[A-Za-z0-9][A-Za-z0-9_-]*)+", value) or value in PATHS or value.endswith("z"):
        raise ValueError(
            f"path: expected one such as /classify, which does not end in z and is none of "
            f"{', '.join(PATHS)}; got {value!r}"
        )
    return value


if __name__ == "__main__":
    main()
