"""The error messages of deploy.sh, and that a second run completes an interrupted first one."""

import copy
import functools
import shutil
import threading
from pathlib import Path

import cloud
import pytest
from conftest import ROOT
from deployments import Deployment, change, changes, drive, pin, succeed, without_gcloud

from deploy import command_line, commands, release, source
from deploy.gcloud import Gcloud

# Faults before the first change.


def no_gcloud(google, _):
    google.settings["PATH"] = str(without_gcloud(Path(google.settings["CLOUDSDK_CONFIG"]) / "binaries"))


def old_gcloud(google, _):
    folder = Path(google.settings["CLOUDSDK_CONFIG"]) / "old"
    folder.mkdir()
    (folder / "gcloud").write_text('#!/bin/sh\necho \'{"Google Cloud SDK": "400.0.0"}\'\n')
    (folder / "gcloud").chmod(0o755)
    google.settings["PATH"] = f"{folder}:{google.settings['PATH']}"


def signed_out(google, _):
    google.settings["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = ""


def no_billing(google, _):
    google.billing = False


def other_project(google, _):
    google.settings["PROJECT_ID"] = "another-project"


def no_builder(google, _):
    google.builders_may_build = False


def dirty(_, folder):
    (folder / "README.md").write_text("changed")


def other_model(_, folder):
    (folder / "models" / pin(folder, "review")["file"]).write_bytes(b"other")


def no_model(_, folder):
    (folder / "models" / pin(folder, "review")["file"]).unlink()


def taken_bucket(google, _):
    google.taken.add(f"{google.project}-models")


def torn_model(google, folder):
    bucket = google.buckets[f"{google.project}-models"] = cloud.Bucket(f"{google.project}-models")
    bucket.objects[f"models/{pin(folder, 'review')['file']}"] = cloud.Object(b"torn", 1)


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (no_gcloud, "gcloud is not installed: see https://cloud.google.com/sdk/docs/install"),
        (old_gcloud, "gcloud 400.0.0 is too old: run 'gcloud components update'"),
        (signed_out, "you are not signed in: run 'gcloud auth login'"),
        (other_project, "another-project does not exist, or you may not read it: see 'gcloud projects list'"),
        (no_billing, "billing is off: run 'gcloud billing projects link demo-project"),
        (dirty, "the git tree is not clean: commit or stash"),
        (other_model, "is not the pinned file"),
        (no_builder, "roles/cloudbuild.builds.builder'"),
        (taken_bucket, "name another one with --bucket"),
        (torn_model, f"has 4 bytes, the pin says {pin(ROOT, 'review')['bytes']}: delete it"),
        (no_model, "nor in the bucket: run '.venv/dev/bin/python -m models.publish review"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_before_the_deployment_is_one_line(spoil, mend, google, changed):
    spoil(google, changed)
    run, done = drive(google, changed, "review")
    assert run.returncode == 1
    [line] = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert mend in line
    assert not google.functions
    # In a new project the APIs are off, so the permission to build cannot be checked.
    assert done == [] or spoil is no_builder


# Faults during a deployment.


def refuse(google, part, code=403, message="this is refused here"):
    google.refuse = lambda method, path: (code, message) if changes(method, path) and part in path else None


def no_space(google):
    google.fail_operation = "Build failed: no space"


def no_upload(google):
    refuse(google, "/upload/storage/")


def no_deployment(google):
    refuse(google, "/functions")


def no_opening(google):
    refuse(google, ":setIamPolicy")


def no_answer(google):
    google.on_deploy = lambda *_: "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_space, "Build failed: no space"),
        (no_upload, "permission"),
        (no_deployment, "this is refused here"),
        (no_opening, "this is refused here"),
        (no_answer, "see './deploy.sh logs review'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_during_the_deployment_is_reported_and_a_second_run_completes_it(
    spoil, message, google, answering, changed
):
    spoil(google)
    run, _ = drive(google, changed, "review", "--public", PATIENCE="0")
    assert run.returncode == 1
    assert message in run.stderr
    google.refuse = lambda *_: None
    google.on_deploy = lambda name, *_: answering[name]
    if spoil is no_answer:
        change(changed)
    succeed(google, changed, "review", "--public")
    everyone = [{"role": "roles/run.invoker", "members": ["allUsers"]}]
    assert google.runs["review"].policy["bindings"] == everyone


def test_an_account_that_is_not_known_everywhere_yet_is_waited_for(google, checkout):
    early = [(400, "Service account review-fn@demo-project.iam.gserviceaccount.com does not exist.")]
    google.refuse = lambda method, path: early.pop() if early and method == "PUT" and "/iam" in path else None
    succeed(google, checkout, "review")
    assert not early


def test_a_deployment_that_continues_after_an_interruption_is_waited_for(google, answering, checkout):
    begun, ended, looked = threading.Event(), threading.Event(), []

    def build(name, *_):
        begun.set()
        assert ended.wait(60)
        return answering[name]

    def look(_, path):
        """Let the operation end when it is polled for the second time."""
        if path.endswith("/functions"):
            looked.append(path)
            if len(looked) == 2:
                ended.set()

    google.on_deploy = build
    run = Deployment(checkout, "./deploy.sh", "review", **google.settings)
    assert begun.wait(60)
    run.stop()
    assert "interrupted: run it again" in run.end().stderr
    google.refuse = look
    again, done = succeed(google, checkout, "review")
    assert "waiting until it finishes" in again.stderr
    assert done == []


def state(google):
    """Return the state of the cloud, without what differs between runs."""
    functions = {
        name: (each["state"], each["labels"], each["serviceConfig"]["environmentVariables"])
        for name, each in google.functions.items()
    }
    runs = {name: (each.policy["bindings"], [*each.serving.values()]) for name, each in google.runs.items()}
    buckets = {name: (sorted(each.objects), each.policy["bindings"]) for name, each in google.buckets.items()}
    return functions, runs, buckets, sorted(google.accounts), sorted(google.services)


PARTS = ("functions", "runs", "buckets", "accounts", "services", "policy", "policies", "channels")


def saved(google):
    return copy.deepcopy({part: getattr(google, part) for part in PARTS})


def put_back(google, there):
    """Restore an earlier state of the cloud, so that it need not be built again."""
    for part, content in copy.deepcopy(there).items():
        setattr(google, part, content)


def interruptions(google, checkout, *command):
    """Run deploy.sh to its end, and return the state of the cloud before each call that changed it.

    This is the state that an interruption before that call leaves, because nothing is cleaned up.
    """
    states = []

    def look(method, path):
        if changes(method, path):
            states.append(saved(google))

    google.refuse = look
    succeed(google, checkout, *command)
    google.refuse = lambda *_: None
    return states


def test_a_deployment_can_be_interrupted_anywhere_and_run_again(google, checkout):
    command = ("review", "--public")
    states = interruptions(google, checkout, *command)
    whole = state(google)
    assert len(states) == 9
    for number, there in enumerate(states):
        put_back(google, there)
        assert state(google) != whole
        succeed(google, checkout, *command)
        assert state(google) == whole, f"after it was stopped before call {number}"


def test_a_canary_can_be_interrupted_anywhere_and_run_again(google, changed):
    succeed(google, changed, "review")
    old = google.runs["review"].latest
    change(changed)
    states = interruptions(google, changed, "review", "--canary", "20")
    assert len(states) == 5
    for number, there in enumerate(states):
        put_back(google, there)
        succeed(google, changed, "review", "--canary", "20")
        new = google.runs["review"].latest
        assert google.runs["review"].serving == {old: 80, new: 20}, f"stopped before call {number}"


def test_destroy_can_be_interrupted_anywhere_and_run_again(google, checkout):
    command = ("destroy", "--yes", "--with-bucket")
    succeed(google, checkout, "review")
    succeed(google, checkout, "alerts", "review", "--email", "a@example.com")
    states = interruptions(google, checkout, *command)
    assert len(states) == 8
    for there in states:
        put_back(google, there)
        succeed(google, checkout, *command)
        assert (google.functions, google.runs, google.buckets) == ({}, {}, {})
        assert (google.policies, google.channels) == ({}, {})
        assert f"review-fn@{google.project}.iam.gserviceaccount.com" not in google.accounts


# Possible outputs of gcloud.


@pytest.fixture
def recorded(google, checkout, tmp_path_factory):
    """The output of gcloud for each command of one deployment."""
    folder = tmp_path_factory.mktemp("recorded")
    script = f"""#!/bin/sh
{shutil.which("gcloud", path=google.settings["PATH"])} "$@" >{folder}/out
status=$?
cat {folder}/out
printf '%s\\0%s\\0' "$*" "$(cat {folder}/out)" >>{folder}/calls
exit $status
"""
    (folder / "gcloud").write_text(script)
    (folder / "gcloud").chmod(0o755)
    succeed(google, checkout, "review", PATH=f"{folder}:{google.settings['PATH']}")
    words = (folder / "calls").read_text().split("\0")[:-1]
    return list(zip(words[::2], words[1::2], strict=True))


BROKEN = ("<html>A proxy.</html>", '[{"name": "a"')
STRANGE = ("7", "[7]", '{"name": {"a": []}}')


def test_any_output_of_a_call_is_one_line_or_harmless(
    google, recorded, checkout, tmp_path, monkeypatch, capsys
):
    for module in (command_line, source):
        monkeypatch.setattr(module, "ROOT", checkout)
    monkeypatch.setattr(release, "STAGED", tmp_path / "stage")
    monkeypatch.setattr(source, "git", functools.cache(source.git))
    for name, value in {**google.settings, "PATIENCE": "0"}.items():
        monkeypatch.setenv(name, value)
    assert len(recorded) > 15
    for printed in (*BROKEN, *STRANGE):
        for place, (command, _) in enumerate(recorded):
            answers = [printed if number == place else answer for number, (_, answer) in enumerate(recorded)]
            monkeypatch.setattr(Gcloud, "text", lambda *_, left=answers, **__: left.pop(0))
            status = commands.main(["review"])
            stderr = capsys.readouterr().err
            assert "Traceback" not in stderr
            errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
            # Output that is not JSON is never accepted.
            refused = (status, len(errors)) == (1, 1)
            assert refused or (printed in STRANGE and not errors), (command, printed, stderr)
