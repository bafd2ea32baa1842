"""Write the folder to upload: one function of HEAD with `shared`; for other hosts, with their files too."""

import contextlib
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from . import sbom, sizes
from .config import Config
from .source import Function, SourceError

SERVE = "functions-framework --target=predict --host=0.0.0.0 --port=$PORT"
UNWANTED = shutil.ignore_patterns("__pycache__", "tests", "test_*.py", ".*")


def memory(config: Config, function: Function) -> int:
    """Return the memory in MiB for the function."""
    return (
        sizes.parse_size(config.memory)
        if config.memory
        else sizes.required_memory(function.pin, config.cpu or 1)
    )


def cpu(config: Config, function: Function) -> int:
    """Return the CPUs for the function."""
    return config.cpu or sizes.cpus(memory(config, function))


def environment(config: Config) -> dict[str, str]:
    """Return the function's environment variables."""
    variables = {"MODEL_STORE": config.store, "GOOGLE_CLOUD_PROJECT": config.project}
    if config.to == "run":
        variables["WARM_UP"] = "1"
    # The function times out before the platform does, so that the caller gets its error.
    seconds = max(1, config.timeout * 5 // 6)
    variables |= {"ALLOWED_ORIGINS": config.origins, "REQUEST_SECONDS": str(seconds)}
    # A worker process uses one CPU. CPUs that are there for their memory only get no worker of their own,
    # which would need that memory again.
    variables |= {"THREADS": str(config.concurrency), "WORKERS": str(config.cpu or 1)}
    variables |= config.checks
    return {name: value for name, value in variables.items() if value or name == "ALLOWED_ORIGINS"}


def yaml(settings: dict[str, str], indent: str = "") -> str:
    """Format settings as YAML, which includes JSON's strings."""
    return "".join(f"{indent}{name}: {json.dumps(value)}\n" for name, value in settings.items())


def app_yaml(config: Config, function: Function, service: str = "") -> str:
    """Return the app.yaml for App Engine."""
    return (
        (f"service: {service}\n" if service else "")
        + f"runtime: {config.runtime}\n"
        + f"entrypoint: {SERVE.replace(' --host=0.0.0.0', '')}\n"
        + f"instance_class: {sizes.instance_class(memory(config, function))}\n"
        + f"automatic_scaling:\n  max_instances: {config.max_instances}\n"
        + f"env_variables:\n{yaml(environment(config), '  ')}"
    )


def dockerfile(config: Config) -> str:
    """Return a Dockerfile, for hosts that build containers."""
    version = config.runtime.removeprefix("python3")
    settings = "".join(f"ENV {name}={json.dumps(value)}\n" for name, value in environment(config).items())
    return (
        f"FROM python:3.{version}-slim\n"
        "WORKDIR /app\n"
        "COPY requirements.txt .\n"
        "RUN pip install --no-cache-dir -r requirements.txt\n"
        "COPY . .\n"
        f"ENV PORT=8080\n{settings}"
        "USER nobody\n"
        f"CMD exec {SERVE}\n"
    )


def write(function: Function, folder: Path) -> None:
    """Write the function to a new folder: its files at the top, `shared` and sbom.json beside them."""
    shutil.copytree(function.folder, folder, ignore=UNWANTED)
    shutil.copytree(function.folder.parents[1] / "shared", folder / "shared", ignore=UNWANTED)
    sbom.write(function.name, folder, function.pin)


def for_any_host(config: Config, function: Function) -> None:
    """Write what another host needs to `config.folder`, completely or not at all.

    Without a bucket, the pinned model is included and served from the folder.

    Raises:
        SourceError: the folder is not empty, or the checkout does not have the model.
    """
    folder = config.folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SourceError(f"{config.folder} is not empty: name a new folder")
    if not config.bucket and function.model is None:
        raise SourceError(
            f"the pinned models/{function.pin.file} is not in this checkout: copy it there from the store "
            "that it was published to, or name the bucket with --bucket and --prefix"
        )
    files = {"Procfile": f"web: {SERVE}\n", "Dockerfile": dockerfile(config)}
    with contextlib.suppress(ValueError):  # more memory than App Engine offers
        files["app.yaml"] = app_yaml(config, function)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
            staged = Path(made) / "staged"
            write(function, staged)
            for name, content in files.items():
                (staged / name).write_text(content)
            if not config.bucket and function.model is not None:
                target = staged / "models" / function.pin.file
                target.parent.mkdir(parents=True)
                shutil.copyfile(function.model, target)
            staged.replace(folder)
    except OSError as error:
        raise SourceError(
            f"{config.folder} cannot be written: {error.strerror}: name another folder"
        ) from None


def fingerprint(folder: Path, *settings: str) -> str:
    """Return a digest of the staged files and settings: if it is unchanged, there is nothing to deploy."""
    digest = hashlib.sha1(usedforsecurity=False)  # a label has at most 63 characters
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        content = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
        digest.update(f"{content} {path.relative_to(folder)}\n".encode())
    digest.update("\n".join(settings).encode())
    return digest.hexdigest()
