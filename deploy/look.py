"""Looking at a project: all that a deployment must know, before anything is decided."""

import time
from dataclasses import replace
from types import ModuleType

from . import queries
from .gcloud import Gcloud, GcloudError
from .say import say
from .targets import appengine, functions, run
from .there import Service, There
from .wanted import Wanted

TARGETS: dict[str, ModuleType] = {"functions": functions, "run": run}
GCLOUD_NEEDED = 515
"""The first release whose `gcloud run deploy` has all that --to run needs."""
UNDER_WAY = 1800
"""Seconds that somebody else's deployment is waited for: no build may take longer."""


def tools(gcloud: Gcloud) -> None:
    """Check that gcloud is there and new enough.

    Raises:
        GcloudError: it is not.
    """
    version = gcloud.version()
    if int(version.partition(".")[0]) < GCLOUD_NEEDED:
        raise GcloudError(
            f"gcloud {version} is too old: run 'gcloud components update' ({GCLOUD_NEEDED} or newer)"
        )


def look(wanted: Wanted, gcloud: Gcloud) -> There:
    """Look at the project: what cannot be there while its API is off is not asked for."""
    number = queries.project_number(gcloud)
    bucket, readers = queries.bucket(gcloud, wanted.bucket)
    state = There(
        number=number,
        billing=queries.billing(gcloud),
        apis=queries.apis(gcloud),
        bucket=bucket,
        readers=readers,
        objects=queries.stored(gcloud, wanted) if bucket == "there" else {},
    )
    return look_closer(wanted, gcloud, state)


def look_closer(wanted: Wanted, gcloud: Gcloud, state: There) -> There:
    """Look at what needs APIs."""
    builder, may_build = queries.builder(gcloud, wanted, state.number, "cloudbuild" in state.apis)
    accounts = queries.accounts(gcloud) if "iam" in state.apis else frozenset()
    state = replace(state, builder=builder, may_build=may_build, accounts=accounts)
    if wanted.to == "appengine":
        return replace(state, app=appengine.look(gcloud) if "appengine" in state.apis else None)
    return replace(state, services=_services(wanted, gcloud, state.apis))


def _services(wanted: Wanted, gcloud: Gcloud, apis: frozenset[str]) -> dict[str, Service]:
    """What is deployed; a deployment that was interrupted here goes on there, and its end is waited for."""
    target = TARGETS[wanted.to]
    if not apis.issuperset(target.APIS):
        return {}
    deadline, told = time.monotonic() + UNDER_WAY, False
    while True:
        services: dict[str, Service] = target.look(gcloud, wanted)
        ours = {name: services[name] for name in wanted.names if name in services}
        if wanted.dry_run or not any(each.state == "DEPLOYING" for each in ours.values()):
            break
        if time.monotonic() > deadline:
            raise GcloudError("another deployment does not end: see 'gcloud functions list'")
        if not told:
            say("another deployment is under way: waiting for its end")
        told = True
        time.sleep(5)
    for name, service in ours.items():
        if service.url or service.latest:
            services[name] = replace(service, callers=queries.callers(gcloud, wanted, name))
    return services
