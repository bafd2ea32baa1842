"""The plan: the steps from a project's current state to the desired one.

Pure functions: a run executes the steps, `--dry-run` prints them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .config import Config
from .queries import READER
from .source import Function
from .state import Service, State

APIS = ("cloudfunctions", "run", "cloudbuild", "artifactregistry", "storage", "iam")


@dataclass(frozen=True)
class Step:
    """One command that changes something.

    Attributes:
        command: its arguments, without the program's name.
        hint: what to do if the command fails.
        patient: whether to retry while Google says that a new account does not exist.
        latest_of: the service whose latest revision replaces `NEW` in the command.
        note: printed after the command.
        program: `gcloud` or `bq`.
    """

    command: tuple[str, ...]
    hint: str = ""
    patient: bool = False
    latest_of: str = ""
    note: str = ""
    program: str = "gcloud"


def missing_apis(config: Config, state: State) -> list[str]:
    """Return the APIs that are needed but off."""
    needed = [*APIS]
    if config.to == "appengine":
        needed.append("appengine")
    if config.invoker:
        needed.append("iamcredentials")
    return [api for api in needed if api not in state.apis]


def enable_apis(apis: Iterable[str]) -> Step:
    """Return the step that enables APIs."""
    return Step(("services", "enable", *(f"{api}.googleapis.com" for api in apis)))


def grant_build_role(config: Config, state: State) -> Step:
    """Return the step that lets the build account build."""
    return Step(
        (
            *("projects", "add-iam-policy-binding", config.project),
            *(f"--member=serviceAccount:{state.builder}", "--condition=None"),
            "--role=roles/cloudbuild.builds.builder",
        ),
        patient=True,
    )


def create_bucket(config: Config, state: State) -> list[Step]:
    """Create the bucket if it is missing."""
    if state.bucket != "missing":
        return []
    create = ("storage", "buckets", "create", f"gs://{config.bucket}", f"--location={config.region}")
    return [
        Step(
            (*create, "--uniform-bucket-level-access", "--public-access-prevention"),
            hint=f"the name {config.bucket} cannot be used: choose another one with --bucket",
        )
    ]


def publish(config: Config, function: Function, state: State) -> list[Step]:
    """Upload the pinned file, whose name carries its digest, unless the bucket has it."""
    if f"{config.prefix}/{function.pin.file}" in state.objects or function.model is None:
        return []
    target = f"{config.store}/{function.pin.file}"
    return [Step(("storage", "cp", "--no-clobber", str(function.model), target))]


def create_account(config: Config, name: str, state: State) -> list[Step]:
    """Create the function's own service account, which may read the bucket and nothing else."""
    account, steps = config.account(name), []
    if account not in state.accounts:
        create = ("iam", "service-accounts", "create", f"{name}-fn")
        steps.append(Step((*create, f"--display-name=The {name} function")))
    if f"serviceAccount:{account}" not in state.readers:
        bind = ("storage", "buckets", "add-iam-policy-binding", f"gs://{config.bucket}")
        steps.append(Step((*bind, f"--member=serviceAccount:{account}", f"--role={READER}"), patient=True))
    return steps


def release(
    config: Config, name: str, source: str, deploy: tuple[str, ...], service: Service | None
) -> list[Step]:
    """Deploy a new revision if the source differs, and set the traffic.

    Args:
        config: the configuration.
        name: the function's.
        source: the fingerprint of what is to be deployed.
        deploy: the command that deploys it.
        service: what is deployed now.
    """
    update = ("run", "services", "update-traffic", name, f"--region={config.region}")
    if service and service.healthy and service.source == source:
        if service.follows_latest:
            return []
        if config.canary:
            shares = f"{service.latest}={config.canary},{service.other}={100 - config.canary}"
            return [Step((*update, f"--to-revisions={shares}"))]
        note = f"{name}: unchanged, and the latest revision has all traffic again"
        return [Step((*update, "--to-latest"), note=note)]
    new = Step(deploy, hint=f"see './deploy.sh logs {name}'")
    if service and config.canary:
        # Pinned first, so that the new revision gets no traffic when it starts.
        pin = Step((*update, f"--to-revisions={service.serving}=100"))
        shares = f"NEW={config.canary},{service.serving}={100 - config.canary}"
        return [pin, new, Step((*update, f"--to-revisions={shares}"), latest_of=name)]
    # A deployment to Cloud Run does not change how the traffic is split.
    if service and config.to == "run" and not service.follows_latest:
        return [new, Step((*update, "--to-latest"))]
    return [new]


def set_access(config: Config, name: str, service: Service | None) -> list[Step]:
    """Open or close the function to the public: a step of its own, since it may fail by itself."""
    public = service is not None and service.public
    if public == config.open:
        return []
    verb = "add" if config.open else "remove"
    change = ("run", "services", f"{verb}-iam-policy-binding", name, f"--region={config.region}")
    return [Step((*change, "--member=allUsers", "--role=roles/run.invoker"))]


def remove_account(config: Config, name: str, state: State) -> list[tuple[str, Step]]:
    """Delete a function's account, and before it its right to read the bucket, unless they are still used."""
    account = config.account(name)
    member, users = f"serviceAccount:{account}", state.users_of(account)
    steps = []
    if member in state.readers and not {*users} & {*state.readers_of(config.bucket)}:
        unbind = ("storage", "buckets", "remove-iam-policy-binding", f"gs://{config.bucket}")
        remove = Step((*unbind, f"--member={member}", f"--role={READER}"))
        steps.append((f"the role of {account} on gs://{config.bucket}", remove))
    if account in state.accounts and not users:
        delete = Step(("iam", "service-accounts", "delete", account, "--quiet"))
        steps.append((f"service account {account}", delete))
    return steps
