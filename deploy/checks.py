"""Checks before anything is changed: each failure says how to fix it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from . import plan, sizes, stage
from .config import Config
from .plan import Step
from .source import Function
from .state import State
from .targets import appengine


@dataclass(frozen=True)
class Failure:
    """A failed check; `fix` is the command that fixes it, if one does."""

    message: str
    fix: Step | None = None

    def __str__(self) -> str:
        if self.fix is None:
            return self.message
        return f"{self.message}: run '{shlex.join(['gcloud', *self.fix.command])}', or this again with --fix"


def project(config: Config, state: State) -> list[Failure]:
    """Check that billing is on, and that the build account may build."""
    failures = []
    if isinstance(state.billing, str):
        api = plan.enable_apis(["cloudbilling"])
        failures.append(Failure(f"cannot see whether billing is on ({state.billing})", api))
    elif not state.billing:
        link = f"gcloud billing projects link {config.project} --billing-account=ACCOUNT"
        failures.append(Failure(f"billing is off: run '{link}'"))
    if isinstance(state.may_build, str):
        failures.append(
            Failure(
                f"cannot read the project's IAM policy ({state.may_build}): you need roles/owner, or "
                "roles/editor and roles/resourcemanager.projectIamAdmin"
            )
        )
    # Google creates the account, and usually gives it the role, when these APIs are enabled.
    elif not state.may_build and {"run", "cloudbuild"} <= state.apis:
        failures.append(
            Failure(f"the build account {state.builder} may not build", plan.grant_build_role(config, state))
        )
    return failures


def bucket(config: Config, functions: Sequence[Function], state: State) -> list[Failure]:
    """Check that the bucket is free or ours, and that the pinned files are in it or can be uploaded."""
    if state.bucket == "taken":
        return [Failure(f"the bucket {config.bucket} is not yours: name another one with --bucket")]
    failures = []
    for each in functions:
        size, uri = state.objects.get(f"{config.prefix}/{each.pin.file}"), f"{config.store}/{each.pin.file}"
        if size is not None and size != each.pin.bytes:
            delete = Step(("storage", "rm", uri))
            failures.append(
                Failure(f"{uri} has {size} bytes, the pin says {each.pin.bytes}: delete it", delete)
            )
        if size is None and each.model is None:
            failures.append(
                Failure(
                    f"the pinned {each.pin.file} is neither in models/ nor in the bucket: run "
                    f"'.venv/dev/bin/python -m models.publish {each.name} FILE --store {config.store}'"
                )
            )
    return failures


def fits(config: Config, function: Function) -> list[Failure]:
    """Check that Google has instances with this much memory and this many CPUs."""
    try:
        memory = stage.memory(config, function)
        if config.to == "appengine":
            sizes.instance_class(memory)
            return []
        least, given = sizes.cpus(memory), stage.cpu(config, function)
    except ValueError as error:
        return [Failure(f"{function.name}: {error}")]
    if given < least:
        size = sizes.format_size(memory)
        return [Failure(f"{function.name}: {size} of memory need {least} CPUs: give --cpu {least}")]
    if given not in sizes.LARGEST:
        return [Failure(f"{function.name}: expected 1, 2, 4 or 8 CPUs, got {given}: give --cpu {least}")]
    if given >= 4 and memory < 512 * given:
        return [
            Failure(
                f"{function.name}: {given} CPUs need {given // 2}Gi of memory: give --memory {given // 2}Gi"
            )
        ]
    return []


def target(config: Config, functions: Sequence[Function], state: State) -> list[Failure]:
    """Check that the names are free on the target, and that a canary has something to compare with."""
    if config.to == "appengine":
        # While the API is off, applications cannot be listed.
        missing = "appengine" in state.apis and state.app is None
        return [Failure(appengine.CREATE)] if missing else []
    failures = []
    for each in functions:
        service = state.services.get(each.name)
        if service and service.owner == "cloudfunctions":
            failures.append(
                Failure(
                    f"{each.name} already exists as a function: run './deploy.sh destroy' first, or choose "
                    "another --region"
                )
            )
        elif service and service.owner == "run":
            undo = "./deploy.sh destroy --to run"
            failures.append(
                Failure(
                    f"{each.name} already exists as a Cloud Run service: run '{undo}' first, or deploy with "
                    "--to run"
                )
            )
        elif config.canary and not (service and service.serving):
            failures.append(
                Failure(
                    f"{each.name} is not deployed yet, so a canary has no old revision: leave --canary out"
                )
            )
    return failures


def checked_callers(config: Config, functions: Sequence[Function], state: State) -> list[Failure]:
    """Check that a function that verifies its callers does not become public by accident."""
    failures = []
    for each in functions:
        service = state.services.get(each.name)
        before = service.settings.get("SIGN_IN", "") if service else ""
        if before and config.public:
            failures.append(
                Failure(
                    f"{each.name} verifies its callers (SIGN_IN={before}), but --public lets anyone call: "
                    f"give --sign-in {before} instead, or deploy once without --public"
                )
            )
        if config.sign_in and config.canary and service and not before:
            failures.append(
                Failure(
                    f"{each.name} does not verify its callers yet, so during a canary anyone could call "
                    "the old revision: leave --canary out"
                )
            )
    return failures


def check_all(config: Config, functions: Sequence[Function], state: State) -> list[Failure]:
    """Run all checks of the project."""
    return [
        *project(config, state),
        *bucket(config, functions, state),
        *(failure for each in functions for failure in fits(config, each)),
        *target(config, functions, state),
        *checked_callers(config, functions, state),
    ]
