"""The plan: what is missing between what is wanted and what is there, as a list of steps.

Data in, data out: `--dry-run` prints the steps, a run executes them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .queries import READER
from .source import Function
from .there import Service, There
from .wanted import Wanted

APIS = ("cloudfunctions", "run", "cloudbuild", "artifactregistry", "storage", "iam")


@dataclass(frozen=True)
class Step:
    """One gcloud command that changes something.

    Attributes:
        command: its arguments, without `gcloud` itself.
        hint: what to do if it fails.
        patient: whether it names an account made a moment ago, which Google does not know everywhere at once.
        latest_of: the service whose latest revision takes the place of `NEW` in the command.
        note: what is said once it is done.
    """

    command: tuple[str, ...]
    hint: str = ""
    patient: bool = False
    latest_of: str = ""
    note: str = ""


def missing_apis(wanted: Wanted, there: There) -> list[str]:
    """The APIs that are needed, and off."""
    needed = [*APIS]
    if wanted.to == "appengine":
        needed.append("appengine")
    if wanted.invoker:
        needed.append("iamcredentials")
    return [api for api in needed if api not in there.apis]


def enable(apis: Iterable[str]) -> Step:
    """Switch on APIs."""
    return Step(("services", "enable", *(f"{api}.googleapis.com" for api in apis)))


def may_build(wanted: Wanted, there: There) -> Step:
    """Let the build account build."""
    return Step(
        (
            *("projects", "add-iam-policy-binding", wanted.project),
            *(f"--member=serviceAccount:{there.builder}", "--condition=None"),
            "--role=roles/cloudbuild.builds.builder",
        ),
        patient=True,
    )


def make_bucket(wanted: Wanted, there: There) -> list[Step]:
    """Make the bucket if it is missing."""
    if there.bucket != "missing":
        return []
    create = ("storage", "buckets", "create", f"gs://{wanted.bucket}", f"--location={wanted.region}")
    return [
        Step(
            (*create, "--uniform-bucket-level-access", "--public-access-prevention"),
            hint=f"there is no bucket {wanted.bucket} for you: name another one with --bucket",
        )
    ]


def publish(wanted: Wanted, function: Function, there: There) -> list[Step]:
    """Put the pinned file into the bucket, under the name that carries its digest, unless it is there."""
    if f"{wanted.prefix}/{function.pin.file}" in there.objects or function.model is None:
        return []
    target = f"{wanted.store}/{function.pin.file}"
    return [Step(("storage", "cp", "--no-clobber", str(function.model), target))]


def identity(wanted: Wanted, name: str, there: There) -> list[Step]:
    """Give the function its own identity, which may read the bucket and nothing else."""
    account, steps = wanted.account(name), []
    if account not in there.accounts:
        create = ("iam", "service-accounts", "create", f"{name}-fn")
        steps.append(Step((*create, f"--display-name=The {name} function")))
    if f"serviceAccount:{account}" not in there.readers:
        bind = ("storage", "buckets", "add-iam-policy-binding", f"gs://{wanted.bucket}")
        steps.append(Step((*bind, f"--member=serviceAccount:{account}", f"--role={READER}"), patient=True))
    return steps


def release(
    wanted: Wanted, name: str, source: str, deploy: tuple[str, ...], service: Service | None
) -> list[Step]:
    """Deploy what is not there yet, and give the latest revision the traffic that it should have.

    Args:
        wanted: the options.
        name: the function's.
        source: the fingerprint of what would be deployed.
        deploy: the command that deploys it.
        service: what is deployed now.
    """
    update = ("run", "services", "update-traffic", name, f"--region={wanted.region}")
    if service and service.healthy and service.source == source:
        if service.follows_latest:
            return []
        if wanted.canary:
            shares = f"{service.latest}={wanted.canary},{service.other}={100 - wanted.canary}"
            return [Step((*update, f"--to-revisions={shares}"))]
        note = f"{name}: unchanged, and the latest revision has all traffic again"
        return [Step((*update, "--to-latest"), note=note)]
    new = Step(deploy, hint=f"look at './deploy.sh logs {name}'")
    if service and wanted.canary:
        # Pinned, so that the new revision gets nothing until it is told to.
        pin = Step((*update, f"--to-revisions={service.serving}=100"))
        shares = f"NEW={wanted.canary},{service.serving}={100 - wanted.canary}"
        return [pin, new, Step((*update, f"--to-revisions={shares}"), latest_of=name)]
    # A Cloud Run service keeps its split until it is told.
    if service and wanted.to == "run" and not service.follows_latest:
        return [new, Step((*update, "--to-latest"))]
    return [new]


def open_or_close(wanted: Wanted, name: str, service: Service | None) -> list[Step]:
    """Set whether anyone may call: apart from the deployment, since one may fail without the other."""
    public = service is not None and service.public
    if public == wanted.open:
        return []
    verb = "add" if wanted.open else "remove"
    change = ("run", "services", f"{verb}-iam-policy-binding", name, f"--region={wanted.region}")
    return [Step((*change, "--member=allUsers", "--role=roles/run.invoker"))]


def remove(
    wanted: Wanted, name: str, there: There, delete: tuple[str, ...] | None, alerts: list[Step]
) -> list[Step]:
    """Take away a function: its account last, so that what an interruption leaves is found again."""
    account = wanted.account(name)
    steps = [*alerts, *([Step(delete)] if delete else [])]
    if f"serviceAccount:{account}" in there.readers:
        unbind = ("storage", "buckets", "remove-iam-policy-binding", f"gs://{wanted.bucket}")
        steps.append(Step((*unbind, f"--member=serviceAccount:{account}", f"--role={READER}")))
    if account in there.accounts:
        steps.append(Step(("iam", "service-accounts", "delete", account, "--quiet")))
    return steps
