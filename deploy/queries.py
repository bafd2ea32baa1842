"""Read a project with gcloud, one query per function."""

from collections.abc import Mapping
from typing import Any

from . import traffic
from .config import Config
from .gcloud import Gcloud, GcloudError, dig, has_role, objects, text
from .state import Service, Workload

READER = "roles/storage.objectViewer"
INVOKER = "roles/run.invoker"
BUILDERS = ("roles/cloudbuild.builds.builder", "roles/editor", "roles/owner")


class NoProject(GcloudError):
    """The project cannot be read at all."""


def project_number(gcloud: Gcloud) -> str:
    """Return the project's number.

    Raises:
        NoProject: nobody is signed in, or the user may not read the project.
    """
    try:
        number = text(gcloud.one("projects", "describe", gcloud.project), "projectNumber")
    except GcloudError as error:
        message = error.text.lower()
        if any(sign in message for sign in ("active account", "auth login", "credential", "reauth")):
            raise NoProject("you are not signed in: run 'gcloud auth login'") from None
        if "permission" in message or "not exist" in message or "not found" in message:
            raise NoProject(
                f"{gcloud.project} does not exist, or you may not read it: see 'gcloud projects list'"
            ) from None
        raise
    if not number:
        raise NoProject(
            f"gcloud projects describe {gcloud.project}: expected a number, got none: run it by hand"
        )
    return number


def apis(gcloud: Gcloud) -> frozenset[str]:
    """Return the enabled APIs, such as `run`, without `.googleapis.com`."""
    response = gcloud.rows("services", "list", "--enabled")
    return frozenset(text(each, "config", "name").removesuffix(".googleapis.com") for each in response)


def billing(gcloud: Gcloud) -> bool | str:
    """Return whether billing is on, or why that cannot be read."""
    try:
        return dig(gcloud.one("billing", "projects", "describe", gcloud.project), "billingEnabled") is True
    except GcloudError as error:
        if "permission" in error.text.lower():
            return str(error)
        raise


def builder(gcloud: Gcloud, config: Config, number: str, cloudbuild: bool) -> tuple[str, bool | str]:
    """Return the build account, and whether it may build, or why that cannot be read.

    Without the role, a build fails after minutes with a message that does not name it.
    """
    account = f"{number}-compute@developer.gserviceaccount.com"
    try:
        policy = gcloud.one("projects", "get-iam-policy", gcloud.project)
    except GcloudError as error:
        if "permission" in error.text.lower():
            return account, str(error)
        raise
    if has_role(policy, f"serviceAccount:{account}", *BUILDERS):
        return account, True
    if cloudbuild:  # older projects have another build account
        response = gcloud.one("builds", "get-default-service-account", f"--region={config.region}")
        account = text(response, "serviceAccountEmail").rpartition("/")[2] or account
    return account, has_role(policy, f"serviceAccount:{account}", *BUILDERS)


def accounts(gcloud: Gcloud) -> frozenset[str]:
    """Return the email addresses of the project's service accounts."""
    return frozenset(text(each, "email") for each in gcloud.rows("iam", "service-accounts", "list"))


def bucket(gcloud: Gcloud, name: str) -> tuple[str, frozenset[str]]:
    """Return whether the bucket is `there`, `missing` or `taken`, and who may read its objects."""
    try:
        policy = gcloud.one("storage", "buckets", "get-iam-policy", f"gs://{name}")
    except GcloudError as error:
        if "404" in error.text or "not found" in error.text.lower():
            return "missing", frozenset()
        if "permission" in error.text.lower() or "403" in error.text:
            return "taken", frozenset()
        raise
    return "there", frozenset(_members(policy, READER))


def stored_objects(gcloud: Gcloud, config: Config) -> dict[str, int]:
    """Return the sizes in bytes of the objects below the prefix, by name."""
    try:
        response = gcloud.rows("storage", "objects", "list", f"{config.store}/**")
    except GcloudError as error:
        if "matched no objects" in error.text:
            return {}
        raise
    return {text(each, "name"): int(dig(each, "size") or 0) for each in response}


def run_services(gcloud: Gcloud, config: Config) -> dict[str, dict[str, Any]]:
    """Return the Cloud Run services of the region, by name, as Google describes them."""
    response = gcloud.rows("run", "services", "list", f"--region={config.region}")
    return {text(each, "metadata", "name"): each for each in response}


def run_workloads(gcloud: Gcloud) -> list[Workload]:
    """Return the Cloud Run services of all regions."""
    return [
        Workload(
            name=text(each, "metadata", "name"),
            place=text(each, "metadata", "labels", "cloud.googleapis.com/location"),
            account=text(each, "spec", "template", "spec", "serviceAccountName"),
            store=settings(dig(each, "spec", "template")).get("MODEL_STORE", ""),
        )
        for each in gcloud.rows("run", "services", "list")
    ]


def service(resource: Mapping[str, Any]) -> Service:
    """Convert Google's description of a Cloud Run service."""
    labels = dig(resource, "metadata", "labels")
    conditions = objects(resource, "status", "conditions")
    return Service(
        state=text(next(iter(conditions), {}), "status"),
        source=text(labels, "source"),
        commit=text(labels, "commit"),
        url=text(resource, "status", "url"),
        traffic=traffic.traffic(resource),
        latest=traffic.latest(resource),
        follows_latest=traffic.follows_latest(resource),
        owner=text(labels, "goog-managed-by"),
        settings=settings(dig(resource, "spec", "template")),
    )


def settings(revision: Any) -> dict[str, str]:
    """Return the environment variables in Google's description of a revision or its template."""
    containers = objects(revision, "spec", "containers")
    return {text(each, "name"): text(each, "value") for one in containers for each in objects(one, "env")}


def callers(gcloud: Gcloud, config: Config, name: str) -> tuple[str, ...]:
    """Return the members that may call a Cloud Run service by a role on it."""
    policy = gcloud.one("run", "services", "get-iam-policy", name, f"--region={config.region}")
    return tuple(sorted(_members(policy, INVOKER)))


def _members(policy: Any, role: str) -> set[str]:
    """Return the members that have the role in an IAM policy."""
    groups = [dig(each, "members") for each in objects(policy, "bindings") if each.get("role") == role]
    return {str(member) for group in groups if isinstance(group, list) for member in group}
