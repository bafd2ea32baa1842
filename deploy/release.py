"""From a commit to addresses that answer: look, check, plan, do, ask."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from . import checks, plan, report, source, stage, there
from .answer import WrongAnswer, try_out
from .gcloud import Gcloud, GcloudError, text
from .options import ROOT, Wanted
from .plan import Step
from .say import Refused, command, say
from .source import Function
from .targets import appengine, functions, run
from .there import There

TARGETS: dict[str, ModuleType] = {"functions": functions, "run": run}
STAGED = ROOT / "build" / "stage"
WAITS = (2, 4, 8, 16)
"""Seconds between attempts with a new account: Google says it may take a minute until all servers know it."""
UNDER_WAY = 1800
"""Seconds that somebody else's deployment is waited for: no build may take longer."""


def stage_for_any_host(wanted: Wanted) -> None:
    """Write one function to a folder for another host."""
    with tempfile.TemporaryDirectory() as unpacked:
        [function] = _read(wanted, Path(unpacked))
        stage.for_any_host(wanted, function)
    say(f"staged in {wanted.folder}")


def deploy(wanted: Wanted, gcloud: Gcloud) -> None:
    """Deploy what differs from what is there, and ask each function for its example."""
    with tempfile.TemporaryDirectory() as unpacked:
        failures: list[str] = []
        found = _read(wanted, Path(unpacked), failures)
        state = _checked(wanted, gcloud, found, failures)
        if missing := plan.missing_apis(wanted, state):
            execute(wanted, gcloud, [plan.enable(missing)])
            if not wanted.dry_run:  # what could not be seen while they were off
                state = look_closer(wanted, gcloud, replace(state, apis=state.apis.union(missing)))
                _refuse(map(str, checks.everything(wanted, found, state)))
        staged = [_stage(wanted, each, state) for each in found]
        execute(wanted, gcloud, plan.make_bucket(wanted, state))
        for each in staged:
            _release(wanted, gcloud, each, state)


def _read(wanted: Wanted, unpacked: Path, failures: list[str] | None = None) -> list[Function]:
    """The functions as HEAD has them; faults are added to `failures`, or refused at once without it.

    Raises:
        Refused: something is wrong, and nobody collects it.
    """
    found: list[str] = []
    source.commit()
    files = source.uncommitted()
    if files and wanted.allow_dirty:
        say(f"HEAD is deployed, without {', '.join(files)}")
    else:
        found += source.dirty(wanted.names, files)
    source.unpack(unpacked)
    read = []
    for name in wanted.names:
        if (unpacked / "functions" / name / "main.py").is_file():
            read.append(source.function(name, unpacked, STAGED / "models", found.append))
        elif not any(f"functions/{name}/" in line for line in found):
            found.append(f"functions/{name} is not committed: commit functions/{name}")
    if failures is None:
        _refuse(found)
    else:
        failures += found
    return [each for each in read if each is not None]


def _checked(wanted: Wanted, gcloud: Gcloud, found: Sequence[Function], failures: list[str]) -> There:
    """What is there, if nothing stands in the way; with `--fix`, after what does has been mended.

    Raises:
        Refused: something does; each fault is a line.
    """
    try:
        tools(gcloud)
        state = look(wanted, gcloud)
        remote = checks.everything(wanted, found, state)
        fixes = [each.fix for each in remote if each.fix]
        if wanted.fix and fixes and not failures:
            execute(wanted, gcloud, fixes)
            if wanted.dry_run:
                remote = [each for each in remote if not each.fix]
            else:
                state = look(wanted, gcloud)
                remote = checks.everything(wanted, found, state)
    except GcloudError as error:
        raise Refused([*failures, str(error)]) from None
    _refuse([*failures, *map(str, remote)])
    return state


def _refuse(faults: Iterable[str]) -> None:
    """Go no further if there are any."""
    if lines := [*faults]:
        raise Refused(lines)


def tools(gcloud: Gcloud) -> None:
    """Check that gcloud is there and new enough.

    Raises:
        GcloudError: it is not.
    """
    version = gcloud.version()
    if int(version.partition(".")[0]) < checks.GCLOUD_NEEDED:
        raise GcloudError(
            f"gcloud {version} is too old: run 'gcloud components update' ({checks.GCLOUD_NEEDED} or newer)"
        )


def look(wanted: Wanted, gcloud: Gcloud) -> There:
    """Look at the project: what cannot be there while its API is off is not asked for."""
    number = there.project_number(gcloud)
    bucket, readers = there.bucket(gcloud, wanted.bucket)
    state = There(
        number=number,
        billing=there.billing(gcloud),
        apis=there.apis(gcloud),
        bucket=bucket,
        readers=readers,
        objects=there.objects(gcloud, wanted) if bucket == "there" else {},
    )
    return look_closer(wanted, gcloud, state)


def look_closer(wanted: Wanted, gcloud: Gcloud, state: There) -> There:
    """Look at what needs APIs."""
    builder, may_build = there.builder(gcloud, wanted, state.number, "cloudbuild" in state.apis)
    accounts = there.accounts(gcloud) if "iam" in state.apis else frozenset()
    state = replace(state, builder=builder, may_build=may_build, accounts=accounts)
    if wanted.to == "appengine":
        return replace(state, app=appengine.look(gcloud) if "appengine" in state.apis else None)
    return replace(state, services=_services(wanted, gcloud, state.apis))


def _services(wanted: Wanted, gcloud: Gcloud, apis: frozenset[str]) -> dict[str, there.Service]:
    """What is deployed; a deployment that was interrupted here goes on there, and its end is waited for."""
    target = TARGETS[wanted.to]
    if not apis.issuperset(target.APIS):
        return {}
    deadline, told = time.monotonic() + UNDER_WAY, False
    while True:
        services: dict[str, there.Service] = target.look(gcloud, wanted)
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
            services[name] = replace(service, callers=there.callers(gcloud, wanted, name))
    return services


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
        execute(wanted, gcloud, [*steps, *plan.open_or_close(wanted, name, service)])
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
    [shown] = gcloud.rows("app", "browse", f"--service={service}", "--no-launch-browser") or [{}]
    return text(found, "versionUrl"), text(shown, "url")


def _address(wanted: Wanted, gcloud: Gcloud, name: str) -> str:
    found = gcloud.one("run", "services", "describe", name, f"--region={wanted.region}")
    return text(found, "status", "url")


def token(wanted: Wanted, gcloud: Gcloud, url: str) -> str:
    """A token that opens a private function.

    Raises:
        GcloudError: there is none to be had.
    """
    more = []
    if wanted.invoker:
        more = [f"--impersonate-service-account={wanted.invoker}", f"--audiences={url}"]
    try:
        found = text(gcloud.one("auth", "print-identity-token", *more), "id_token")
    except GcloudError as error:
        raise GcloudError(
            f"no identity token ({error}): sign in with 'gcloud auth login', "
            "or name a service account with --invoker"
        ) from None
    if not found:
        raise GcloudError("gcloud auth print-identity-token: expected a token, got none: run it by hand")
    return found


def _try(wanted: Wanted, gcloud: Gcloud, function: Function, url: str) -> None:
    """Send one real request, whose answer must be the example's."""
    name = function.name
    if not url:
        raise Refused([f"{name} has no address: look at './deploy.sh logs {name}'"])
    bearer = "" if wanted.public else token(wanted, gcloud, url)
    try:
        warnings = try_out(url, bearer, function, wanted.patience, wanted.canary is not None)
    except WrongAnswer as error:
        back = "" if wanted.to == "appengine" else f", go back with './deploy.sh rollback {name}'"
        raise Refused(
            [f"{name} does not answer as it should ({error}): look at './deploy.sh logs {name}'{back}"]
        ) from None
    for each in warnings:
        say(f"warning: {name} answers its example with a warning: {each}")


def execute(
    wanted: Wanted, gcloud: Gcloud, steps: Sequence[Step], wait: Callable[[float], None] = time.sleep
) -> None:
    """Do the steps, or print them in a dry run.

    Raises:
        Refused: one fails; those after it are not done.
    """
    for step in steps:
        if wanted.dry_run:
            command(step.command)
            continue
        arguments = step.command
        if step.latest_of:
            arguments = _with_latest(wanted, gcloud, step)
        say(f"  {' '.join(word for word in arguments[:4] if not word.startswith('-'))}")
        _attempt(gcloud, arguments, step, wait)
        if step.note:
            say(step.note)


def _attempt(gcloud: Gcloud, arguments: tuple[str, ...], step: Step, wait: Callable[[float], None]) -> None:
    for seconds in (*(WAITS if step.patient else ()), 0):
        try:
            gcloud(*arguments, changes=True)
            return
        except GcloudError as error:
            if not seconds or "does not exist" not in error.text:
                raise Refused([f"{error}{': ' + step.hint if step.hint else ''}"]) from None
            wait(seconds)


def _with_latest(wanted: Wanted, gcloud: Gcloud, step: Step) -> tuple[str, ...]:
    """The command with the name of the latest revision for `NEW`.

    Raises:
        Refused: there is no new one.
    """
    name = step.latest_of
    found = there.service(gcloud.one("run", "services", "describe", name, f"--region={wanted.region}"))
    if found.latest in found.traffic:
        raise Refused([f"{name} has no new revision: look at './deploy.sh logs {name}'"])
    return tuple(word.replace("NEW=", f"{found.latest}=") for word in step.command)
