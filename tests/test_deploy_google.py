"""deploy.sh with the real gcloud against a simulated Google Cloud, which runs the uploaded source."""

import contextlib
import dataclasses
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cloud
import numpy as np
import pytest
from conftest import FUNCTIONS, ROOT, commit
from deployments import Deployment, change, changed_pin, drive, pin, succeed
from identity import PROJECT, provider
from page_commands import blocks, follow
from processes import command_of, from_source, running


def test_two_functions_are_deployed_from_nothing_and_again_without_changes(uploaded, checkout):
    google = uploaded
    # With the installed gcloud, to check that the quick one of the other tests behaves the same.
    _, done = succeed(google, checkout, "review", PATH=f"{Path(shutil.which('gcloud')).parent}:/usr/bin:/bin")
    assert done
    run, _ = succeed(google, checkout)
    for name in FUNCTIONS:
        assert f"{name}: {google.runs[name].url}" in run.stdout
        config = google.functions[name]["serviceConfig"]
        assert config["serviceAccountEmail"] == f"{name}-fn@{google.project}.iam.gserviceaccount.com"
        assert config["environmentVariables"]["MODEL_STORE"] == f"gs://{google.project}-models/models"
        assert config["environmentVariables"]["THREADS"] == str(config["maxInstanceRequestConcurrency"])
        assert config["environmentVariables"]["WORKERS"] == config["availableCpu"]
        assert not any("allUsers" in each["members"] for each in google.runs[name].policy["bindings"])
    bucket = google.buckets[f"{google.project}-models"]
    assert (bucket.uniform, bucket.prevention) == (True, "enforced")
    assert set(bucket.objects) == {f"models/{pin(checkout, name)['file']}" for name in FUNCTIONS}
    [readers] = [
        each["members"] for each in bucket.policy["bindings"] if each["role"] == "roles/storage.objectViewer"
    ]
    ours = [f"serviceAccount:{name}-fn@{google.project}.iam.gserviceaccount.com" for name in FUNCTIONS]
    assert sorted(readers) == ours
    assert not any(member in each["members"] for each in google.policy["bindings"] for member in ours)
    again, done = succeed(google, checkout)
    assert done == []
    assert again.stderr.count("unchanged") == len(FUNCTIONS)
    assert again.stdout == run.stdout


def test_a_changed_model_is_published_next_to_the_old_one_and_answers(google, uploaded, answering, changed):
    build, google.on_deploy = google.on_deploy, lambda name, *_: answering[name]
    succeed(google, changed, "review")
    old = pin(changed, "review")
    with np.load(changed / "models" / old["file"]) as arrays:
        np.savez_compressed(changed / "mine.npz", **{**arrays, "scales": arrays["scales"] * 0.99})
    publish = [sys.executable, "-m", "models.publish", "review", "mine.npz"]
    subprocess.run(publish, cwd=changed, check=True, capture_output=True)
    (changed / "mine.npz").unlink()
    commit(changed)
    new = pin(changed, "review")
    google.on_deploy = build
    _, done = succeed(google, changed, "review")
    assert sum("/upload/storage/" in call for call in done) == 1
    bucket = google.buckets[f"{google.project}-models"]
    assert set(bucket.objects) == {f"models/{old['file']}", f"models/{new['file']}"}
    run, _ = succeed(google, changed, "status")
    assert f"model             {new['version']}, in memory" in run.stdout
    assert "last day          no calls" in run.stdout
    assert new["version"] != old["version"]


def test_a_change_becomes_a_canary_and_is_rolled_back(google, changed):
    succeed(google, changed, "review")
    first = google.runs["review"].latest
    change(changed)
    succeed(google, changed, "review", "--canary", "20")
    second = google.runs["review"].latest
    assert second != first
    assert google.runs["review"].serving == {first: 80, second: 20}
    succeed(google, changed, "review", "--canary", "60")
    assert google.runs["review"].serving == {first: 40, second: 60}
    succeed(google, changed, "rollback", "review")
    assert google.runs["review"].serving == {first: 100}
    _, done = succeed(google, changed, "review")
    assert google.runs["review"].serving == {second: 100}
    assert len(done) == 1
    change(changed)
    succeed(google, changed, "review")
    third = google.runs["review"].latest
    assert google.runs["review"].serving == {third: 100}
    succeed(google, changed, "rollback", "review")
    assert google.runs["review"].serving == {second: 100}
    run, _ = succeed(google, changed, "status")
    assert f"revision          {second} 100 %" in run.stdout
    change(changed)
    succeed(google, changed, "review", "--canary", "20")
    assert google.runs["review"].serving == {second: 80, google.runs["review"].latest: 20}
    succeed(google, changed, "rollback", "review")
    assert google.runs["review"].serving == {second: 100}
    succeed(google, changed, "rollback", "review")
    assert google.runs["review"].serving == {first: 100}
    nothing, _ = drive(google, changed, "rollback", "review")
    assert f"has no revision before {first}" in nothing.stderr
    assert "malaria: not deployed" in run.stdout
    nothing, _ = drive(google, changed, "malaria", "--canary", "20")
    assert "leave --canary out" in nothing.stderr


def test_access_is_opened_and_closed_without_another_deployment(google, checkout):
    succeed(google, checkout, "review")
    everyone = [{"role": "roles/run.invoker", "members": ["allUsers"]}]
    run, done = succeed(google, checkout, "review", "--public")
    assert google.runs["review"].policy["bindings"] == everyone
    assert len(done) == 1
    assert "Authorization" not in run.stdout
    _, done = succeed(google, checkout, "review")
    assert google.runs["review"].policy["bindings"] == []
    assert len(done) == 1


def test_the_logs_are_shown(google, checkout):
    succeed(google, checkout, "review")
    labels = {"service_name": "review", "revision_name": "r", "location": "europe-west1"}
    google.logs = [
        {
            "textPayload": "Ready.",
            "timestamp": "2026-01-01T00:00:00Z",
            "insertId": "1",
            "severity": "INFO",
            "logName": f"projects/{google.project}/logs/run.googleapis.com%2Fstdout",
            "resource": {"type": "cloud_run_revision", "labels": labels},
        }
    ]
    run, done = succeed(google, checkout, "logs", "review")
    assert "Ready." in run.stdout
    assert done == []
    filters = [body["filter"] for _, path, body in google.requests if path.startswith("/v2/entries:list")]
    assert 'service_name="review"' in filters[-1]
    assert "severity" not in filters[-1]
    succeed(google, checkout, "logs", "review", "--errors")
    filters = [body["filter"] for _, path, body in google.requests if path.startswith("/v2/entries:list")]
    assert "severity>=ERROR" in filters[-1]


def entry(google, number, message, **more):
    """A log line of the function `review`, as Cloud Logging keeps it."""
    labels = {"service_name": "review", "revision_name": "r", "location": "europe-west1"}
    return {
        "timestamp": f"2026-01-01T00:00:{number:02}Z",
        "insertId": str(number),
        "severity": "INFO",
        "logName": f"projects/{google.project}/logs/run.googleapis.com%2Fstdout",
        "resource": {"type": "cloud_run_revision", "labels": labels},
        **({"textPayload": message} if message else {}),
        **more,
    }


def test_new_log_lines_are_followed_until_an_interrupt(google, checkout):
    google.logs = [entry(google, 1, "first")]
    run = Deployment(checkout, "./deploy.sh", "logs", "review", "--follow", **google.settings)
    assert run.stdout.readline().endswith("first\n")
    google.logs = [entry(google, 2, "second"), *google.logs]
    assert run.stdout.readline().endswith("second\n")
    run.stop()
    assert run.end().stdout == ""
    assert run.returncode == 130


def opened(google):
    return any("allUsers" in each["members"] for each in google.runs["review"].policy["bindings"])


def test_at_no_moment_may_anyone_call_without_signing_in(google, checkout, tmp_path):
    sign_in = ("--sign-in", f"firebase:{PROJECT}")
    with provider() as issuer, contextlib.ExitStack() as stack:

        def serve(name, resource, *_):
            _, settings = command_of(resource)
            keys = {"SIGN_IN_KEYS": f"{issuer.url}/jwks"} if "SIGN_IN" in settings else {}
            own = {**settings, **keys, "MODEL_STORE": str(checkout / "models")}
            log = tmp_path / f"{len(google.requests)}.log"
            return stack.enter_context(
                running(from_source(name), checkout, Path(sys.executable).parent, log, **own)
            )

        google.on_deploy = serve
        succeed(google, checkout, "review")
        first = google.runs["review"].latest
        assert not opened(google)
        run, done = succeed(google, checkout, "review", *sign_in)
        assert "refuses callers without a token; give --user-token" in run.stderr
        assert "setIamPolicy" in done[-1]
        assert opened(google)
        token = issuer.token(issuer.firebase())
        run, _ = succeed(google, checkout, "review", *sign_in, USER_TOKEN=token)
        assert "--user-token" not in run.stderr
        assert f"who may call  users of firebase:{PROJECT}, not anonymous ones" in run.stdout
        run, _ = succeed(google, checkout, "status")
        assert f"who may call      users of firebase:{PROJECT}, not anonymous ones" in run.stdout
        refused, _ = drive(google, checkout, "rollback", "review")
        assert f"{first} does not verify its callers (SIGN_IN), and anyone can reach it" in refused.stderr
        refused, done = drive(google, checkout, "review", "--public")
        assert "review verifies its callers" in refused.stderr
        assert (refused.returncode, done) == (1, [])
        _, done = succeed(google, checkout, "review")
        assert "setIamPolicy" in done[0]
        assert not opened(google)
        run, _ = succeed(google, checkout, "status")
        assert "who may call      callers with roles/run.invoker" in run.stdout


def test_the_status_summarises_the_last_day_from_the_log_lines(google, checkout):
    succeed(google, checkout, "review")
    for number in range(1, 21):
        http = {"requestMethod": "POST", "requestUrl": "/", "status": 500 if number == 20 else 200}
        payload = {"cold": number == 1, "message": "POST / 200"}
        more = {"httpRequest": {**http, "latency": "0.050s"}, "jsonPayload": payload}
        google.logs.append(entry(google, number, "", **more))
    run, done = succeed(google, checkout, "status")
    assert "last day          20 calls, 1 met a cold start, 1 errors (5.0%), p95 50 ms" in run.stdout
    assert done == []


def test_alerts_are_created_once_and_deleted_with_the_function(google, checkout):
    command = ("alerts", "review", "--email", "a@example.com")
    nothing, done = succeed(google, checkout, *command, "--dry-run")
    assert (done, nothing.stdout.count("policies create")) == ([], 2)
    succeed(google, checkout, *command)
    [channel] = google.channels
    errors, slow = (each["conditions"][0]["conditionThreshold"] for each in google.policies.values())
    assert all(each["notificationChannels"] == [channel] for each in google.policies.values())
    assert 'response_code_class="5xx"' in errors["filter"]
    assert 'response_code_class="5xx"' not in errors["denominatorFilter"]
    assert slow["aggregations"][0]["crossSeriesReducer"] == "REDUCE_PERCENTILE_95"
    _, done = succeed(google, checkout, *command)
    assert done == []
    name = f"projects/{google.project}/alertPolicies/0"
    other = {"name": name, "displayName": "of somebody else", "conditions": []}
    google.policies[name] = {**other, "notificationChannels": [channel]}
    run, _ = succeed(google, checkout, "destroy", "--yes")
    assert "alert review: p95 over 2 s" in run.stderr
    assert [each["displayName"] for each in google.policies.values()] == ["of somebody else"]
    assert [*google.channels] == [channel]


ACCOUNT = "review-fn@demo-project.iam.gserviceaccount.com"


def test_destroy_keeps_what_the_same_function_in_another_region_uses(google, checkout):
    succeed(google, checkout, "review")
    google.runs["far"] = dataclasses.replace(google.runs["review"], region="us-east1", labels={})
    email = ("--email", "a@example.com")
    succeed(google, checkout, "alerts", "review", *email)
    _, done = succeed(google, checkout, "alerts", "review", *email, "--region", "us-east1")
    assert len(done) == len(google.policies) / 2 == 2
    run, _ = succeed(google, checkout, "destroy", "--yes", "--with-bucket")
    assert f"kept: service account {ACCOUNT}, for review in us-east1" in run.stderr
    assert "kept: bucket gs://demo-project-models, for review in us-east1" in run.stderr
    assert (google.functions, [*google.runs]) == ({}, ["far"])
    assert ACCOUNT in google.accounts
    bucket = google.buckets["demo-project-models"]
    assert f"serviceAccount:{ACCOUNT}" in str(bucket.policy["bindings"])
    assert bucket.objects
    filters = [each["conditions"][0]["conditionThreshold"]["filter"] for each in google.policies.values()]
    assert len(filters) == 2
    assert all("us-east1" in each for each in filters)
    assert len(google.channels) == 1
    again, done = succeed(google, checkout, "destroy", "--yes", "--with-bucket")
    assert ("nothing to delete" in again.stderr, "kept: bucket" in again.stderr, done) == (True, True, [])
    google.runs["review"] = google.runs.pop("far")
    succeed(google, checkout, "destroy", "--yes", "--with-bucket", "--to", "run", "--region", "us-east1")
    assert (google.runs, google.policies, google.channels, google.buckets) == ({}, {}, {}, {})
    assert ACCOUNT not in google.accounts


def test_destroy_keeps_what_the_other_target_uses(google, checkout):
    google.app = cloud.App()
    succeed(google, checkout, "review", "--to", "appengine", "--public")
    succeed(google, checkout, "malaria", "--to", "run")
    succeed(google, checkout, "alerts", "malaria", "--email", "a@example.com")
    for region in ("europe-west1", "us-east1"):
        run, done = succeed(google, checkout, "destroy", "--yes", "--with-bucket", "--region", region)
        assert done == []
        assert f"kept: service account {ACCOUNT}, for review-" in run.stderr
        assert "for malaria in europe-west1" in run.stderr
    run, done = succeed(google, checkout, "destroy", "--yes", "--with-bucket", "--to", "run")
    assert "kept: bucket gs://demo-project-models, for review-" in run.stderr
    assert not google.runs
    assert ACCOUNT in google.accounts
    assert f"malaria-fn@{google.project}.iam.gserviceaccount.com" not in google.accounts


def test_a_repository_of_github_may_deploy_without_a_key(google, checkout):
    run, _ = succeed(google, checkout, "github", "me/models")
    account = f"github-deployer@{google.project}.iam.gserviceaccount.com"
    [provider] = [name for name in google.pools if "/providers/" in name]
    assert f"--body {provider}" in run.stdout
    assert f"gh variable set DEPLOY_ACCOUNT --repo me/models --body {account}" in run.stdout
    assert google.pools[provider]["attributeCondition"] == "assertion.repository == 'me/models'"
    users = {each["role"]: each["members"] for each in google.account_policies[account]["bindings"]}
    [workflows] = users["roles/iam.workloadIdentityUser"]
    assert workflows.endswith("/workloadIdentityPools/github/attribute.repository/me/models")
    assert google.allows(account, "roles/run.admin")
    assert not google.allows(account, "roles/owner", "roles/editor")
    again, done = succeed(google, checkout, "github", "me/models")
    assert done == []
    assert again.stdout == run.stdout
    google.pools[provider.rpartition("/providers/")[0]]["state"] = "DELETED"
    _, done = succeed(google, checkout, "github", "me/models")
    assert [call.rpartition(":")[2] for call in done] == ["undelete"]


def test_setup_creates_missing_resources_on_request(google, checkout):
    google.builders_may_build = False
    google.services |= {"run.googleapis.com", "cloudbuild.googleapis.com"}
    google.add_account(google.default_account)
    run, done = drive(google, checkout, "review")
    assert (run.returncode, done) == (1, [])
    assert "or this again with --fix" in run.stderr
    planned, done = succeed(google, checkout, "review", "--fix", "--dry-run")
    assert "projects add-iam-policy-binding" in planned.stdout.splitlines()[0]
    assert done == []
    succeed(google, checkout, "review", "--fix")
    assert google.allows(google.default_account, "roles/cloudbuild.builds.builder")
    assert google.functions["review"]["state"] == "ACTIVE"


def test_destroy_asks_first_and_deletes_all_but_the_bucket(google, checkout):
    succeed(google, checkout, "review")
    refused, done = drive(google, checkout, "destroy", typed="no\n")
    assert refused.returncode == 1
    assert "nothing was deleted" in refused.stderr
    assert "function review" in refused.stderr
    assert done == []
    succeed(google, checkout, "destroy", typed=f"{google.project}\n")
    assert not google.functions
    assert set(google.accounts) & {f"review-fn@{google.project}.iam.gserviceaccount.com"} == set()
    assert google.buckets[f"{google.project}-models"].objects
    succeed(google, checkout, "destroy", "--yes", "--with-bucket")
    assert not google.buckets
    again, done = succeed(google, checkout, "destroy", "--yes", "--with-bucket")
    assert "nothing to delete" in again.stderr
    assert done == []


@pytest.mark.parametrize("more", [(), ("--public", "--to", "run")], ids=["functions", "run"])
def test_a_dry_run_prints_exactly_the_commands_of_a_deployment(google, checkout, more):
    run, done = succeed(google, checkout, "review", "--dry-run", *more)
    assert done == []
    commands = run.stdout.splitlines()
    assert [" ".join(shlex.split(line)[1:4]) for line in commands][:5] == [
        "services enable cloudfunctions.googleapis.com",
        "storage buckets create",
        "storage cp --no-clobber",
        "iam service-accounts create",
        "storage buckets add-iam-policy-binding",
    ]
    settings = google.settings
    by_hand = Deployment(checkout, "bash", "-ec", run.stdout, **settings).end()
    assert by_hand.returncode == 0, by_hand.stderr
    _, done = succeed(google, checkout, "review", *more)
    assert done == []


def test_cloud_run_starts_the_uploaded_source(uploaded, checkout):
    run, _ = succeed(uploaded, checkout, "malaria", "--to", "run")
    assert f"malaria: {uploaded.runs['malaria'].url}" in run.stdout
    assert not uploaded.functions
    template = next(iter(uploaded.runs["malaria"].revisions.values()))
    assert template["metadata"]["annotations"]["run.googleapis.com/startup-cpu-boost"] == "True"
    [container] = template["spec"]["containers"]
    assert container["startupProbe"]["httpGet"] == {"path": "/ready", "port": 8080}
    assert {"name": "WARM_UP", "value": "1"} in container["env"]
    again, done = succeed(uploaded, checkout, "malaria", "--to", "run")
    assert "unchanged" in again.stderr
    assert done == []
    result, _ = succeed(uploaded, checkout, "status", "--to", "run")
    assert "in memory" in result.stdout
    succeed(uploaded, checkout, "destroy", "--yes", "--to", "run")
    assert not uploaded.runs


def test_cloud_run_has_canaries_and_rollbacks_too(google, changed):
    run = ("--to", "run")
    succeed(google, changed, "review", *run)
    first = google.runs["review"].latest
    change(changed)
    succeed(google, changed, "review", "--canary", "20", *run)
    second = google.runs["review"].latest
    assert google.runs["review"].serving == {first: 80, second: 20}
    change(changed)
    succeed(google, changed, "review", *run)
    third = google.runs["review"].latest
    assert google.runs["review"].serving == {third: 100}
    succeed(google, changed, "rollback", "review", *run)
    assert google.runs["review"].serving == {second: 100}


def test_app_engine_starts_the_uploaded_source(uploaded, checkout):
    google, target = uploaded, ("--to", "appengine", "--public")
    run, _ = drive(google, checkout, "review", *target)
    assert "run 'gcloud app create" in run.stderr
    google.app = cloud.App()
    run, _ = succeed(google, checkout, "review", *target)
    [version] = google.app.versions["default"].values()
    assert version["serviceAccount"] == f"review-fn@{google.project}.iam.gserviceaccount.com"
    assert version["envVariables"]["MODEL_STORE"] == f"gs://{google.project}-models/models"
    assert "review: https://demo-project.ew.r.appspot.com" in run.stdout
    again, done = succeed(google, checkout, "review", *target)
    assert "unchanged" in again.stderr
    assert done == []


def test_app_engine_keeps_each_function_in_a_service_of_its_own(google, answering, changed):
    target = ("--to", "appengine", "--public")
    google.app = cloud.App()
    succeed(google, changed, "review", *target)
    succeed(google, changed, "malaria", *target)
    change(changed)
    succeed(google, changed, "review", *target)
    assert {service: len(each) for service, each in google.app.versions.items()} == {
        "default": 2,
        "malaria": 1,
    }
    assert google.app.splits["default"] == {[*google.app.versions["default"]][1]: 1}


def test_a_users_own_model_gets_enough_memory(google, changed):
    changed_pin(changed, "malaria", format="keras")
    required = changed / "functions" / "malaria" / "requirements.txt"
    required.write_text(required.read_text() + "tensorflow-cpu==2.21.0\n")
    commit(changed)
    run, _ = succeed(google, changed, "malaria", "--dry-run")
    assert "--memory=1Gi" in run.stdout


def test_every_command_of_the_operators_page_works(google, quick_bq, changed):
    assert f"{quick_bq}:" in google.settings["PATH"]
    succeed(google, changed, "review")
    change(changed)
    for block in blocks((ROOT / "docs" / "operate.md").read_text()):
        urls = google.runs["review"].urls
        before = {**urls}
        if "bigquery" in block:  # the path that BigQuery calls is not tested here
            urls[google.runs["review"].latest] = "http://127.0.0.1:9"
        follow(google, changed, block)
        if "bigquery" in block:
            assert set(google.routines) == {"films.review"}
            urls.update(before)
    assert not google.routines
    assert set(google.runs) == {"review"}
    assert list(google.app.versions) == ["default"]
    assert (changed / "build" / "review" / "Procfile").exists()
