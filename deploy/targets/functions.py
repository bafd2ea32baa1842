"""Cloud Functions, 2nd gen: the default target."""

from dataclasses import replace
from pathlib import Path

from .. import sizes, stage
from ..config import Config
from ..gcloud import Gcloud, text
from ..queries import run_services, service
from ..source import Function
from ..state import Service

KIND = "function"
APIS = ("cloudfunctions", "run")


def services(gcloud: Gcloud, config: Config) -> dict[str, Service]:
    """Return functions by name, each with the traffic of its Cloud Run service."""
    runs = run_services(gcloud, config)
    by_name = {}
    for each in gcloud.rows("functions", "list", "--v2", f"--regions={config.region}"):
        name = text(each, "name").rpartition("/")[2]
        by_name[name] = replace(
            service(runs.get(name, {})),
            state=text(each, "state"),
            source=text(each, "labels", "source"),
            commit=text(each, "labels", "commit"),
            url=text(each, "serviceConfig", "uri"),
            owner="",
        )
    own = {name: service(each) for name, each in runs.items() if name not in by_name}
    return by_name | {name: replace(each, owner="run") for name, each in own.items() if not each.owner}


def settings(config: Config, function: Function) -> tuple[str, ...]:
    """Return the options beside the environment variables; Cloud Run takes the same."""
    return (
        f"--memory={sizes.format_size(stage.memory(config, function))}",
        f"--cpu={stage.cpu(config, function)}",
        f"--concurrency={config.concurrency}",
        f"--min-instances={config.min_instances}",
        f"--max-instances={config.max_instances}",
        f"--timeout={config.timeout}",
        f"--service-account={config.account(function.name)}",
    )


def deploy(
    config: Config, function: Function, folder: Path, labels: str, current: Service | None
) -> tuple[str, ...]:
    """Return the command that deploys a staged folder."""
    return (
        *("functions", "deploy", function.name, "--gen2", f"--region={config.region}"),
        *(f"--runtime={config.runtime}", f"--source={folder}", "--entry-point=predict", "--trigger-http"),
        *settings(config, function),
        *(f"--env-vars-file={folder}.env.yaml", f"--update-labels={labels}"),
        *([] if config.canary else ["--serve-all-traffic-latest-revision"]),
        *([] if current else ["--no-allow-unauthenticated"]),
    )


def delete(config: Config, name: str) -> tuple[str, ...]:
    """Return the command that deletes a function; its Cloud Run service is deleted with it."""
    return ("functions", "delete", name, "--gen2", f"--region={config.region}", "--quiet")
