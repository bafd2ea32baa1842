"""Cloud Functions, 2nd gen: what the functions are made for, and the default."""

from dataclasses import replace
from pathlib import Path

from .. import sizes, stage
from ..gcloud import Gcloud, text
from ..queries import run_services, service
from ..source import Function
from ..there import Service
from ..wanted import Wanted

KIND = "function"
APIS = ("cloudfunctions", "run")


def look(gcloud: Gcloud, wanted: Wanted) -> dict[str, Service]:
    """Functions by name, each with the traffic of the service that runs it."""
    runs = run_services(gcloud, wanted)
    found = {}
    for each in gcloud.rows("functions", "list", "--v2", f"--regions={wanted.region}"):
        name = text(each, "name").rpartition("/")[2]
        found[name] = replace(
            service(runs.get(name, {})),
            state=text(each, "state"),
            source=text(each, "labels", "source"),
            commit=text(each, "labels", "commit"),
            url=text(each, "serviceConfig", "uri"),
            owner="",
        )
    own = {name: service(each) for name, each in runs.items() if name not in found}
    return found | {name: replace(each, owner="run") for name, each in own.items() if not each.owner}


def settings(wanted: Wanted, function: Function) -> tuple[str, ...]:
    """What is set beside the environment; Cloud Run takes the same."""
    return (
        f"--memory={sizes.shown(stage.memory(wanted, function))}",
        f"--cpu={stage.cpu(wanted, function)}",
        f"--concurrency={wanted.concurrency}",
        f"--min-instances={wanted.min_instances}",
        f"--max-instances={wanted.max_instances}",
        f"--timeout={wanted.timeout}",
        f"--service-account={wanted.account(function.name)}",
    )


def deploy(
    wanted: Wanted, function: Function, folder: Path, labels: str, there: Service | None
) -> tuple[str, ...]:
    """The command that deploys a staged folder."""
    return (
        *("functions", "deploy", function.name, "--gen2", f"--region={wanted.region}"),
        *(f"--runtime={wanted.runtime}", f"--source={folder}", "--entry-point=predict", "--trigger-http"),
        *settings(wanted, function),
        *(f"--env-vars-file={folder}.env.yaml", f"--update-labels={labels}"),
        *([] if wanted.canary else ["--serve-all-traffic-latest-revision"]),
        *([] if there else ["--no-allow-unauthenticated"]),
    )


def delete(wanted: Wanted, name: str) -> tuple[str, ...]:
    """The command that deletes a function; its service goes with it alone."""
    return ("functions", "delete", name, "--gen2", f"--region={wanted.region}", "--quiet")
