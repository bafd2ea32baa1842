"""From a commit to addresses that answer: look, check, plan, do, ask."""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import checks, plan, report, source, stage
from .answer import WrongAnswer, token, try_out, try_unproven
from .execute import execute
from .gcloud import Gcloud, GcloudError, text
from .look import TARGETS, look, look_closer, tools
from .plan import Step
from .say import Refused, say
from .source import Function
from .targets import appengine, functions
from .there import There
from .wanted import ROOT, Wanted

STAGED = ROOT / "build" / "stage"


def stage_for_any_host(wanted: Wanted) -> None:
    """Write one function to a folder for another host."""
    with tempfile.TemporaryDirectory() as unpacked:
        faults: list[str] = []
        found = _read(wanted, Path(unpacked), faults)
        _refuse(faults)
        stage.for_any_host(wanted, *found)
    say(f"staged in {wanted.folder}")


def deploy(wanted: Wanted, gcloud: Gcloud) -> None:
    """Deploy what differs from what is there, and ask each function for its example."""
    with tempfile.TemporaryDirectory() as unpacked:
        faults: list[str] = []
        found = _read(wanted, Path(unpacked), faults)
        state = _checked(wanted, gcloud, found, faults)
        if missing := plan.missing_apis(wanted, state):
            execute(wanted, gcloud, [plan.enable(missing)])
            if not wanted.dry_run:  # what could not be seen while they were off
                state = look_closer(wanted, gcloud, replace(state, apis=state.apis.union(missing)))
                _refuse(map(str, checks.everything(wanted, found, state)))
        staged = [_stage(wanted, each, state) for each in found]
        execute(wanted, gcloud, plan.make_bucket(wanted, state))
        for each in staged:
            _release(wanted, gcloud, each, state)


def _read(wanted: Wanted, unpacked: Path, faults: list[str]) -> list[Function]:
    """The functions as HEAD has them; what is wrong is added to `faults`.

    Raises:
        SourceError: there is no HEAD.
    """
    source.commit()
    files = source.uncommitted()
    if files and wanted.allow_dirty:
        say(f"HEAD is deployed, without {', '.join(files)}")
    else:
        faults += source.dirty(wanted.names, files)
    source.unpack(unpacked)
    read = []
    for name in wanted.names:
        if (unpacked / "functions" / name / "main.py").is_file():
            read.append(source.function(name, unpacked, STAGED / "models", faults.append))
        elif not any(f"functions/{name}/" in line for line in faults):
            faults.append(f"functions/{name} is not committed: commit functions/{name}")
    return [each for each in read if each is not None]


def _checked(wanted: Wanted, gcloud: Gcloud, found: Sequence[Function], faults: list[str]) -> There:
    """What is there, if nothing stands in the way; with `--fix`, after what does has been mended.

    Raises:
        Refused: something does; each fault is a line.
    """
    try:
        tools(gcloud)
        state = look(wanted, gcloud)
        remote = checks.everything(wanted, found, state)
        fixes = [each.fix for each in remote if each.fix]
        if wanted.fix and fixes and not faults:
            execute(wanted, gcloud, fixes)
            if wanted.dry_run:
                remote = [each for each in remote if not each.fix]
            else:
                state = look(wanted, gcloud)
                remote = checks.everything(wanted, found, state)
    except GcloudError as error:
        raise Refused([*faults, str(error)]) from None
    _refuse([*faults, *map(str, remote)])
    return state


def _refuse(faults: Iterable[str]) -> None:
    """Go no further if there are any."""
    if lines := [*faults]:
        raise Refused(lines)


@dataclass(frozen=True)
class Staged:
    """A function, ready to be uploaded; `source` names what it is and how it is set."""

    function: Function
    folder: Path
    source: str


def _stage(wanted: Wanted, function: Function, state: There) -> Staged:
    """Write the folder that is uploaded, and the settings beside it."""
    folder = STAGED / function.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage.write(function, folder)
    settings = stage.yaml(stage.environment(wanted))
    folder.with_name(f"{function.name}.env.yaml").write_text(settings)
    if wanted.to == "appengine":
        service = appengine.service_of(function.name, state.app or ())
        (folder / "app.yaml").write_text(stage.app_yaml(wanted, function, service))
    options = (wanted.to, wanted.runtime, settings, *functions.settings(wanted, function))
    return Staged(function, folder, stage.fingerprint(folder, *options))


def _release(wanted: Wanted, gcloud: Gcloud, staged: Staged, state: There) -> None:
    function, name = staged.function, staged.function.name
    before = [*plan.publish(wanted, function, state), *plan.identity(wanted, name, state)]
    execute(wanted, gcloud, before)
    if wanted.to == "appengine":
        url, shown = _release_version(wanted, gcloud, staged, state)
    else:
        service = state.services.get(name)
        labels = f"commit={source.commit()},source={staged.source}"
        deploy = TARGETS[wanted.to].deploy(wanted, function, staged.folder, labels, service)
        steps = plan.release(wanted, name, staged.source, deploy, service)
        if not steps:
            say(f"{name}: unchanged")
        change = plan.open_or_close(wanted, name, service)
        # At no moment may anyone call what does not check its callers.
        execute(wanted, gcloud, [*steps, *change] if wanted.open else [*change, *steps])
        url = shown = "" if wanted.dry_run else _address(wanted, gcloud, name)
    if not wanted.dry_run:
        _try(wanted, gcloud, function, url)
        service = state.services.get(name)
        report.deployed(wanted, function, shown, service.callers if service else ())


def _release_version(wanted: Wanted, gcloud: Gcloud, staged: Staged, state: There) -> tuple[str, str]:
    """Deploy a version of an App Engine service; its own address, and the service's."""
    name, versions = staged.function.name, state.app or ()
    service = appengine.service_of(name, versions)
    version = f"{name}-{source.commit()}-{staged.source[:8]}"
    serving = [each for each in versions if (each.service, each.name, each.share) == (service, version, 1)]
    if serving:
        say(f"{name}: unchanged")
    else:
        execute(wanted, gcloud, [Step(appengine.deploy(wanted, staged.function, staged.folder, version))])
    if wanted.dry_run:
        return "", ""
    found = gcloud.one("app", "versions", "describe", version, f"--service={service}")
    shown = gcloud.one("app", "browse", f"--service={service}", "--no-launch-browser")
    return text(found, "versionUrl"), text(shown, "url")


def _address(wanted: Wanted, gcloud: Gcloud, name: str) -> str:
    found = gcloud.one("run", "services", "describe", name, f"--region={wanted.region}")
    return text(found, "status", "url")


def _try(wanted: Wanted, gcloud: Gcloud, function: Function, url: str) -> None:
    """Send one real request, whose answer must be the example's."""
    name = function.name
    if not url:
        raise Refused([f"{name} has no address: look at './deploy.sh logs {name}'"])
    split = wanted.canary is not None
    bearer = wanted.user_token if wanted.open else token(wanted, gcloud, url)
    checked = wanted.sign_in or wanted.app_check
    try:
        if checked:
            try_unproven(url, function, wanted.patience, split)
        if checked and (wanted.app_check or not bearer):
            say(f"{name} refuses callers without a token; with one it was not tried (see --user-token)")
            return
        warnings = try_out(url, bearer, function, wanted.patience, split)
    except WrongAnswer as error:
        back = "" if wanted.to == "appengine" else f", go back with './deploy.sh rollback {name}'"
        raise Refused(
            [f"{name} does not answer as it should ({error}): look at './deploy.sh logs {name}'{back}"]
        ) from None
    for each in warnings:
        say(f"warning: {name} answers its example with a warning: {each}")
