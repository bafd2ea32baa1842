"""A software bill of materials in CycloneDX 1.6: every locked package, and the pinned model."""

import json
import re
from pathlib import Path
from typing import Any

from shared.pin import Pin

PACKAGE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


def write(name: str, folder: Path, pin: Pin) -> None:
    """Write `sbom.json` of the function staged in `folder`, from its requirements.txt and its pin."""
    (folder / "sbom.json").write_text(json.dumps(describe(name, folder, pin), indent=1) + "\n")


def describe(name: str, folder: Path, pin: Pin) -> dict[str, Any]:
    """Describe what a function is made of; the same twice for the same lock and pin."""
    packages = PACKAGE.findall((folder / "requirements.txt").read_text())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": name, "version": pin.version}},
        "components": [*map(_library, sorted(packages)), _model(name, pin)],
    }


def _library(package: tuple[str, str]) -> dict[str, Any]:
    name, version = package
    canonical = re.sub(r"[-_.]+", "-", name).lower()
    purl = f"pkg:pypi/{canonical}@{version}"
    return {"type": "library", "bom-ref": purl, "name": canonical, "version": version, "purl": purl}


def _model(name: str, pin: Pin) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{pin.file}",
        "name": name,
        "version": pin.version,
        "hashes": [{"alg": "SHA-256", "content": pin.sha256}],
    }
