"""Point the links of docs/ that name a line at the line where that function or class is now.

    python -m dev.links [--check]

Such a link is [`Class.method`](../path/to/module.py#L42). With --check, nothing is written, and the
status is 1 if a link is wrong.
"""

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[`([\w.]+)`\]\(([\w./-]+\.py)#L(\d+)\)")


def main() -> None:
    """Check all pages, or mend them."""
    parser = argparse.ArgumentParser(prog="python -m dev.links", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a link is wrong")
    check = parser.parse_args().check
    wrong = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        old = page.read_text()
        new = LINK.sub(lambda link, page=page: mended(page, link), old)  # type: ignore[misc]
        if new != old:
            wrong.append(page.name)
            if not check:
                page.write_text(new)
    if check and wrong:
        sys.exit(f"lines have moved in {', '.join(wrong)}: run 'python -m dev.links'")


def mended(page: Path, link: re.Match[str]) -> str:
    """Return the link with the right line; exits if the file has no such function or class."""
    name, target, _ = link.groups()
    line = line_of(page.parent / target, name)
    if line is None:
        sys.exit(f"{page.name}: {target} has no {name}: change the link")
    return f"[`{name}`]({target}#L{line})"


def line_of(path: Path, name: str) -> int | None:
    """Return the line where a function, a class or a `Class.method` begins; None if there is none."""
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
