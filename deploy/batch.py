"""The container of Dataflow's workers, built by Cloud Build from HEAD into Artifact Registry."""

import json
import shlex
import shutil
import tempfile
from pathlib import Path

from . import checks, inspection, plan, queries, source, stage
from .config import Config
from .console import DeployError, info
from .execute import execute
from .gcloud import Gcloud, GcloudError, text
from .plan import Step
from .release import STAGED, read_functions
from .source import Function
from .state import State

REPOSITORY = "batch"
APIS = ("artifactregistry", "cloudbuild", "compute", "dataflow", "storage")
ROLES = ("roles/dataflow.worker", "roles/storage.objectUser", "roles/artifactregistry.reader")
"""What the workers' service account needs: by default, that of Compute Engine."""


def build(config: Config, gcloud: Gcloud) -> None:
    """Build the container unless its content was built before, and print the command that uses it.

    Raises:
        DeployError: something is in the way, or the build fails.
        SourceError: HEAD has no recipe.
    """
    [name] = config.names
    with tempfile.TemporaryDirectory() as unpacked:
        faults: list[str] = []
        functions = read_functions(config, Path(unpacked), faults)
        apis = _check(config, gcloud, faults)
        [function] = functions
        folder = write_context(function, Path(unpacked))
    place = f"--location={config.region}"
    python = f"3.{config.runtime.removeprefix('python3')}"
    tag = stage.fingerprint(folder, python)[:12]
    image = f"{config.region}-docker.pkg.dev/{config.project}/{REPOSITORY}/batch-{name}:{tag}"
    steps = []
    if missing := [each for each in APIS if each not in apis]:
        steps.append(plan.enable_apis(missing))
    if "artifactregistry" in missing or not _has_repository(gcloud, place):
        create = ("artifacts", "repositories", "create", REPOSITORY, "--repository-format=docker", place)
        steps.append(Step(create))
    if steps or tag not in _tags(gcloud, place, name):
        steps.append(_submit(config, folder, image, python))
    execute(config, gcloud, steps)
    if not steps:
        info(f"{name}: the container is unchanged")
    if not config.dry_run:
        _print_command(config, function, image)


def _submit(config: Config, folder: Path, image: str, python: str) -> Step:
    """Write what Cloud Build is to do beside the folder, and return the step that has it done."""
    arguments = ["build", "--build-arg", f"PYTHON={python}", "--tag", image, "."]
    recipe = {
        "steps": [{"name": "gcr.io/cloud-builders/docker", "args": arguments}],
        "images": [image],
        "timeout": "1800s",
        # In a bucket, which is the default, only some may read the log, and gcloud fails for the others.
        "options": {"logging": "CLOUD_LOGGING_ONLY"},
    }
    path = folder.with_name(f"{folder.name}.json")
    path.write_text(json.dumps(recipe))
    command = ("builds", "submit", str(folder), f"--config={path}", f"--region={config.region}")
    return Step(command, hint=f"run 'gcloud builds list --region={config.region}' and read the build's log")


def _check(config: Config, gcloud: Gcloud, faults: list[str]) -> frozenset[str]:
    """Return the enabled APIs.

    Raises:
        DeployError: something is in the way; each fault is a line.
    """
    try:
        inspection.check_gcloud(gcloud)
        number, apis = queries.project_number(gcloud), queries.apis(gcloud)
        builder, may_build = queries.builder(gcloud, config, number, "cloudbuild" in apis)
        state = State(number, queries.billing(gcloud), apis, builder, may_build)
        failures = checks.project(config, state)
    except GcloudError as error:
        raise DeployError([*faults, str(error)]) from None
    if failures and config.fix and not faults:
        execute(config, gcloud, [each.fix for each in failures if each.fix])
        failures = [each for each in failures if not each.fix]
    if lines := [*faults, *map(str, failures)]:
        raise DeployError(lines)
    return apis


def write_context(function: Function, unpacked: Path) -> Path:
    """Write the folder that is built: the recipe, the pipeline, one function, and its model if it is here.

    Raises:
        SourceError: HEAD has no recipe.
    """
    source.unpack(unpacked, "batch")
    folder = STAGED / f"batch-{function.name}"
    shutil.rmtree(folder, ignore_errors=True)
    for each in ("batch", "shared", f"functions/{function.name}"):
        shutil.copytree(unpacked / each, folder / each, ignore=stage.UNWANTED)
    shutil.copyfile(folder / "batch" / "Dockerfile", folder / "Dockerfile")
    if function.model:
        target = folder / "models" / function.pin.file
        target.parent.mkdir(parents=True)
        shutil.copyfile(function.model, target)
    return folder


def _has_repository(gcloud: Gcloud, place: str) -> bool:
    try:
        gcloud.one("artifacts", "repositories", "describe", REPOSITORY, place)
    except GcloudError as error:
        if "NOT_FOUND" in error.text:
            return False
        raise
    return True


def _tags(gcloud: Gcloud, place: str, name: str) -> set[str]:
    """Return the tags of the images that were built for a function."""
    try:
        listed = gcloud.rows(
            "artifacts", "tags", "list", f"--repository={REPOSITORY}", f"--package=batch-{name}", place
        )
    except GcloudError as error:
        if "NOT_FOUND" in error.text:
            return set()
        raise
    return {text(each, "name").rpartition("/")[2] for each in listed}


def _print_command(config: Config, function: Function, image: str) -> None:
    """Print how the container is used; the reader puts in the bucket, the input and the output."""
    name = function.name
    is_text = isinstance(function.example.input, str) and not function.example.file
    options = {
        "--input": "gs://BUCKET/INPUT",
        **({"--column": "COLUMN"} if is_text else {}),
        "--output": "gs://BUCKET/OUTPUT",
        "--runner": "DataflowRunner",
        "--project": config.project,
        "--region": config.region,
        "--temp_location": "gs://BUCKET/tmp",
        "--sdk_container_image": image,
    }
    # Workers whose container lacks the model fetch it.
    store = "" if function.model else f"MODEL_STORE={shlex.quote(config.store)} "
    command = " ".join(f"{option} {value}" for option, value in options.items())
    print(f"{name}: {image}")
    print(f"  needs  make .venv/batch/installed; {', '.join(ROLES)} for the workers' service account")
    print(f"  run    {store}.venv/batch/bin/python -m batch {name} {command}", flush=True)
