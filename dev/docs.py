"""Update what docs/ repeats from the code: the line numbers in links, and the table of settings.

    python -m dev.docs [--check]

A link to a line is [`Class.method`](../path/to/module.py#L42). With --check, nothing is written, and the
status is 1 if a page is out of date.
"""

import argparse
import ast
import re
import sys
from pathlib import Path

from shared.settings import TABLE

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[`([\w.]+)`\]\(([\w./-]+\.py)#L(\d+)\)")
SETTINGS = re.compile(r"(?<=^\| variable \| what \| default \|\n\|---\|---\|---\|\n)(?:\|.*\n)*", re.M)
REFERENCE = "http.md"
"""The page with the table of all settings."""


def main() -> None:
    """Update all pages, or check them."""
    parser = argparse.ArgumentParser(prog="python -m dev.docs", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of date")
    check = parser.parse_args().check
    stale = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        old = page.read_text()
        new = refreshed(page, old)
        if new != old:
            stale.append(page.name)
            if not check:
                page.write_text(new)
    if check and stale:
        sys.exit(f"out of date: {', '.join(stale)}: run 'python -m dev.docs'")


def refreshed(page: Path, text: str) -> str:
    """Return the updated text of a page."""
    if page.name == REFERENCE:
        rows = (f"| `{row.variable}` | {row.meaning} | {row.default} |\n" for row in TABLE)
        text = SETTINGS.sub(lambda _: "".join(rows), text)
    return LINK.sub(lambda link: corrected(page, link), text)


def corrected(page: Path, link: re.Match[str]) -> str:
    """Return the link with the right line number; exits if the file has no such function or class."""
    name, target, _ = link.groups()
    line = line_of(page.parent / target, name)
    if line is None:
        sys.exit(f"{page.name}: {target} has no {name}: change the link")
    return f"[`{name}`]({target}#L{line})"


def line_of(path: Path, name: str) -> int | None:
    """Return the first line of a function, a class or a `Class.method`; None if there is none."""
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    line = None
    for part in name.split("."):
        kinds = (ast.FunctionDef, ast.ClassDef)
        node = next((each for each in body if isinstance(each, kinds) and each.name == part), None)
        if node is None:
            return None
        body, line = node.body, node.lineno
    return line


if __name__ == "__main__":
    main()
