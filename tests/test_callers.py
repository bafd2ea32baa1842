"""Sign-in and rate limits of functions, over HTTP."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import FUNCTIONS, ROOT
from emulator import auth_emulator
from flask import Request
from hostile import HOSTILE
from identity import provider
from processes import from_source, running
from werkzeug.test import EnvironBuilder

from shared.web.callers import address

APP = "https://app.example.org"
TEXT = {"text": "A brilliant film, I loved it."}
BODY = json.dumps(TEXT).encode()


@pytest.fixture(scope="module")
def issuer():
    with provider() as server:
        yield server


@pytest.fixture(scope="module")
def guarded(issuer, tmp_path_factory):
    """The address of a process that requires sign-in."""
    log = tmp_path_factory.mktemp("guarded") / "log"
    variables = {**issuer.settings, "ALLOWED_ORIGINS": f"{APP},http://127.0.0.1:*"}
    with running(from_source("review"), ROOT, Path(sys.executable).parent, log, **variables) as url:
        yield url


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def ask(url, method="POST", path="/predict", body=BODY, **headers):
    """Return the status, headers and body of an answer to a page of another origin."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    given = {"Origin": APP, "Content-Type": "application/json", **headers}
    connection.request(method, path, body, {name: value.encode() for name, value in given.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def test_a_good_token_is_accepted_and_every_hostile_one_is_a_401_that_pages_can_read(guarded, issuer):
    status, _, content = ask(guarded, **bearer(issuer.token(issuer.firebase())))
    assert (status, json.loads(content)["review_sentiment"]) == (200, "Positive")
    wrong = {}
    for name, make in HOSTILE.items():
        if name == "100 kB":
            continue
        status, headers, content = ask(guarded, **bearer(make(issuer)))
        found = (status, json.loads(content)["code"], headers["WWW-Authenticate"])
        readable = (headers["Access-Control-Allow-Origin"], headers["Content-Type"])
        challenge = "Bearer" if name == "nothing" else 'Bearer error="invalid_token"'
        if found != (401, "unauthenticated", challenge) or readable != (
            APP,
            "application/problem+json",
        ):
            wrong[name] = found, readable
    assert wrong == {}
    assert issuer.fetches == 1


def test_an_endless_token_is_refused_by_the_server_itself(guarded, issuer):
    assert ask(guarded, **bearer(HOSTILE["100 kB"](issuer)))[0] == 431


def test_a_preflight_needs_no_token_and_allows_the_authorization_header(guarded):
    wish = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-firebase-appcheck",
    }
    status, headers, _ = ask(guarded, "OPTIONS", body=None, **wish)
    assert status == 204
    assert headers["Access-Control-Allow-Headers"] == "authorization, content-type, x-firebase-appcheck"


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/openapi.json"])
def test_paths_that_do_not_predict_need_no_token(guarded, issuer, path):
    ask(guarded, **bearer(issuer.token(issuer.firebase())))  # so that it is ready
    assert ask(guarded, "GET", path, None)[0] == 200
    assert ask(guarded, "GET", path, None, Accept="text/html")[0] == 200


def test_a_body_that_is_refused_is_not_read(guarded):
    netloc = urlsplit(guarded)
    with socket.create_connection((netloc.hostname, netloc.port), 30) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nthe first bytes")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in answer


def test_the_log_distinguishes_users_without_naming_them(load, issuer, monkeypatch, capsys):
    for name, value in issuer.settings.items():
        monkeypatch.setenv(name, value)
    client = load("review")
    tokens = [issuer.token(issuer.firebase(sub=sub)) for sub in ("uid-1", "uid-1", "uid-2")]
    for token in [*tokens, issuer.token(issuer.firebase(sub="uid-3"), iss="x", kid="unknown")]:
        client.post("/", json=TEXT, headers=bearer(token))
    written = capsys.readouterr().out
    lines = [json.loads(line) for line in written.splitlines() if "httpRequest" in line]
    one, again, other, refused = [line.get("user") for line in lines]
    assert one == again != other
    assert refused is None
    assert not re.search(r"uid-|ada|@|ey[JK]|Bearer", written)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_predicting_path_checks_the_token_and_documents_it(name, load, issuer, monkeypatch):
    settings = {**issuer.settings, "APP_CHECK": "123456789012", "RATE_LIMIT": "60/min"}
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    client = load(name)
    document = client.get("/openapi.json").json
    posts = {path: found["post"] for path, found in document["paths"].items() if "post" in found}
    assert len(posts) == 6
    schemes = document["components"]["securitySchemes"]
    assert (schemes["user"]["scheme"], schemes["app"]["name"]) == ("bearer", "X-Firebase-AppCheck")
    for path, post in posts.items():
        assert post["security"] == [{"user": [], "app": []}]
        assert {"401", "403", "429"} <= set(post["responses"])
        for method, query in (("POST", ""), ("POST", "/?explain=1")):
            assert client.open(path + query, method=method, json=TEXT).status_code == 401
    assert all("security" not in found.get("get", {}) for found in document["paths"].values())


def test_a_function_without_sign_in_documents_no_security_scheme(load):
    document = load("review").get("/openapi.json").json
    assert "securitySchemes" not in document["components"]
    assert not {"401", "403", "429"} & set(document["paths"]["/predict"]["post"]["responses"])


def test_a_user_who_is_not_allowed_gets_a_403_that_pages_can_read(load, issuer, monkeypatch):
    settings = {**issuer.settings, "SIGN_IN_ALLOW": "domain:example.com", "ALLOWED_ORIGINS": APP}
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    headers = {"Origin": APP, **bearer(issuer.token(issuer.firebase()))}
    answer = load("review").post("/", json=TEXT, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert answer.headers["Access-Control-Allow-Origin"] == APP


def test_without_the_providers_keys_the_answer_is_a_503(load, monkeypatch):
    with provider() as down:
        down.down = True
        for variable, value in {**down.settings, "ALLOWED_ORIGINS": APP}.items():
            monkeypatch.setenv(variable, value)
        client = load("review")
        headers = {"Origin": APP, **bearer(down.token(down.firebase()))}
        answers = [client.post("/", json=TEXT, headers=headers) for _ in range(3)]
    assert {(each.status_code, each.json["code"]) for each in answers} == {(503, "sign_in_unavailable")}
    assert all(1 <= int(each.headers["Retry-After"]) <= 60 for each in answers)
    assert answers[0].headers["Access-Control-Allow-Origin"] == APP
    assert down.fetches == 1


def test_a_test_key_set_is_refused_on_the_platform(issuer):
    command = [sys.executable, "-m", "functions_framework", "--target=predict"]
    run = subprocess.run(
        [*command, "--source=functions/review/main.py"],
        cwd=ROOT,
        env={**os.environ, **issuer.settings, "K_SERVICE": "review"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr == "SIGN_IN_KEYS: it is for tests alone; remove it where the function is deployed\n"


def test_each_user_has_a_separate_rate_limit(load, issuer, monkeypatch):
    for variable, value in {**issuer.settings, "RATE_LIMIT": "2/h", "ALLOWED_ORIGINS": APP}.items():
        monkeypatch.setenv(variable, value)
    client = load("review")

    def call(subject):
        token = issuer.token(issuer.firebase(sub=subject))
        return client.post("/", json=TEXT, headers={"Origin": APP, **bearer(token)})

    assert [call("one").status_code for _ in range(3)] == [200, 200, 429]
    assert call("two").status_code == 200
    refused = call("one")
    assert refused.json["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["Retry-After"]) <= 1800
    assert refused.headers["Access-Control-Allow-Origin"] == APP


def test_without_sign_in_each_address_has_a_separate_rate_limit(load, monkeypatch):
    monkeypatch.setenv("RATE_LIMIT", "1/h")
    client = load("review")

    def call(peer, forwarded):
        headers = {"X-Forwarded-For": forwarded}
        return client.post("/", json=TEXT, headers=headers, environ_base={"REMOTE_ADDR": peer}).status_code

    assert [call("10.0.0.1", one) for one in ("1.1.1.1", "2.2.2.2")] == [200, 429]
    assert call("10.0.0.2", "1.1.1.1") == 200
    monkeypatch.setenv("K_SERVICE", "review")
    client = load("review")
    assert [call("10.0.0.1", one) for one in ("9.9.9.9, 1.1.1.1", "8.8.8.8, 1.1.1.1")] == [200, 429]
    assert call("10.0.0.1", "1.1.1.1, 2.2.2.2") == 200


@pytest.mark.parametrize(
    ("behind_proxy", "peer", "forwarded", "expected"),
    [
        (False, "10.0.0.1", "1.1.1.1", "10.0.0.1"),
        (False, "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        (False, "::ffff:10.0.0.1", "", "10.0.0.1"),
        (True, "10.0.0.1", "", "10.0.0.1"),
        (True, "10.0.0.1", "1.1.1.1", "1.1.1.1"),
        (True, "10.0.0.1", "6.6.6.6,1.1.1.1", "1.1.1.1"),
        (True, "10.0.0.1", "6.6.6.6, 2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        (True, "10.0.0.1", "x" * 10_000, "x" * 50),
    ],
)
def test_the_client_address_is_the_one_that_the_front_end_adds(behind_proxy, peer, forwarded, expected):
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    environ = EnvironBuilder(headers=headers, environ_base={"REMOTE_ADDR": peer}).get_environ()
    assert address(Request(environ), behind_proxy) == expected


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """The address of the real Auth emulator."""
    with auth_emulator(tmp_path_factory.mktemp("emulator")) as url:
        yield url


def sign_up(emulator, **more):
    url = f"{emulator}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=any"
    body = json.dumps({"returnSecureToken": True, **more}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as a:
        return json.load(a)["idToken"]


def test_a_token_of_the_real_emulator_only_needs_a_signature(guarded, issuer, emulator):
    user = sign_up(emulator, email="ada@example.org", password="secret-1")
    anonymous = sign_up(emulator)
    statuses = [ask(guarded, **bearer(token))[0] for token in (user, anonymous)]
    signed = [ask(guarded, **bearer(issuer.resigned(token)))[0] for token in (user, anonymous)]
    assert (statuses, signed) == ([401, 401], [200, 403])
