"""The bill of materials that is staged with a function."""

from dataclasses import replace

import pytest
from conftest import FUNCTIONS, ROOT

from deploy import sbom
from dev import lock
from shared.pin import Pin


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_lists_every_locked_package_and_the_pinned_model(name):
    folder = ROOT / "functions" / name
    pin = Pin.read(folder / "model.json")
    found = sbom.describe(name, folder, pin)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    *libraries, model = found["components"]
    locked = {line.split()[0] for line in lock.versions(folder / "requirements.txt")}
    assert {f"{each['name']}=={each['version']}" for each in libraries} == locked
    assert all(each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}" for each in libraries)
    assert model["hashes"] == [{"alg": "SHA-256", "content": pin.sha256}]
    other = sbom.describe(name, folder, replace(pin, sha256="0" * 64))
    assert other["components"][-1] != model
