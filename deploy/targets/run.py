"""Cloud Run by itself: more CPU while it starts, and no traffic before the model is in memory."""

from pathlib import Path

from ..gcloud import Gcloud
from ..queries import run_services, service
from ..source import Function
from ..there import Service
from ..wanted import Wanted
from .functions import settings

KIND = "Cloud Run service"
APIS = ("run",)
PROBE = "httpGet.path=/ready,httpGet.port=8080,periodSeconds=1,timeoutSeconds=1,failureThreshold=60"


def look(gcloud: Gcloud, wanted: Wanted) -> dict[str, Service]:
    """Services by name; those that run a function say so."""
    return {name: service(each) for name, each in run_services(gcloud, wanted).items()}


def deploy(
    wanted: Wanted, function: Function, folder: Path, labels: str, there: Service | None
) -> tuple[str, ...]:
    """The command that deploys a staged folder."""
    return (
        *("run", "deploy", function.name, f"--source={folder}", "--function=predict"),
        *(f"--base-image={wanted.runtime}", f"--region={wanted.region}", "--cpu-boost"),
        *settings(wanted, function),
        *(f"--startup-probe={PROBE}", f"--env-vars-file={folder}.env.yaml", f"--labels={labels}"),
        *([] if there else ["--no-allow-unauthenticated"]),
    )


def delete(wanted: Wanted, name: str) -> tuple[str, ...]:
    """The command that deletes a service."""
    return ("run", "services", "delete", name, f"--region={wanted.region}", "--quiet")
