"""Deploy a commit: inspect, check, plan, execute, smoke-test."""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import checks, plan, report, source, stage
from .config import ROOT, Config
from .console import DeployError, info
from .execute import execute
from .gcloud import Gcloud, GcloudError, text
from .inspection import TARGETS, check_gcloud, inspect, inspect_services
from .plan import Step
from .smoke_test import WrongAnswer, check_example, check_refusal, identity_token
from .source import Function
from .state import State
from .targets import appengine, functions

STAGED = ROOT / "build" / "stage"


def stage_for_any_host(config: Config, _: Gcloud) -> None:
    """Write the files of one function for another host; this needs no gcloud."""
    with tempfile.TemporaryDirectory() as unpacked:
        faults: list[str] = []
        selected = read_functions(config, Path(unpacked), faults)
        _raise_if_any(faults)
        stage.for_any_host(config, *selected)
    info(f"staged in {config.folder}")


def deploy(config: Config, gcloud: Gcloud) -> None:
    """Deploy what differs from the current state, then smoke-test each function."""
    with tempfile.TemporaryDirectory() as unpacked:
        faults: list[str] = []
        selected = read_functions(config, Path(unpacked), faults)
        state = _check_project(config, gcloud, selected, faults)
        if missing := plan.missing_apis(config, state):
            execute(config, gcloud, [plan.enable_apis(missing)])
            if not config.dry_run:  # read what could not be read while they were off
                state = inspect_services(config, gcloud, replace(state, apis=state.apis.union(missing)))
                _raise_if_any(map(str, checks.check_all(config, selected, state)))
        staged = [_stage(config, each, state) for each in selected]
        execute(config, gcloud, plan.create_bucket(config, state))
        for each in staged:
            _release(config, gcloud, each, state)


def read_functions(config: Config, unpacked: Path, faults: list[str]) -> list[Function]:
    """Read the functions of HEAD; add what is wrong with them to `faults`.

    Raises:
        SourceError: there is no HEAD.
    """
    source.commit()
    files = source.uncommitted()
    if files and config.allow_dirty:
        info(f"deploying HEAD without {', '.join(files)}")
    else:
        faults += source.uncommitted_faults(config.names, files)
    source.unpack(unpacked, "functions", "shared")
    read = []
    for name in config.names:
        if (unpacked / "functions" / name / "main.py").is_file():
            read.append(source.function(name, unpacked, STAGED / "models", faults.append))
        elif not any(f"functions/{name}/" in line for line in faults):
            faults.append(f"functions/{name} is not committed: commit functions/{name}")
    return [each for each in read if each is not None]


def _check_project(config: Config, gcloud: Gcloud, selected: Sequence[Function], faults: list[str]) -> State:
    """Check the project, and return its state; with `--fix`, fix failed checks first.

    Raises:
        DeployError: a check failed; one line for each.
    """
    try:
        check_gcloud(gcloud)
        state = inspect(config, gcloud)
        remote = checks.check_all(config, selected, state)
        fixes = [each.fix for each in remote if each.fix]
        if config.fix and fixes and not faults:
            execute(config, gcloud, fixes)
            if config.dry_run:
                remote = [each for each in remote if not each.fix]
            else:
                state = inspect(config, gcloud)
                remote = checks.check_all(config, selected, state)
    except GcloudError as error:
        raise DeployError([*faults, str(error)]) from None
    _raise_if_any([*faults, *map(str, remote)])
    return state


def _raise_if_any(faults: Iterable[str]) -> None:
    """Raise DeployError if there are faults."""
    if lines := [*faults]:
        raise DeployError(lines)


@dataclass(frozen=True)
class Staged:
    """A function, ready for upload; `source` is the fingerprint of its files and settings."""

    function: Function
    folder: Path
    source: str


def _stage(config: Config, function: Function, state: State) -> Staged:
    """Write the folder to upload, and the settings beside it."""
    folder = STAGED / function.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage.write(function, folder)
    settings = stage.yaml(stage.environment(config))
    folder.with_name(f"{function.name}.env.yaml").write_text(settings)
    if config.to == "appengine":
        service = appengine.service_of(function.name, state.app or ())
        (folder / "app.yaml").write_text(stage.app_yaml(config, function, service))
    options = (config.to, config.runtime, settings, *functions.settings(config, function))
    return Staged(function, folder, stage.fingerprint(folder, *options))


def _release(config: Config, gcloud: Gcloud, staged: Staged, state: State) -> None:
    function, name = staged.function, staged.function.name
    before = [*plan.publish(config, function, state), *plan.create_account(config, name, state)]
    execute(config, gcloud, before)
    if config.to == "appengine":
        url, shown = _release_version(config, gcloud, staged, state)
    else:
        service = state.services.get(name)
        labels = f"commit={source.commit()},source={staged.source}"
        deploy = TARGETS[config.to].deploy(config, function, staged.folder, labels, service)
        steps = plan.release(config, name, staged.source, deploy, service)
        if not steps:
            info(f"{name}: unchanged")
        change = plan.set_access(config, name, service)
        # A revision that does not verify its callers must never be public.
        execute(config, gcloud, [*steps, *change] if config.open else [*change, *steps])
        url = shown = "" if config.dry_run else _address(config, gcloud, name)
    if not config.dry_run:
        _smoke_test(config, gcloud, function, url)
        service = state.services.get(name)
        report.print_report(config, function, shown, service.callers if service else ())


def _release_version(config: Config, gcloud: Gcloud, staged: Staged, state: State) -> tuple[str, str]:
    """Deploy a version of an App Engine service; return the URLs of the version and of the service."""
    name, versions = staged.function.name, state.app or ()
    service = appengine.service_of(name, versions)
    version = f"{name}-{source.commit()}-{staged.source[:8]}"
    serving = [each for each in versions if (each.service, each.name, each.share) == (service, version, 1)]
    if serving:
        info(f"{name}: unchanged")
    else:
        execute(config, gcloud, [Step(appengine.deploy(config, staged.function, staged.folder, version))])
    if config.dry_run:
        return "", ""
    deployed = gcloud.one("app", "versions", "describe", version, f"--service={service}")
    shown = gcloud.one("app", "browse", f"--service={service}", "--no-launch-browser")
    return text(deployed, "versionUrl"), text(shown, "url")


def _address(config: Config, gcloud: Gcloud, name: str) -> str:
    service = gcloud.one("run", "services", "describe", name, f"--region={config.region}")
    return text(service, "status", "url")


def _smoke_test(config: Config, gcloud: Gcloud, function: Function, url: str) -> None:
    """Send the function its example, and check the answer."""
    name = function.name
    if not url:
        raise DeployError([f"{name} has no URL: see './deploy.sh logs {name}'"])
    split = config.canary is not None
    bearer = config.user_token if config.open else identity_token(config, gcloud, url)
    checked = config.sign_in or config.app_check
    try:
        if checked:
            check_refusal(url, function, config.patience, split)
        if checked and (config.app_check or not bearer):
            info(f"{name} refuses callers without a token; give --user-token to test a call with one")
            return
        warnings = check_example(url, bearer, function, config.patience, split)
    except WrongAnswer as error:
        back = "" if config.to == "appengine" else f", or go back with './deploy.sh rollback {name}'"
        raise DeployError(
            [f"{name} failed its smoke test ({error}): see './deploy.sh logs {name}'{back}"]
        ) from None
    for each in warnings:
        info(f"warning: {name} answered its example with a warning: {each}")
