"""What is checked before anything is touched: every fault, each with what mends it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from . import plan, sizes, stage
from .plan import Step
from .source import Function
from .targets import appengine
from .there import There
from .wanted import Wanted


@dataclass(frozen=True)
class Failure:
    """A fault, and how to mend it; with `fix`, the command that does."""

    message: str
    fix: Step | None = None

    def __str__(self) -> str:
        if self.fix is None:
            return self.message
        return f"{self.message}: run '{shlex.join(['gcloud', *self.fix.command])}', or this again with --fix"


def project(wanted: Wanted, there: There) -> list[Failure]:
    """Check billing, and who may build."""
    found = []
    if isinstance(there.billing, str):
        api = plan.enable(["cloudbilling"])
        found.append(Failure(f"cannot see whether billing is on ({there.billing})", api))
    elif not there.billing:
        link = f"gcloud billing projects link {wanted.project} --billing-account=ACCOUNT"
        found.append(Failure(f"billing is off: run '{link}'"))
    if isinstance(there.may_build, str):
        found.append(
            Failure(
                f"cannot read the project's IAM policy ({there.may_build}): you need roles/owner, or "
                "roles/editor and roles/resourcemanager.projectIamAdmin"
            )
        )
    # The account is made, and mostly given its role, when these are switched on.
    elif not there.may_build and {"run", "cloudbuild"} <= there.apis:
        found.append(
            Failure(f"the build account {there.builder} may not build", plan.may_build(wanted, there))
        )
    return found


def bucket(wanted: Wanted, functions: Sequence[Function], there: There) -> list[Failure]:
    """Check that the bucket is ours, and has the pinned files, or will."""
    if there.bucket == "taken":
        return [Failure(f"the bucket {wanted.bucket} is not yours: name another one with --bucket")]
    found = []
    for each in functions:
        size, uri = there.objects.get(f"{wanted.prefix}/{each.pin.file}"), f"{wanted.store}/{each.pin.file}"
        if size is not None and size != each.pin.bytes:
            delete = Step(("storage", "rm", uri))
            found.append(
                Failure(f"{uri} has {size} bytes, not {each.pin.bytes} as pinned: delete it", delete)
            )
        if size is None and each.model is None:
            found.append(
                Failure(
                    f"the pinned {each.pin.file} is neither in models/ nor in the bucket: run "
                    f"'.venv/dev/bin/python -m models.publish {each.name} FILE --store {wanted.store}'"
                )
            )
    return found


def fits(wanted: Wanted, function: Function) -> list[Failure]:
    """Check that there are instances as large as the function asks for."""
    try:
        memory = stage.memory(wanted, function)
        if wanted.to == "appengine":
            sizes.instance_class(memory)
            return []
        least, given = sizes.cpus(memory), stage.cpu(wanted, function)
    except ValueError as error:
        return [Failure(f"{function.name}: {error}")]
    if given < least:
        return [
            Failure(f"{function.name}: {sizes.shown(memory)} of memory need {least} CPUs: give --cpu {least}")
        ]
    if given not in sizes.LARGEST:
        return [Failure(f"{function.name}: expected 1, 2, 4 or 8 CPUs, got {given}: give --cpu {least}")]
    if given >= 4 and memory < 512 * given:
        return [
            Failure(
                f"{function.name}: {given} CPUs need {given // 2}Gi of memory: give --memory {given // 2}Gi"
            )
        ]
    return []


def target(wanted: Wanted, functions: Sequence[Function], there: There) -> list[Failure]:
    """Check that nothing is in the way where the functions go."""
    if wanted.to == "appengine":
        # While its API is off it cannot be seen.
        missing = "appengine" in there.apis and there.app is None
        return [Failure(appengine.CREATE)] if missing else []
    found = []
    for each in functions:
        service = there.services.get(each.name)
        if service and service.owner == "cloudfunctions":
            found.append(
                Failure(
                    f"{each.name} is there as a function: run './deploy.sh destroy', or name another --region"
                )
            )
        elif service and service.owner == "run":
            undo = "./deploy.sh destroy --to run"
            found.append(
                Failure(f"{each.name} is there as a Cloud Run service: run '{undo}', or deploy with --to run")
            )
        elif wanted.canary and not (service and service.serving):
            found.append(
                Failure(f"{each.name} is not deployed yet, there is nothing to compare: leave --canary out")
            )
    return found


def checked_callers(wanted: Wanted, functions: Sequence[Function], there: There) -> list[Failure]:
    """Check that no function that checks its callers becomes open to anyone unless that is said."""
    found = []
    for each in functions:
        service = there.services.get(each.name)
        before = service.settings.get("SIGN_IN", "") if service else ""
        if before and wanted.public:
            found.append(
                Failure(
                    f"{each.name} checks its callers (SIGN_IN={before}), --public lets anyone call: give "
                    f"--sign-in {before} in its place, or deploy without --public first"
                )
            )
        if wanted.sign_in and wanted.canary and service and not before:
            found.append(
                Failure(
                    f"{each.name} does not check its callers yet, and during a canary anyone could call the "
                    "old revision: leave --canary out"
                )
            )
    return found


def everything(wanted: Wanted, functions: Sequence[Function], there: There) -> list[Failure]:
    """Check all that can be checked of a project."""
    return [
        *project(wanted, there),
        *bucket(wanted, functions, there),
        *(failure for each in functions for failure in fits(wanted, each)),
        *target(wanted, functions, there),
        *checked_callers(wanted, functions, there),
    ]
