"""Delete what was created for the functions of one region, except what something else still uses.

A function's service account, and its right to read the bucket, belong to the project: the same function in
another region, or on App Engine, uses them too. The bucket belongs to all functions.
"""

from collections.abc import Iterator
from dataclasses import replace

from . import alerts, inspection, plan, queries
from .bigquery import commands as bigquery
from .config import Config
from .console import DeployError, info
from .execute import execute
from .gcloud import Gcloud
from .plan import Step
from .state import State, Workload


def destroy(config: Config, gcloud: Gcloud) -> None:
    """Delete the functions of this region and target, after asking."""
    state = _inspect(config, gcloud)
    deletions = [*_deletions(config, gcloud, state)]
    if deletions:
        info(f"this deletes in {config.project}, {config.region}:")
    else:
        info(f"there is nothing to delete in {config.project}, {config.region}")
    for line, _ in deletions:
        info(f"  {line}")
    for line in _kept(config, state):
        info(f"  kept: {line}")
    if deletions and not config.dry_run and not config.yes:
        _confirm(config)
    execute(config, gcloud, [step for _, step in deletions])


def _inspect(config: Config, gcloud: Gcloud) -> State:
    state = inspection.inspect_deployed(config, gcloud)
    bucket, readers = queries.bucket(gcloud, config.bucket)
    accounts = queries.accounts(gcloud) if "iam" in state.apis else frozenset()
    deleted = {(name, config.region) for name in config.names if _is_ours(state, name)}
    workloads = inspection.workloads(gcloud, state.apis)
    others = tuple(each for each in workloads if (each.name, each.place) not in deleted)
    return replace(state, bucket=bucket, readers=readers, accounts=accounts, others=others)


def _is_ours(state: State, name: str) -> bool:
    """Return whether a function is deployed to this target, and not to the other one under its name."""
    return name in state.services and not state.services[name].owner


def _deletions(config: Config, gcloud: Gcloud, state: State) -> Iterator[tuple[str, Step]]:
    """Yield a line and a step for each thing to delete.

    A function's account comes last, so that a run after an interruption finds the rest.
    """
    # Alerts and SQL functions of a name that is deployed to the other target are that one's.
    names = [name for name in config.names if name not in state.services or _is_ours(state, name)]
    policies, channels = alerts.to_delete(config, gcloud, state, names)
    connections = bigquery.created(config, gcloud, state)
    for name in names:
        for connection in connections:
            yield from bigquery.to_delete(config, gcloud.bq, name, *connection)
        yield from map(alerts.delete_policy, (each for each in policies if alerts.function_of(each) == name))
        if _is_ours(state, name):
            target = inspection.TARGETS[config.to]
            yield f"{target.KIND} {name}", Step(target.delete(config, name))
        yield from plan.remove_account(config, name, state)
    yield from map(alerts.delete_channel, channels)
    if config.with_bucket and state.bucket == "there" and not state.readers_of(config.bucket):
        yield (
            f"bucket gs://{config.bucket} with all its models",
            Step(("storage", "rm", "--recursive", f"gs://{config.bucket}")),
        )


def _kept(config: Config, state: State) -> Iterator[str]:
    """Yield a line for each thing that stays because something else uses it."""
    for name in config.names:
        account = config.account(name)
        if account in state.accounts and (users := state.users_of(account)):
            yield f"service account {account}, for {_listed(users)}"
    if config.with_bucket and state.bucket == "there" and (users := state.readers_of(config.bucket)):
        yield f"bucket gs://{config.bucket}, for {_listed(users)}"


def _listed(workloads: tuple[Workload, ...]) -> str:
    return ", ".join(f"{each.name} in {each.place}" for each in workloads)


def _confirm(config: Config) -> None:
    info("type the project's ID to continue:")
    try:
        answer = input()
    except EOFError:
        answer = ""
    if answer != config.project:
        raise DeployError(["nothing was deleted"])
