"""axe-core, which finds accessibility barriers in a page."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

BARRIERS = """return (await axe.run()).violations
    .filter(({impact}) => ["serious", "critical"].includes(impact))
    .map(({id, impact, nodes}) => [id, impact, nodes.map(({html}) => html)])"""
"""The body of an async function that returns the serious and critical violations, each with its elements."""


def script() -> str:
    """Return the source of axe; the test is skipped if it is not installed."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core-python is not installed")
    return (Path(found.origin).parent / "axe.min.js").read_text()


def barriers(page: Any) -> list[Any]:
    """Return the violations in a page that is open in playwright."""
    page.evaluate(script())
    return list(page.evaluate(f"async () => {{ {BARRIERS} }}"))
