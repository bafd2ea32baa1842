"""Read the state of a project before anything is planned."""

import time
from dataclasses import replace
from types import ModuleType

from . import queries
from .config import Config
from .console import info
from .gcloud import Gcloud, GcloudError
from .state import Service, State, Workload
from .targets import appengine, functions, run

TARGETS: dict[str, ModuleType] = {"functions": functions, "run": run}
MIN_GCLOUD = 515
"""The oldest release whose `gcloud run deploy` has the options that --to run needs."""
MAX_WAIT = 1800
"""Seconds to wait for a deployment that another run has started: a build takes no longer."""


def check_gcloud(gcloud: Gcloud) -> None:
    """Check that gcloud is installed and new enough.

    Raises:
        GcloudError: it is missing or too old.
    """
    version = gcloud.version()
    if int(version.partition(".")[0]) < MIN_GCLOUD:
        raise GcloudError(
            f"gcloud {version} is too old: run 'gcloud components update' ({MIN_GCLOUD} or newer)"
        )


def inspect(config: Config, gcloud: Gcloud) -> State:
    """Read the project; resources whose API is off cannot exist and are not listed."""
    number = queries.project_number(gcloud)
    bucket, readers = queries.bucket(gcloud, config.bucket)
    state = State(
        number=number,
        billing=queries.billing(gcloud),
        apis=queries.apis(gcloud),
        bucket=bucket,
        readers=readers,
        objects=queries.stored_objects(gcloud, config) if bucket == "there" else {},
    )
    return inspect_services(config, gcloud, state)


def inspect_deployed(config: Config, gcloud: Gcloud) -> State:
    """Read what is deployed to the target."""
    check_gcloud(gcloud)
    number, apis = queries.project_number(gcloud), queries.apis(gcloud)
    target = TARGETS[config.to]
    services = target.services(gcloud, config) if apis.issuperset(target.APIS) else {}
    return State(number=number, apis=apis, services=services)


def workloads(gcloud: Gcloud, apis: frozenset[str]) -> list[Workload]:
    """Return what is deployed in all regions to Cloud Run, which also serves functions, and to App Engine."""
    services = queries.run_workloads(gcloud) if "run" in apis else []
    versions = appengine.versions(gcloud) if "appengine" in apis else None
    return [*services, *(Workload(each.name, "App Engine", each.account) for each in versions or ())]


def inspect_services(config: Config, gcloud: Gcloud, state: State) -> State:
    """Read what needs enabled APIs."""
    builder, may_build = queries.builder(gcloud, config, state.number, "cloudbuild" in state.apis)
    accounts = queries.accounts(gcloud) if "iam" in state.apis else frozenset()
    state = replace(state, builder=builder, may_build=may_build, accounts=accounts)
    if config.to == "appengine":
        return replace(state, app=appengine.versions(gcloud) if "appengine" in state.apis else None)
    return replace(state, services=_services(config, gcloud, state.apis))


def _services(config: Config, gcloud: Gcloud, apis: frozenset[str]) -> dict[str, Service]:
    """Return what is deployed; wait for a deployment that still runs at Google after an interruption here."""
    target = TARGETS[config.to]
    if not apis.issuperset(target.APIS):
        return {}
    deadline, announced = time.monotonic() + MAX_WAIT, False
    while True:
        services: dict[str, Service] = target.services(gcloud, config)
        ours = {name: services[name] for name in config.names if name in services}
        if config.dry_run or not any(each.state == "DEPLOYING" for each in ours.values()):
            break
        if time.monotonic() > deadline:
            raise GcloudError(
                "another deployment has not finished: see 'gcloud functions list', then run this again"
            )
        if not announced:
            info("another deployment is running: waiting until it finishes")
        announced = True
        time.sleep(5)
    for name, service in ours.items():
        if service.url or service.latest:
            services[name] = replace(service, callers=queries.callers(gcloud, config, name))
    return services
