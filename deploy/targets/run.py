"""Cloud Run without Functions: more CPU while it starts, and no traffic until the model is in memory."""

from pathlib import Path

from ..config import Config
from ..gcloud import Gcloud
from ..queries import run_services, service
from ..source import Function
from ..state import Service
from .functions import settings

KIND = "Cloud Run service"
APIS = ("run",)
PROBE = "httpGet.path=/ready,httpGet.port=8080,periodSeconds=1,timeoutSeconds=1,failureThreshold=60"


def services(gcloud: Gcloud, config: Config) -> dict[str, Service]:
    """Return services by name; those of Cloud Functions have it as their owner."""
    return {name: service(each) for name, each in run_services(gcloud, config).items()}


def deploy(
    config: Config, function: Function, folder: Path, labels: str, current: Service | None
) -> tuple[str, ...]:
    """Return the command that deploys a staged folder."""
    return (
        *("run", "deploy", function.name, f"--source={folder}", "--function=predict"),
        *(f"--base-image={config.runtime}", f"--region={config.region}", "--cpu-boost"),
        *settings(config, function),
        *(f"--startup-probe={PROBE}", f"--env-vars-file={folder}.env.yaml", f"--labels={labels}"),
        *([] if current else ["--no-allow-unauthenticated"]),
    )


def delete(config: Config, name: str) -> tuple[str, ...]:
    """Return the command that deletes a service."""
    return ("run", "services", "delete", name, f"--region={config.region}", "--quiet")
