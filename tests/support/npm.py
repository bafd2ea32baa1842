"""Packages of npm that tests run in a browser; NPM_PACKAGES names the folder `node_modules` that has them."""

import json
import os
from pathlib import Path

import pytest


def package(name: str, version: str = "") -> Path:
    """The folder of a package; the test is skipped if it, or this version of it, is not installed."""
    folder = Path(os.environ.get("NPM_PACKAGES", "none"), name)
    wanted = f"{name}@{version}" if version else name
    if not folder.is_dir():
        pytest.skip(f"{wanted} is not installed: NPM_PACKAGES leads to no folder that has it")
    found = json.loads((folder / "package.json").read_text())["version"]
    if version and found != version:
        pytest.skip(f"{wanted} is not installed: NPM_PACKAGES leads to {name}@{found}")
    return folder
