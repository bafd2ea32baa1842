"""Who may import whom, and what importing and predicting may load."""

import ast
import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import FUNCTIONS, ROOT

LEARNING = {"tensorflow", "keras", "sklearn", "scipy", "pandas", "ai_edge_litert", "numpy", "PIL", "joblib"}
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "pandas"}
ROOMS = ("web", "store", "runtimes")
OURS = ("shared", "functions", "models", "deploy", "dev", "benchmarks", "batch")


def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "servers" not in path.parts)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for folder in OURS for path in sources(folder)}


def imports(path: Path, late: bool = True) -> set[str]:
    """Dotted names that a file imports, relative ones made absolute; `late`: inside functions too."""
    package = list(path.relative_to(ROOT).parts[:-1])
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if late else iter(at_start(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            found |= {f"{module}.{name.name}" for name in node.names}
    return found


def at_start(tree: ast.Module) -> list[ast.stmt]:
    """Statements that run when the module is imported, and not for type checkers alone."""
    found = []
    for node in tree.body:
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not checking:
            found.append(node)
    return found


def module_of(name: str) -> str | None:
    """The module of ours that a dotted name is, or is in."""
    return (
        name if name in MODULES else name.rpartition(".")[0] if name.rpartition(".")[0] in MODULES else None
    )


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sources("shared"), ids=lambda path: path.name)
def test_shared_imports_neither_functions_nor_models(path):
    assert not roots(path) & {"functions", "models", "tests", "dev", "deploy", "benchmarks", "batch"}


@pytest.mark.parametrize("room", ROOMS)
def test_the_packages_of_shared_never_import_one_another(room):
    others = tuple(f"shared.{other}" for other in ROOMS if other != room)
    for path in sources(f"shared/{room}"):
        assert not [name for name in imports(path) if name.startswith(others)], path


@pytest.mark.parametrize("room", ["web", "store"])
def test_web_and_store_import_no_learning_library(room):
    for path in sources(f"shared/{room}"):
        assert not roots(path) & LEARNING, path


def test_modules_that_deploy_imports_need_only_the_standard_library():
    for name in ("pin", "settings", "example"):
        own = {each for each in roots(ROOT / "shared" / f"{name}.py") if each != "shared"}
        assert own <= set(sys.stdlib_module_names), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_imports_only_shared_and_itself(name):
    for path in sources(f"functions/{name}"):
        names = imports(path)
        others = {"models", "tests", "dev", "deploy", "benchmarks", "batch"}
        assert not {each.split(".")[0] for each in names} & others
        assert all(each.startswith(f"functions.{name}.") for each in names if each.startswith("functions."))


def test_a_classifier_knows_nothing_of_http_or_storage():
    for path in [*sources("shared/runtimes"), *ROOT.glob("functions/*/classifier.py")]:
        assert not roots(path) & {"flask", "werkzeug", "google", "requests", "http"}, path
        rooms = ("shared.web", "shared.store", "shared.start")
        assert not [name for name in imports(path) if name.startswith(rooms)], path


def test_there_are_no_circular_imports():
    graph = {
        name: {found for each in imports(path, late=False) if (found := module_of(each)) not in (None, name)}
        for name, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_neither_importing_nor_predicting_loads_anything_heavy(name):
    pin = json.loads((ROOT / "functions" / name / "model.json").read_text())
    if pin["format"] not in ("tflite", "linear"):
        pytest.skip(f"the format {pin['format']} needs its library")
    script = f"""
import json, sys
from pathlib import Path
import functions_framework
from shared.example import Example
client = functions_framework.create_app("predict", "functions/{name}/main.py").test_client()
imported = sorted(sys.modules)
example = Example.read(Path("functions/{name}"))
answer = client.post("/", json={{"instances": [example.input]}})
assert answer.status_code == 200 and example.label in answer.text, answer.text
print(json.dumps([imported, sorted(sys.modules)]))
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    for loaded in json.loads(run.stdout.splitlines()[-1]):
        assert not {module.split(".")[0] for module in loaded} & HEAVY
        assert not {"google.cloud.storage"} & set(loaded), "a model on disk needs no client"
        unasked = [each for each in loaded if each.startswith(("shared.web.auth", "cryptography"))]
        assert not unasked, "nobody has to sign in"
