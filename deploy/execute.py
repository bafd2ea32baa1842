"""Run the steps of a plan, or print them in a dry run."""

import time
from collections.abc import Callable, Sequence

from . import queries
from .config import Config
from .console import DeployError, info, print_command
from .gcloud import Gcloud, GcloudError
from .plan import Step

BACK_OFF = (2, 4, 8, 16)
"""Seconds between attempts: Google says that a new account may take a minute to be known everywhere."""


def execute(
    config: Config, gcloud: Gcloud, steps: Sequence[Step], wait: Callable[[float], None] = time.sleep
) -> None:
    """Run the steps, or print them in a dry run.

    Raises:
        DeployError: one fails; those after it are not run.
    """
    for step in steps:
        if config.dry_run:
            print_command((step.program, *step.command))
            continue
        arguments = step.command
        if step.latest_of:
            arguments = _with_latest(config, gcloud, step)
        words = [word for word in arguments[:4] if not word.startswith("-")]
        info(f"  {' '.join(words if step.program == 'gcloud' else [step.program, *words])}")
        _attempt(gcloud, arguments, step, wait)
        if step.note:
            info(step.note)


def _attempt(gcloud: Gcloud, arguments: tuple[str, ...], step: Step, wait: Callable[[float], None]) -> None:
    for seconds in (*(BACK_OFF if step.patient else ()), 0):
        try:
            (gcloud.bq if step.program == "bq" else gcloud).text(*arguments, changes=True)
            return
        except GcloudError as error:
            if not seconds or "does not exist" not in error.text:
                raise DeployError([f"{error}{': ' + step.hint if step.hint else ''}"]) from None
            wait(seconds)


def _with_latest(config: Config, gcloud: Gcloud, step: Step) -> tuple[str, ...]:
    """Return the command with the latest revision's name in place of `NEW`.

    Raises:
        DeployError: there is no new one.
    """
    name = step.latest_of
    service = queries.service(gcloud.one("run", "services", "describe", name, f"--region={config.region}"))
    if service.latest in service.traffic:
        raise DeployError([f"{name} has no new revision: see './deploy.sh logs {name}'"])
    return tuple(word.replace("NEW=", f"{service.latest}=") for word in step.command)
