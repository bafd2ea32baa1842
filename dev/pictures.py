"""Make the README's screenshots of the pages, `docs/pages-light.webp` and `docs/pages-dark.webp`.

    .venv/dev/bin/python -m dev.pictures

It serves the functions, opens each page in a headless Chromium, clicks an example and takes a screenshot of
the answer; one picture shows all pages side by side. Run it again after a page or a model has changed.
"""

import argparse
import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from .serve import PORT, ROOT, Function, check_ports, chosen, published, start, stop, wait_for

SHIFT = 700
"""The offset of the ports from those of `make serve`, which may be running."""
WIDTH, HEIGHT, GAP = 640, 860, 24
"""The size of one page and the gap between two, in CSS pixels."""
SCHEMES = ("light", "dark")
PATIENCE = 60_000
"""Timeout of a page's answer, in milliseconds; the first answer loads the model."""


def main() -> None:
    """Make both pictures."""
    argparse.ArgumentParser(
        prog="python -m dev.pictures", description=__doc__.partition("\n")[0]
    ).parse_args()
    functions = published(chosen(""), SHIFT)
    check_ports(functions, PORT + 2 * SHIFT)
    with served(functions), browser() as driver:
        for scheme in SCHEMES:
            shots = [shot(driver, function, scheme) for function in functions]
            path = ROOT / "docs" / f"pages-{scheme}.webp"
            beside(shots).save(path, quality=88, method=6)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


@contextmanager
def served(functions: Sequence[Function]) -> Iterator[None]:
    """Serve the functions with this Python, which has all packages."""
    running = []
    try:
        for function in functions:
            running.append(start(function, Path(sys.executable)))  # noqa: PERF401 (`stop` needs those so far)
        for each in running:
            wait_for(each)
        yield
    finally:
        stop(running)


@contextmanager
def browser() -> Iterator[Any]:
    """Start the installed Chromium."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        sys.exit(f"there is no Chromium here: install one, so that PATH has {' or '.join(names)}")
    with ExitStack() as stack:
        driver = stack.enter_context(sync_playwright())
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        stack.callback(started.close)
        yield started


def shot(driver: Any, function: Function, scheme: str) -> Image.Image:
    """Return a screenshot of the function's page with the answer to its second example, or its only one."""
    page = driver.new_page(
        viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme, reduced_motion="reduce"
    )
    page.set_default_timeout(PATIENCE)
    page.goto(function.url)
    examples = page.locator(".examples button")
    examples.nth(min(1, examples.count() - 1)).click()
    submit = page.locator("form button[type=submit]:visible")
    result = page.get_by_role("region", name="Result")
    if result.is_hidden() and submit.count():
        submit.first.click()
    result.wait_for()
    page.evaluate("scrollTo(0, 0)")
    content = page.screenshot()
    page.close()
    return Image.open(io.BytesIO(content)).convert("RGB")


def beside(shots: Sequence[Image.Image]) -> Image.Image:
    """Put pictures of one height side by side, on a transparent background."""
    whole = Image.new("RGBA", (len(shots) * (WIDTH + GAP) - GAP, HEIGHT))
    for place, each in enumerate(shots):
        whole.paste(each, (place * (WIDTH + GAP), 0))
    return whole


if __name__ == "__main__":
    main()
