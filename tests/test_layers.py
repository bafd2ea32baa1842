"""Who may import whom, and what importing and predicting may load."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FUNCTIONS, ROOT

LEARNING = {"tensorflow", "keras", "sklearn", "scipy", "pandas", "ai_edge_litert", "numpy", "PIL", "joblib"}
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "pandas"}


def imported(path: Path) -> set[str]:
    """Dotted names of the modules a file imports, relative ones made absolute."""
    package = list(path.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            found |= {f"{module}.{name.name}" for name in node.names}
    return found


def of(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", of("shared"), ids=lambda path: path.name)
def test_shared_imports_no_function_and_no_learning_library(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & (LEARNING | {"functions", "models", "tests"})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_imports_no_other_and_neither_models_nor_tests(name):
    for path in of(f"functions/{name}"):
        names = imported(path)
        assert not {module.split(".")[0] for module in names} & {"models", "tests"}
        assert not {other for other in names if other.startswith("functions.")} - {
            own for own in names if own.startswith(f"functions.{name}.")
        }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_classifier_knows_nothing_of_http_or_storage(name):
    names = imported(ROOT / "functions" / name / "classifier.py")
    assert not {module.split(".")[0] for module in names} & {"flask", "werkzeug", "google", "requests"}
    shared = {module for module in names if module.startswith("shared.")}
    assert all(module.startswith("shared.errors.") for module in shared)


REQUESTS = {
    "malaria": "data={'image': open('models/malaria/examples/infected.png', 'rb')}",
    "review": "data={'text': 'A fine film.'}",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_neither_importing_nor_predicting_loads_anything_heavy(name):
    script = f"""
import json, sys
import functions_framework
client = functions_framework.create_app("predict", "functions/{name}/main.py").test_client()
imported = sorted(sys.modules)
answer = client.post("/", {REQUESTS[name]})
assert answer.status_code == 200, answer.text
print(json.dumps([imported, sorted(sys.modules)]))
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    for loaded in json.loads(run.stdout.splitlines()[-1]):
        assert not {module.split(".")[0] for module in loaded} & HEAVY
        assert not {"google.cloud.storage"} & set(loaded), "a model on disk needs no storage client"
