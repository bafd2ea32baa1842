"""Looking at a project: all that a deployment must know, before anything is decided."""

import time
from dataclasses import replace
from types import ModuleType

from . import queries
from .config import Config
from .console import info
from .gcloud import Gcloud, GcloudError
from .state import Service, State
from .targets import appengine, functions, run

TARGETS: dict[str, ModuleType] = {"functions": functions, "run": run}
MIN_GCLOUD = 515
"""The first release whose `gcloud run deploy` has all that --to run needs."""
MAX_WAIT = 1800
"""Seconds that somebody else's deployment is waited for: no build may take longer."""


def check_gcloud(gcloud: Gcloud) -> None:
    """Check that gcloud is there and new enough.

    Raises:
        GcloudError: it is not.
    """
    version = gcloud.version()
    if int(version.partition(".")[0]) < MIN_GCLOUD:
        raise GcloudError(
            f"gcloud {version} is too old: run 'gcloud components update' ({MIN_GCLOUD} or newer)"
        )


def inspect(config: Config, gcloud: Gcloud) -> State:
    """Look at the project: what cannot be there while its API is off is not asked for."""
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


def inspect_services(config: Config, gcloud: Gcloud, state: State) -> State:
    """Look at what needs APIs."""
    builder, may_build = queries.builder(gcloud, config, state.number, "cloudbuild" in state.apis)
    accounts = queries.accounts(gcloud) if "iam" in state.apis else frozenset()
    state = replace(state, builder=builder, may_build=may_build, accounts=accounts)
    if config.to == "appengine":
        return replace(state, app=appengine.versions(gcloud) if "appengine" in state.apis else None)
    return replace(state, services=_services(config, gcloud, state.apis))


def _services(config: Config, gcloud: Gcloud, apis: frozenset[str]) -> dict[str, Service]:
    """What is deployed; a deployment that was interrupted here goes on there, and its end is waited for."""
    target = TARGETS[config.to]
    if not apis.issuperset(target.APIS):
        return {}
    deadline, told = time.monotonic() + MAX_WAIT, False
    while True:
        services: dict[str, Service] = target.services(gcloud, config)
        ours = {name: services[name] for name in config.names if name in services}
        if config.dry_run or not any(each.state == "DEPLOYING" for each in ours.values()):
            break
        if time.monotonic() > deadline:
            raise GcloudError("another deployment does not end: see 'gcloud functions list'")
        if not told:
            info("another deployment is under way: waiting for its end")
        told = True
        time.sleep(5)
    for name, service in ours.items():
        if service.url or service.latest:
            services[name] = replace(service, callers=queries.callers(gcloud, config, name))
    return services
