"""deploy.sh without a cloud: its refusals, its plans, and the folder that it stages for any host."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import FUNCTIONS, ROOT, commit
from deployments import changed_pin, check_served, configured, deploy, without_gcloud
from processes import running

from deploy import checks, log_summary, plan, report, sizes, smoke_test, source, stage
from deploy.gcloud import Gcloud, GcloudError
from deploy.options import OPTIONS
from deploy.state import Service, State, Version, Workload
from deploy.targets import appengine, functions, run
from shared.example import Example
from shared.pin import FORMATS, PACKAGES, Pin

# Invalid commands and settings.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["malarai"], "there is no function or command malarai"),
        (["--pubic"], "there is no option --pubic"),
        (["--region"], "--region needs a value"),
        (["--region", "Europe"], "--region: expected a region such as europe-west1, got 'Europe'"),
        (["all", "--cpu", "0"], "--cpu: expected a whole number, got '0'"),
        (["all", "--memory", "lots"], "--memory: expected a size such as 512Mi or 2Gi, got 'lots'"),
        (["all", "--timeout", "3601"], "--timeout: at most 3600, got '3601'"),
        (["all", "--canary", "100"], "--canary: expected 1 to 99 percent"),
        (["all", "--origins", "example.org"], "ALLOWED_ORIGINS: expected *"),
        (["all", "--min-instances", "9"], "--min-instances is larger than --max-instances"),
        (["all", "--to", "lambda"], "expected functions, run or appengine"),
        (["all", "--to", "appengine", "--public"], "--to appengine needs the name of one function"),
        (["review", "--to", "appengine"], "an App Engine app is open to anyone: give --public"),
        (["all", "--public", "--sign-in", "firebase:my-project"], "give one of them"),
        (["all", "--sign-in", "my-project"], "SIGN_IN: expected firebase:PROJECT_ID or oidc"),
        (["all", "--sign-in", "oidc:https://x.org/"], "SIGN_IN_AUDIENCE: expected"),
        (["all", "--sign-in-allow", "uid:a"], "SIGN_IN_ALLOW: set SIGN_IN too"),
        (["all", "--public", "--rate-limit", "60"], "RATE_LIMIT: expected a rate such as 60/min"),
        (["status", "--to", "appengine"], "status is for functions and run"),
        (["rollback"], "rollback needs the name of a function"),
        (["alerts", "review"], "alerts needs an address: --email ADDRESS"),
        (["github", "models"], "github needs a repository, as OWNER/REPO"),
        (["stage", "review"], "stage needs the name of a function and a folder"),
        (["review", "malaria"], "unexpected: malaria"),
    ],
)
def test_an_invalid_command_is_refused_with_a_hint(arguments, message):
    run = deploy(ROOT, *arguments, PROJECT_ID="my-project")
    assert run.returncode == 2
    assert message in run.stderr
    assert "--help" in run.stderr
    assert run.stderr.count("\n") == 1
    assert not run.stdout


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PROJECT_ID", "", "PROJECT_ID: expected a project's ID"),
        ("PUBLIC", "yes", "PUBLIC: expected 0 or 1, got 'yes'"),
        ("CPU", "two", "CPU: expected a whole number, got 'two'"),
        ("BUCKET", "My_Bucket!", "BUCKET: expected the name of a bucket"),
    ],
)
def test_an_invalid_setting_is_refused_too(variable, value, message):
    run = deploy(ROOT, **{"PROJECT_ID": "my-project", variable: value})
    assert run.returncode == 2
    assert message in run.stderr


def test_help_names_every_option_and_its_variable():
    run = deploy(ROOT, "--help")
    assert run.returncode == 0
    for each in OPTIONS:
        assert f"  {each.flag} " in run.stdout
        assert each.variable in run.stdout
    for command in ("status", "rollback", "logs", "alerts", "destroy", "stage", "github"):
        assert f"  {command}" in run.stdout


def test_an_option_defaults_to_its_environment_variable():
    environment = {"PROJECT_ID": "my-project", "REGION": "us-east1", "PUBLIC": "1", "CPU": ""}
    assert configured("review", **environment).region == "us-east1"
    assert configured("review", "--region", "us-west1", **environment).region == "us-west1"
    assert configured("review", **environment).public
    assert configured("review", **environment).bucket == "my-project-models"
    assert configured("stage", "review", "x", **environment).bucket == ""
    assert configured(**environment).names == tuple(FUNCTIONS)


def test_the_runtime_is_the_python_that_is_checked_for():
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
    assert configured("review", PROJECT_ID="my-project").runtime == f"python{checked.replace('.', '')}"


def test_it_needs_a_python_that_is_new_enough(tmp_path):
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    run = subprocess.run(
        [ROOT / "deploy.sh"], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "older than 3.11" in run.stderr


def test_it_runs_from_any_folder_and_leaves_nothing_in_the_checkout(tmp_path, checkout):
    (tmp_path / "deploy.py").write_text("raise SystemExit('the wrong module')")
    command = [checkout / "deploy.sh", "--help"]
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert not list(checkout.rglob("__pycache__"))


def test_it_needs_no_environment(checkout, tmp_path):
    # Without `site`, only the standard library can be imported.
    command = [sys.executable, "-S", "-B", checkout / "deploy", "stage", "review", tmp_path / "staged"]
    run = subprocess.run(
        command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


# Memory and packages of a model.


def pinned(form, size=1 << 20, **more):
    """A pin of a format and a size."""
    content = {"file": "x/x.bin", "sha256": "0" * 64, "bytes": size, "format": form, "version": "1"}
    return Pin.parse({**content, "labels": ["No", "Yes"], **more})


@pytest.mark.parametrize(
    ("form", "size", "memory"),
    [
        ("tflite", 1 << 20, 512),
        ("tflite", 100 << 20, 1024),
        ("linear", 2 << 20, 512),
        ("joblib", 1 << 20, 512),
        ("joblib", 100 << 20, 2048),
        ("keras", 1 << 20, 1024),
        ("h5", 90 << 20, 2048),
        ("keras", 1 << 30, 8192),
    ],
)
def test_memory_is_chosen_by_format_and_size(form, size, memory):
    assert sizes.required_memory(pinned(form, size)) == memory
    assert sizes.parse_size(sizes.format_size(memory)) == memory


def test_every_format_has_its_memory_and_its_package():
    for table in (sizes.RESIDENT, sizes.COPIES, PACKAGES):
        assert set(table) == set(FORMATS)


def test_more_workers_need_more_memory_and_more_memory_needs_more_cpus():
    assert sizes.required_memory(pinned("keras"), workers=2) == 2048
    assert [sizes.cpus(memory) for memory in (512, 4096, 8192, 16384, 32768)] == [1, 1, 2, 4, 8]
    with pytest.raises(ValueError, match="instances have 32,768 at most"):
        sizes.required_memory(pinned("keras", 20 << 30))


# Plans, as data.

PROJECT = {"PROJECT_ID": "demo-project"}
UPDATE = ("run", "services", "update-traffic", "review", "--region=europe-west1")


@pytest.fixture
def review(tmp_path):
    """The function `review`, read from HEAD."""
    folder = ROOT / "functions" / "review"
    return source.Function(
        "review", Pin.read(folder / "model.json"), Example.read(folder), folder, tmp_path / "m"
    )


def there(**more):
    """A correctly configured project."""
    return State(**{"number": "1", "apis": frozenset({"run", "cloudbuild"}), "bucket": "there", **more})


def faults(review, *arguments, **more):
    return [
        str(each)
        for each in checks.check_all(configured("review", *arguments, **PROJECT), [review], there(**more))
    ]


def test_a_correct_project_has_no_fault(review):
    assert faults(review) == []


def test_all_faults_are_listed_with_their_remedies(review):
    object_name = f"models/{review.pin.file}"
    found = faults(
        review,
        *("--canary", "20", "--memory", "8Gi", "--cpu", "1"),
        billing=False,
        builder="builder@x",
        may_build=False,
        objects={object_name: 4},
    )
    assert [re.sub(r"^gs://\S+", "gs://", line).split(" ")[0] for line in found] == [
        "billing",
        "the",
        "gs://",
        "review:",
        "review",
    ]
    assert "gcloud billing projects link demo-project" in found[0]
    assert "--role=roles/cloudbuild.builds.builder" in found[1]
    assert f"has 4 bytes, the pin says {review.pin.bytes}" in found[2]
    assert f"run 'gcloud storage rm gs://demo-project-models/{object_name}'" in found[2]
    assert "8Gi of memory need 2 CPUs: give --cpu 2" in found[3]
    assert "leave --canary out" in found[4]


@pytest.mark.parametrize(
    ("more", "arguments", "message"),
    [
        ({"bucket": "taken"}, (), "name another one with --bucket"),
        ({"billing": "no permission"}, (), "gcloud services enable cloudbilling.googleapis.com"),
        ({"may_build": "no permission"}, (), "roles/resourcemanager.projectIamAdmin"),
        (
            {"services": {"review": Service(owner="cloudfunctions")}},
            ("--to", "run"),
            "already exists as a function",
        ),
        ({"services": {"review": Service(owner="run")}}, (), "already exists as a Cloud Run service"),
        ({}, ("--cpu", "3"), "expected 1, 2, 4 or 8 CPUs"),
        ({}, ("--cpu", "4", "--memory", "1Gi"), "4 CPUs need 2Gi of memory"),
        ({"apis": frozenset({"appengine"})}, ("--to", "appengine", "--public"), "gcloud app create"),
        (
            {"apis": frozenset({"appengine"}), "app": ()},
            ("--to", "appengine", "--public", "--memory", "4Gi"),
            "at most 3072 MB",
        ),
    ],
)
def test_a_fault_names_its_remedy(review, more, arguments, message):
    [fault] = faults(review, *arguments, **more)
    assert message in fault


def test_what_cannot_be_checked_without_the_apis_is_not_a_fault(review):
    assert faults(review, may_build=False, apis=frozenset()) == []
    assert faults(review, "--to", "appengine", "--public", apis=frozenset()) == []


def test_a_missing_model_must_be_published_first(review):
    gone = dataclasses.replace(review, model=None)
    [fault] = faults(gone)
    assert "is neither in models/ nor in the bucket: run '.venv/dev/bin/python -m" in fault
    assert "-m models.publish review FILE --store gs://" in fault
    assert faults(gone, objects={f"models/{review.pin.file}": review.pin.bytes}) == []


def commands(steps):
    return [each.command for each in steps]


def released(service, *arguments, source="new"):
    return commands(
        plan.release(configured("review", *arguments, **PROJECT), "review", source, ("deploy",), service)
    )


OLD = Service(state="ACTIVE", source="old", traffic={"a": 100}, latest="a")
SPLIT = Service(state="ACTIVE", source="new", traffic={"a": 80, "b": 20}, latest="b", follows_latest=False)


@pytest.mark.parametrize(
    ("service", "arguments", "steps"),
    [
        (None, (), [("deploy",)]),
        (OLD, (), [("deploy",)]),
        (dataclasses.replace(OLD, source="new"), (), []),
        (dataclasses.replace(OLD, source="new", state="FAILED"), (), [("deploy",)]),
        (SPLIT, (), [(*UPDATE, "--to-latest")]),
        (SPLIT, ("--canary", "60"), [(*UPDATE, "--to-revisions=b=60,a=40")]),
        (dataclasses.replace(SPLIT, source="old"), ("--to", "run"), [("deploy",), (*UPDATE, "--to-latest")]),
        (
            OLD,
            ("--canary", "20"),
            [(*UPDATE, "--to-revisions=a=100"), ("deploy",), (*UPDATE, "--to-revisions=NEW=20,a=80")],
        ),
    ],
)
def test_a_release_has_only_the_missing_steps(service, arguments, steps):
    assert released(service, *arguments) == steps


USERS = ("--sign-in", "firebase:demo-project")


def test_a_function_with_sign_in_is_made_public_only_on_request(review):
    open_to_users = {"review": dataclasses.replace(OLD, settings={"SIGN_IN": USERS[1]})}
    [fault] = faults(review, "--public", services=open_to_users)
    assert "give --sign-in firebase:demo-project instead, or deploy once without --public" in fault
    assert not faults(review, services=open_to_users)
    assert not faults(review, *USERS, services=open_to_users)
    unchecked = {"review": OLD}
    assert not faults(review, *USERS, services=unchecked)
    [fault] = faults(review, *USERS, "--canary", "20", services=unchecked)
    assert "leave --canary out" in fault


def test_the_settings_of_sign_in_reach_the_function_and_the_report(review):
    options = configured(
        "review", *USERS, "--sign-in-allow", "domain:example.org", "--rate-limit", "9/s", **PROJECT
    )
    settings = stage.environment(options)
    assert {name: settings[name] for name in ("SIGN_IN", "SIGN_IN_ALLOW", "RATE_LIMIT")} == {
        "SIGN_IN": "firebase:demo-project",
        "SIGN_IN_ALLOW": "domain:example.org",
        "RATE_LIMIT": "9/s",
    }
    assert not {"SIGN_IN", "APP_CHECK", "RATE_LIMIT"} & {*stage.environment(configured("review", **PROJECT))}
    assert report.who_may_call(options, ()) == "users of firebase:demo-project (domain:example.org)"
    assert "Bearer $USER_TOKEN" in report.calls(options, review, "https://x")[0]


def test_the_invoker_policy_is_changed_only_if_it_differs():
    for arguments, callers, verb in (
        ((), (), None),
        (("--public",), (), "add"),
        (("--public",), ("allUsers",), None),
        (USERS, (), "add"),
        (USERS, ("allUsers",), None),
        ((), ("allUsers", "user:me"), "remove"),
    ):
        service = Service(callers=callers)
        steps = commands(plan.set_access(configured("review", *arguments, **PROJECT), "review", service))
        assert [step[2].partition("-")[0] for step in steps] == ([verb] if verb else [])


def test_existing_resources_are_not_created_again(review):
    options = configured("review", **PROJECT)
    account = options.account("review")
    whole = there(
        apis=frozenset(plan.APIS),
        accounts=frozenset({account}),
        readers=frozenset({f"serviceAccount:{account}"}),
        objects={f"models/{review.pin.file}": review.pin.bytes},
    )
    for state, count in ((whole, 0), (there(bucket="missing"), 5)):
        steps = [plan.enable_apis(missing)] if (missing := plan.missing_apis(options, state)) else []
        steps += plan.create_bucket(options, state)
        steps += [*plan.publish(options, review, state), *plan.create_account(options, "review", state)]
        assert len(steps) == count


REVIEW_ACCOUNT = "review-fn@demo-project.iam.gserviceaccount.com"
STORE = "gs://demo-project-models/models"


@pytest.mark.parametrize(
    ("others", "steps", "bucket_readers"),
    [
        ([], [("storage", "buckets"), ("iam", "service-accounts")], 0),
        ([Workload("review", "us-east1", REVIEW_ACCOUNT, STORE)], [], 1),
        (
            [Workload("review", "us-east1", REVIEW_ACCOUNT, "gs://another/models")],
            [("storage", "buckets")],
            0,
        ),
        ([Workload("review-1", "App Engine", REVIEW_ACCOUNT)], [], 1),
        (
            [Workload("other", "us-east1", "other@x", STORE), Workload("strange", "us-east1", "strange@x")],
            [("storage", "buckets"), ("iam", "service-accounts")],
            1,
        ),
    ],
    ids=["nothing else", "another region", "another bucket", "App Engine", "other accounts"],
)
def test_destroy_keeps_the_account_the_role_and_the_bucket_while_something_else_uses_them(
    others, steps, bucket_readers
):
    state = there(
        accounts=frozenset({REVIEW_ACCOUNT}),
        readers=frozenset({f"serviceAccount:{REVIEW_ACCOUNT}"}),
        others=tuple(others),
    )
    planned = plan.remove_account(configured("destroy", **PROJECT), "review", state)
    assert [step.command[:2] for _, step in planned] == steps
    assert len(state.readers_of("demo-project-models")) == bucket_readers


def test_each_target_gets_the_same_settings(review, tmp_path):
    options = configured("review", "--cpu", "2", "--concurrency", "2", "--memory", "1Gi", **PROJECT)
    asked = {
        "--memory=1Gi",
        "--cpu=2",
        "--concurrency=2",
        "--min-instances=0",
        "--max-instances=4",
        "--timeout=60",
    }
    for target in (functions, run):
        new = target.deploy(options, review, tmp_path, "commit=c,source=s", None)
        assert {*new} >= asked | {"--no-allow-unauthenticated"}
        assert "--no-allow-unauthenticated" not in target.deploy(options, review, tmp_path, "", OLD)
    settings = stage.environment(options)
    assert (settings["THREADS"], settings["WORKERS"], settings["REQUEST_SECONDS"]) == ("2", "2", "50")


def test_the_request_timeout_is_shorter_than_the_platforms():
    assert stage.environment(configured("review", "--timeout", "30", **PROJECT))["REQUEST_SECONDS"] == "25"


def test_the_first_service_of_app_engine_is_the_first_functions():
    first = Version("default", "review-1", 1, "")
    assert appengine.service_of("review", ()) == "default"
    assert appengine.service_of("review", (first,)) == "default"
    assert appengine.service_of("malaria", (first,)) == "malaria"


def test_the_report_after_a_deployment(review):
    options = configured("review", "--min-instances", "1", "--to", "run", **PROJECT)
    [call, _] = report.calls(options, review, "https://x")
    assert "Authorization: Bearer" in call
    assert json.dumps({"instances": [review.example.input]}) in call
    assert "user:me" in report.who_may_call(options, ("user:me",))
    assert "1 x 1 CPU and 512Mi, at most 66 dollars a month" in report.idle_cost(options, review)
    assert (
        report.undo(options, "review")
        == "./deploy.sh rollback review --to run, or ./deploy.sh destroy --to run"
    )
    assert "anyone" in report.who_may_call(configured("review", "--public", **PROJECT), ())


# gcloud.


def gcloud_that(tmp_path, monkeypatch, script, timeout=60):
    (tmp_path / "gcloud").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "gcloud").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Gcloud("demo-project", timeout)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo '<html><body>A proxy.</body></html>'", "expected JSON, got '<html>"),
        ("""echo '[{"name": "a"'""", "expected JSON"),
        ("echo 7", "expected a list of objects, got '7'"),
        ("echo '[1]'", "expected a list of objects"),
        ("true", "expected a list of objects, got 'None'"),
        ("exit 3", "exit status 3"),
        (
            "printf 'a\\nERROR: (gcloud.run.x) one\\n  two\\n' >&2; exit 1",
            "gcloud run services list: one two",
        ),
        ("sleep 60 & sleep 60", "did not finish within 1 s"),
        ("kill -9 $$", "exit status -9"),
        (
            "echo '[]'; echo 'WARNING: x did not respond: us-east1. List results may be incomplete.' >&2",
            "x did not respond: us-east1. List results may be incomplete. Run this again later",
        ),
    ],
)
def test_every_failure_of_gcloud_is_one_line(tmp_path, monkeypatch, script, message):
    gcloud = gcloud_that(tmp_path, monkeypatch, script, timeout=1 if "sleep" in script else 60)
    with pytest.raises(GcloudError) as failure:
        gcloud.rows("run", "services", "list", "--region=europe-west1")
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


def test_gcloud_gets_the_project_and_no_prompts(tmp_path, monkeypatch):
    gcloud = gcloud_that(
        tmp_path,
        monkeypatch,
        """printf '["%s", "%s", "%s"]' $CLOUDSDK_CORE_PROJECT $CLOUDSDK_CORE_DISABLE_PROMPTS "$*" """,
    )
    assert gcloud("x", "y") == ["demo-project", "1", "x y --format=json"]


# Answers.


class Answers:
    """Replace the request to a function by a fixed answer."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, *_):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answered(pin, label="0", **more):
    """An answer of one instance."""
    one = {
        "error": "0",
        "message": "Successful",
        "digit": label,
        "probabilities": dict.fromkeys(pin.labels, 0.5),
    }
    return 200, {"predictions": [{**one, **more}], "model": {"name": "digits", "version": "1"}}


@pytest.fixture
def digits(tmp_path):
    """A function whose right label is also what every answer says of its errors."""
    pin = pinned("tflite", labels=["0", "1"])
    return source.Function("digits", pin, Example(8083, "x", None, "0"), tmp_path, None)


@pytest.mark.parametrize(
    ("label", "more", "right"),
    [
        ("0", {}, True),
        ("1", {}, False),
        ("0", {"error": "1"}, False),
        ("0", {"probabilities": {"cat": 1.0}}, False),
        ("0", {"other": "0"}, False),
    ],
)
def test_the_label_is_read_from_its_own_field(monkeypatch, digits, label, more, right):
    monkeypatch.setattr(smoke_test, "request", Answers(answered(digits.pin, label, **more), (404, "")))
    if right:
        assert smoke_test.check_example("https://x", "", digits, 0, split=False) == []
    else:
        with pytest.raises(smoke_test.WrongAnswer):
            smoke_test.check_example("https://x", "", digits, 0, split=False)


def test_openapi_names_the_field_of_the_label(monkeypatch, digits):
    properties = {"digit": {"enum": ["0", "1"]}, "language": {"type": "string"}}
    document = 200, {"components": {"schemas": {"Instance": {"properties": properties}}}}
    monkeypatch.setattr(smoke_test, "request", Answers(answered(digits.pin, language="en"), document))
    assert smoke_test.check_example("https://x", "", digits, 0, split=False) == []


def test_an_answer_of_another_model_does_not_count(monkeypatch, digits):
    other = dataclasses.replace(digits, pin=dataclasses.replace(digits.pin, version="2"))
    for answers, message in (
        (answered(digits.pin), "expected the model 2, got the model 1"),
        ((500, "oh"), "got 500: oh"),
    ):
        monkeypatch.setattr(smoke_test, "request", Answers(answers))
        with pytest.raises(smoke_test.WrongAnswer, match=re.escape(message)):
            smoke_test.check_example("https://x", "", other, 0, split=False)


def test_the_warnings_of_an_answer_are_passed_on(monkeypatch, digits):
    warning = {"code": "faint", "message": "The image is faint."}
    monkeypatch.setattr(smoke_test, "request", Answers(answered(digits.pin, warnings=[warning])))
    assert smoke_test.check_example("https://x", "", digits, 0, split=False) == ["faint: The image is faint."]


def test_a_real_answer_is_checked_and_a_wrong_label_fails(start):
    server = start(ROOT / "functions" / "review" / "main.py")
    assert check_served(server.url, "review") == []
    with pytest.raises(smoke_test.WrongAnswer, match="expected review_sentiment to be Negative, got"):
        check_served(server.url, "review", label="Negative")


def call(status=200, seconds="0.010s", cold=False):
    """Return the log entry of one call in Cloud Logging's form."""
    http = {"requestMethod": "POST", "requestUrl": "/", "status": status, "latency": seconds}
    return {"httpRequest": http, "jsonPayload": {"cold": cold, "message": "POST / 200 10.0 ms"}}


def test_the_last_day_is_summarised_from_the_log_lines():
    lines = [*(call() for _ in range(94)), call(cold=True), *(call(500, "1.500s") for _ in range(5))]
    assert log_summary.summary(lines) == "100 calls, 1 met a cold start, 5 errors (5.0%), p95 10 ms"
    assert log_summary.summary(lines[1:]).endswith("p95 1500 ms")
    assert log_summary.summary([]) == log_summary.summary([{"textPayload": "Ready."}]) == "no calls"
    assert "p95" not in log_summary.summary([{"httpRequest": {"status": 200}}])


def test_a_log_line_cannot_control_the_terminal():
    assert "\x1b" not in log_summary.format_entry(
        {"textPayload": "\x1b[2J", "timestamp": "2026-01-01T00:00:00Z"}
    )


# The folder that is staged.


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_staged_folder_is_complete_and_runs_as_on_other_hosts(name, checkout, tmp_path, interpreter):
    folder = tmp_path / "staged"
    staged = deploy(checkout, "stage", name, folder)
    assert staged.returncode == 0, staged.stderr
    assert {path.name for path in folder.iterdir()} >= {"main.py", "requirements.txt", "shared", "Procfile"}
    assert (folder / "models" / Pin.read(folder / "model.json").file).is_file()
    assert not list(folder.rglob("__pycache__"))
    assert [path.name for path in tmp_path.iterdir()] == ["staged"]
    assert "is not empty" in deploy(checkout, "stage", name, folder).stderr
    procfile = (folder / "Procfile").read_text().removeprefix("web: ")
    [app] = [
        line for line in (folder / "app.yaml").read_text().splitlines() if line.startswith("entrypoint: ")
    ]
    for command in (procfile, app.removeprefix("entrypoint: ")):
        with running(command, folder, interpreter(folder), tmp_path / "log") as url:
            assert check_served(url, name) == []


def test_the_steps_of_the_dockerfile_make_a_container_that_answers(checkout, tmp_path, interpreter):
    assert (
        deploy(checkout, "stage", "review", tmp_path / "staged", "--origins", "https://a.example").returncode
        == 0
    )
    environment, command, root = {}, "", tmp_path / "root"
    lines = (tmp_path / "staged" / "Dockerfile").read_text().splitlines()
    assert lines[0] == "FROM python:3.11-slim"
    for line in lines[1:]:
        instruction, _, rest = line.partition(" ")
        if instruction == "COPY":
            origin, target = rest.split()
            assert target == "."
            shutil.copytree(tmp_path / "staged", root, dirs_exist_ok=True) if origin == "." else None
        elif instruction == "RUN":
            # The same command as for the environment of the other tests, apart from the packages left out.
            assert rest == "pip install --no-cache-dir -r requirements.txt"
        elif instruction == "ENV":
            for pair in rest.split(" "):
                name, _, value = pair.partition("=")
                environment[name] = value.strip('"')
        elif instruction == "CMD":
            command = rest.removeprefix("exec ")
        else:
            assert (instruction, rest) in {("WORKDIR", "/app"), ("USER", "nobody")}
    assert environment.pop("PORT") == "8080"  # the test has one of its own
    assert environment["ALLOWED_ORIGINS"] == "https://a.example"
    with running(command, root, interpreter(root), tmp_path / "log", **environment) as url:
        assert check_served(url, "review") == []


def test_failed_staging_reports_the_reason_and_leaves_nothing(changed, tmp_path):
    file = Pin.read(changed / "functions" / "review" / "model.json").file
    (changed / "models" / file).unlink()
    run = deploy(changed, "stage", "review", tmp_path / "out" / "staged")
    assert run.returncode == 1
    assert f"the pinned models/{file} is not in this checkout" in run.stderr
    assert "staged in" not in run.stderr
    assert not (tmp_path / "out" / "staged").exists()
    with_bucket = deploy(changed, "stage", "review", tmp_path / "staged", BUCKET="my-models")
    assert with_bucket.returncode == 0, with_bucket.stderr
    assert 'MODEL_STORE: "gs://my-models/models"' in (tmp_path / "staged" / "app.yaml").read_text()


def test_staging_into_a_read_only_folder_fails_with_one_line(checkout, tmp_path):
    (tmp_path / "file").write_text("")
    run = deploy(checkout, "stage", "review", tmp_path / "file" / "staged")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)


# The checkout.


def complaints(changed, *arguments):
    """Return the lines that refuse a deployment without gcloud, except the one about gcloud."""
    path = str(without_gcloud(changed.parent / "binaries"))
    run = deploy(changed, *arguments, PROJECT_ID="demo-project", PATH=path)
    assert run.returncode == 1
    return [line for line in run.stderr.splitlines() if "gcloud is not installed" not in line]


def test_a_dirty_tree_is_refused_with_the_names_of_the_files(changed):
    (changed / "functions" / "review" / "more.py").write_text("")
    (changed / "README.md").write_text("changed")
    [line] = complaints(changed, "review")
    assert "the git tree is not clean: commit or stash README.md, functions/review/more.py" in line
    assert "--allow-dirty" in line


def test_a_pin_that_is_not_committed_is_named(changed):
    changed_pin(changed, "review", version="mine")
    [line] = complaints(changed, "review")
    assert "commit functions/review/model.json" in line


def test_head_is_staged_without_uncommitted_changes(changed, tmp_path):
    (changed / "functions" / "review" / "more.py").write_text("")
    changed_pin(changed, "review", version="mine")
    run = deploy(changed, "stage", "review", tmp_path / "staged", "--allow-dirty")
    assert run.returncode == 0, run.stderr
    assert "deploying HEAD without functions/review/model.json, functions/review/more.py" in run.stderr
    assert not (tmp_path / "staged" / "more.py").exists()
    assert Pin.read(tmp_path / "staged" / "model.json").version != "mine"


def new_function(changed, name, pin):
    """A function as `models.new` makes it: a folder like the others."""
    folder = changed / "functions" / name
    shutil.copytree(changed / "functions" / "review", folder)
    (folder / "model.json").write_text(json.dumps(pin))


def test_a_function_without_a_model_is_told_to_publish_one_first(changed):
    new_function(changed, "digits", {"labels": ["0", "1"]})
    first, second = complaints(changed, "digits")
    assert first.endswith("commit functions/digits/model.json")
    assert "functions/digits/main.py" in second
    [line] = complaints(changed, "digits", "--allow-dirty")[1:]
    assert "functions/digits is not committed: commit functions/digits" in line
    commit(changed)
    [line] = complaints(changed, "digits")
    assert line.endswith("publish a model first: .venv/dev/bin/python -m models.publish digits FILE")
    assert "functions/digits/model.json: " in line
    assert str(changed) not in line


def test_a_users_own_function_is_staged_like_any_other(changed, tmp_path, interpreter):
    pin = json.loads((changed / "functions" / "review" / "model.json").read_text())
    new_function(changed, "sentiment", {**pin, "version": "mine"})
    commit(changed)
    run = deploy(changed, "stage", "sentiment", tmp_path / "staged")
    assert run.returncode == 0, run.stderr
    assert Pin.read(tmp_path / "staged" / "model.json").version == "mine"


def test_a_name_that_cannot_be_deployed_is_refused(changed):
    pin = json.loads((changed / "functions" / "review" / "model.json").read_text())
    new_function(changed, "my_model", pin)
    commit(changed)
    [line] = complaints(changed, "my_model")
    assert "functions/my_model: a deployed function's name has 3 to 27 lower-case letters" in line


@pytest.mark.parametrize(
    ("form", "package"), [("h5", "tensorflow-cpu"), ("keras", "tensorflow-cpu"), ("joblib", "scikit-learn")]
)
def test_a_format_whose_package_is_not_required_is_refused(form, package, changed):
    changed_pin(changed, "review", format=form)
    requirements = changed / "functions" / "review" / "requirements.txt"
    commit(changed)
    [line] = complaints(changed, "review")
    assert f"functions/review/requirements.txt has no {package}" in line
    assert "python -m models.publish review FILE" in line
    requirements.write_text(
        requirements.read_text() + f"{package.replace('-', '_').title()}==1 --hash=sha256:0\n"
    )
    commit(changed)
    assert complaints(changed, "review") == []


def test_requirements_are_staged_as_they_are(changed, tmp_path):
    requirements = changed / "functions" / "review" / "requirements.txt"
    requirements.write_text(requirements.read_text() + "six==1.17.0 \\\n    --hash=sha256:0000\n")
    commit(changed)
    assert deploy(changed, "stage", "review", tmp_path / "staged").returncode == 0
    assert (tmp_path / "staged" / "requirements.txt").read_text() == requirements.read_text()


def test_a_file_that_is_not_the_pinned_one_is_refused(changed):
    (changed / "models" / Pin.read(changed / "functions" / "review" / "model.json").file).write_bytes(
        b"other"
    )
    [line] = complaints(changed, "review")
    assert "is not the pinned file" in line
    assert "python -m models.publish review FILE" in line


def test_several_faults_of_a_checkout_are_reported_together(changed):
    changed_pin(changed, "review", format="keras")
    changed_pin(changed, "malaria", threshold=7)
    commit(changed)
    (changed / "README.md").write_text("changed")
    lines = complaints(changed)
    assert len(lines) == 3
    assert any("'threshold': expected a number from 0 to 1, got 7" in line for line in lines)


def test_a_repository_without_a_commit_is_refused(tmp_path, checkout):
    shutil.copytree(checkout, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    run = deploy(
        tmp_path / "copy", "stage", "review", tmp_path / "staged", GIT_CEILING_DIRECTORIES=str(tmp_path)
    )
    assert "clone the repository" in run.stderr
