"""App Engine: a version of a service of the project's one application."""

from pathlib import Path

from ..config import Config
from ..gcloud import Gcloud, GcloudError, dig, text
from ..source import Function
from ..state import Version

CREATE = (
    "there is no App Engine application: run 'gcloud app create --region=REGION', such as europe-west; "
    "its region cannot be changed later"
)


def versions(gcloud: Gcloud) -> tuple[Version, ...] | None:
    """Return the versions of all services; None if there is no application."""
    try:
        gcloud.one("app", "describe")
    except GcloudError as error:
        if "does not contain an App Engine application" in error.text:
            return None
        raise
    return tuple(
        Version(
            text(each, "service"),
            text(each, "id"),
            float(dig(each, "traffic_split") or 0),
            text(each, "version", "versionUrl"),
            text(each, "version", "serviceAccount"),
        )
        for each in gcloud.rows("app", "versions", "list")
    )


def service_of(name: str, versions: tuple[Version, ...]) -> str:
    """Return the service of a function. The first of an application must be called `default`."""
    first = any(each.service == "default" and each.name.startswith(f"{name}-") for each in versions)
    return "default" if first or not versions else name


def deploy(config: Config, function: Function, folder: Path, version: str) -> tuple[str, ...]:
    """Return the command that deploys a staged folder with an app.yaml."""
    account = f"--service-account={config.account(function.name)}"
    return ("app", "deploy", str(folder / "app.yaml"), f"--version={version}", account)
