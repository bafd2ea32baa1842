"""Sign-in: good and hostile tokens, key sets that rotate or fail, and the rate limit."""

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from conftest import ROOT
from hostile import HOSTILE
from identity import EMULATED, PROJECT, provider
from processes import free_port

from shared.errors import Forbidden, SignInUnavailable, TooManyRequests, Unauthenticated
from shared.settings import Rate, SettingError, Settings
from shared.web.auth.keys import PAUSE, Keys
from shared.web.auth.limit import MOST, Limit
from shared.web.auth.sign_in import Gate


@pytest.fixture(scope="module")
def google():
    with provider() as server:
        yield server


@pytest.fixture
def gate(google):
    google.fetches = 0
    return made(google)


def made(google, **variables):
    return Gate(Settings.read({**google.settings, **variables}))


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_a_users_token_is_accepted_and_the_user_is_identified_by_a_hash(google, gate):
    one = gate.admit(bearer(google.token(google.firebase())))
    again = gate.admit(bearer(google.token(google.firebase(email=...))))
    other = gate.admit(bearer(google.token(google.firebase(sub="uid-2"))))
    assert one == again != other
    assert "uid" not in one.id
    assert "@" not in one.id
    assert google.fetches == 1


def refused(gate, token):
    try:
        gate.admit(bearer(token))
    except Unauthenticated:
        return True
    return False


def test_every_hostile_token_is_a_401_and_costs_one_key_fetch_in_all(google, gate):
    let_in = [name for name, make in HOSTILE.items() if not refused(gate, make(google))]
    assert let_in == []
    assert gate.admit(bearer(google.token(google.firebase())))
    assert google.fetches == 1


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x"])
def test_without_a_bearer_token_the_answer_says_what_was_expected(gate, value):
    with pytest.raises(Unauthenticated, match="Authorization: Bearer TOKEN") as refused:
        gate.admit({"Authorization": value} if value else {})
    assert refused.value.headers["WWW-Authenticate"] == "Bearer"


def test_a_bad_token_is_reported_as_an_invalid_token(google, gate):
    with pytest.raises(Unauthenticated, match="expired") as refused:
        gate.admit(bearer(google.token(google.firebase(exp=1))))
    assert refused.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_clocks_may_differ_by_seconds(google, gate):
    now = int(time.time())
    assert gate.admit(bearer(google.token(google.firebase(exp=now - 2))))
    assert gate.admit(bearer(google.token(google.firebase(iat=now + 5, auth_time=now + 5))))


ANONYMOUS = {"firebase": {"sign_in_provider": "anonymous"}, "email": ...}


@pytest.mark.parametrize(
    ("allow", "changes", "let_in"),
    [
        ("", {}, True),
        ("", ANONYMOUS, False),
        ("anonymous", ANONYMOUS, True),
        ("anonymous", {}, True),
        ("uid:uid-1", {}, True),
        ("uid:uid-1", {"sub": "uid-11"}, False),
        ("uid:uid-1", {**ANONYMOUS, "sub": "uid-1"}, False),
        ("domain:example.org", {}, True),
        ("domain:example.org", {"email": "ada@EXAMPLE.org"}, True),
        ("domain:example.org", {"email_verified": False}, False),
        ("domain:example.org", {"email_verified": "true"}, False),
        ("domain:example.org", {"email": "ada@evil-example.org"}, False),
        ("domain:example.org", {"email": "ada@example.org.evil.com"}, False),
        ("domain:example.org", {"email": ...}, False),
        ("domain:example.org,uid:uid-9", {"sub": "uid-9", "email": ...}, True),
        ("domain:example.org,anonymous", ANONYMOUS, True),
        ("domain:example.org,anonymous", {"email": "ada@other.org"}, False),
        ("", {"provider_id": "anonymous"}, False),
        ("claim:role=lab", {"role": "lab"}, True),
        ("claim:role=lab", {"role": ["lab"]}, False),
        ("claim:role=lab", {}, False),
        ("claim:admin=true", {"admin": True}, True),
        ("claim:admin=true", {"admin": 1}, False),
    ],
)
def test_only_the_users_that_are_allowed_may_call(google, allow, changes, let_in):
    gate = made(google, **({"SIGN_IN_ALLOW": allow} if allow else {}))
    token = google.token(google.firebase(**changes))
    if let_in:
        assert gate.admit(bearer(token))
    else:
        with pytest.raises(Forbidden):
            gate.admit(bearer(token))


def test_users_of_the_real_emulator_are_accepted_if_their_claims_are_signed(google, gate):
    assert gate.admit(bearer(google.resigned(EMULATED["email"])))
    with pytest.raises(Forbidden):
        gate.admit(bearer(google.resigned(EMULATED["anonymous"])))
    anonymous = made(google, SIGN_IN_ALLOW="anonymous")
    assert anonymous.admit(bearer(google.resigned(EMULATED["anonymous"])))


def test_another_providers_tokens_are_checked_by_its_own_keys(google):
    settings = {"SIGN_IN": "oidc:https://login.example.org/", "SIGN_IN_AUDIENCE": "client-1"}
    gate = made(google, **settings)
    claims = google.firebase(iss="https://login.example.org/", aud="client-1", auth_time=..., firebase=...)
    assert gate.admit(bearer(google.token(claims)))
    assert gate.admit(bearer(google.token(claims, google.ec, alg="ES256", kid="curve")))
    for wrong in ({"aud": "client-2"}, {"iss": "https://login.example.org"}, {"aud": ["client-1"]}):
        with pytest.raises(Unauthenticated):
            gate.admit(bearer(google.token({**claims, **wrong})))
    with pytest.raises(Unauthenticated):
        gate.admit(bearer(google.token(claims, google.ec, alg="RS256", kid="curve")))


def test_an_app_check_token_is_required_besides_the_users(google):
    gate = made(google, APP_CHECK="123456789012")
    user = bearer(google.token(google.firebase()))
    app = google.firebase(
        iss="https://firebaseappcheck.googleapis.com/123456789012",
        aud=["projects/123456789012", f"projects/{PROJECT}"],
        sub="1:123456789012:web:abc",
    )
    assert gate.admit({**user, "X-Firebase-AppCheck": google.token(app)})
    for headers in (
        user,
        {**user, "X-Firebase-AppCheck": google.token({**app, "aud": ["projects/2"]})},
        {**user, "X-Firebase-AppCheck": google.token({**app, "aud": "projects/123456789012"})},
        {**user, "X-Firebase-AppCheck": google.token(google.firebase())},
        bearer(google.token(app)),
    ):
        with pytest.raises(Unauthenticated):
            gate.admit(headers)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rotating():
    with provider() as server:
        yield server


def test_a_new_key_is_found_and_random_kids_cost_no_fetch(rotating, clock):
    keys = Keys(lambda: f"{rotating.url}/jwks", clock)
    assert keys.get("one")
    for number in range(100):
        assert keys.get(f"random-{number}") is None
    assert rotating.fetches == 1
    rotating.published = {"two": rotating.rsa}
    clock.now += PAUSE
    assert keys.get("two")
    assert keys.get("one") is None
    assert rotating.fetches == 2


@pytest.mark.parametrize("failure", ["status", "not JSON", "no keys", "other keys", "cut off", "no server"])
def test_old_keys_stay_while_a_refresh_fails_and_are_renewed_when_they_are_stale(rotating, clock, failure):
    rotating.max_age = 300
    url = [f"{rotating.url}/jwks"]
    gate = made(rotating)
    gate._keys = keys = Keys(lambda: url[0], clock)
    token = bearer(rotating.token(rotating.firebase()))
    assert gate.admit(token)
    clock.now += 299
    assert gate.admit(token)
    assert rotating.fetches == 1
    clock.now += 2
    if failure == "no server":
        url[0] = f"http://127.0.0.1:{free_port()}/jwks"
    elif failure == "status":
        rotating.down = True
    else:
        symmetric = json.dumps({"keys": [{"kid": "one", "kty": "oct", "k": "AAAA"}]})
        rotating.body = {"not JSON": "<h1>", "no keys": '{"keys": []}', "other keys": symmetric}.get(
            failure, '{"keys": ['
        )
    assert gate.admit(token)
    assert gate.admit(token)
    assert rotating.fetches == (1 if failure == "no server" else 2)
    with pytest.raises(Unauthenticated):
        gate.admit(bearer(rotating.token(rotating.firebase(), kid="another")))
    url[0], rotating.down, rotating.body = f"{rotating.url}/jwks", False, None
    rotating.published = {"two": rotating.rsa}
    clock.now += PAUSE
    assert gate.admit(bearer(rotating.token(rotating.firebase(), kid="two")))
    assert keys.get("one") is None


def test_keys_are_fetched_before_a_token_asks_and_a_failure_of_that_costs_no_pause(rotating, clock):
    keys = Keys(lambda: f"{rotating.url}/jwks", clock)
    rotating.down = True
    keys.fetch()
    rotating.down = False
    assert keys.get("one")
    assert rotating.fetches == 2
    keys.fetch()
    assert rotating.fetches == 2


def test_a_worker_that_warms_up_has_the_keys_before_anybody_calls(rotating, start):
    server = start(ROOT / "functions" / "review" / "main.py", **rotating.settings, WARM_UP="1")
    assert rotating.asked.wait(60)
    headers = {"Content-Type": "text/plain", **bearer(rotating.token(rotating.firebase()))}
    request = urllib.request.Request(f"{server.url}/predict", b"A brilliant film.", headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    assert rotating.fetches == 1


def test_a_stale_key_is_used_while_another_thread_fetches(rotating, clock):
    asked, go_on, slow = Event(), Event(), []

    def find():
        if slow:
            asked.set()
            assert go_on.wait(60)
        return f"{rotating.url}/jwks"

    keys = Keys(find, clock)
    assert keys.get("one")
    clock.now += 4000
    slow.append(True)
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(keys.get, "one")
        assert asked.wait(60)
        assert keys.get("one")
        go_on.set()
        assert fetching.result()
    assert rotating.fetches == 2


def test_without_any_keys_nobody_is_accepted_and_the_answer_says_when_to_retry(rotating, clock):
    rotating.down = True
    keys = Keys(lambda: f"{rotating.url}/jwks", clock)
    for _ in range(3):
        with pytest.raises(SignInUnavailable) as refused:
            keys.get("one")
        assert 1 <= int(refused.value.headers["Retry-After"]) <= PAUSE
    assert rotating.fetches == 1
    rotating.down = False
    clock.now += PAUSE
    assert keys.get("one")


def test_many_concurrent_requests_share_one_fetch(rotating):
    keys = Keys(lambda: f"{rotating.url}/jwks")
    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(keys.get, ["one"] * 20))
    assert rotating.fetches == 1


def test_a_caller_over_the_rate_limit_must_wait(clock):
    limit = Limit(Rate(3, 60), clock)
    for _ in range(3):
        limit.count("a")
    with pytest.raises(TooManyRequests) as refused:
        limit.count("a")
    assert refused.value.headers["Retry-After"] == "20"
    limit.count("b")
    clock.now += 20
    limit.count("a")
    with pytest.raises(TooManyRequests):
        limit.count("a")


def test_the_number_of_remembered_callers_is_limited(clock):
    limit = Limit(Rate(1, 3600), clock)
    limit.count("first")
    for number in range(MOST):
        limit.count(str(number))
    limit.count("first")


def config(**changes):
    content = {
        "apiKey": "AIza-1_x",
        "authDomain": "demo.firebaseapp.com",
        "projectId": PROJECT,
        "appId": "1:2",
    }
    return json.dumps({**content, **changes})


CONFIG = config()
WRONG_CONFIGS = [
    ("{apiKey: 'AIza'}", "expected JSON with the names in double quotes"),
    ("[]", "expected JSON"),
    ("7", "expected JSON"),
    ("[" * 5000, "expected JSON"),
    ('{"apiKey": "a"}', "expected JSON"),
    (config(apiKey="a:b"), "apiKey: expected letters"),
    (config(apiKey=["a"]), "apiKey: expected letters"),
    (config(projectId=7), "projectId: expected"),
    *(
        (config(authDomain=domain), "authDomain: expected a host")
        for domain in (
            "",
            "*",
            "*.firebaseapp.com",
            "a.com; script-src *",
            "https://a.com",
            "a.com/x",
            "a.com:8",
            "A.com",
            None,
            "a b.com",
        )
    ),
]


def test_the_console_s_configuration_is_read():
    settings = Settings.read({"SIGN_IN": "firebase:demo-project", "FIREBASE_CONFIG": CONFIG})
    assert settings.firebase_config == ("AIza-1_x", "demo.firebaseapp.com", PROJECT)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SIGN_IN": "firebase"}, "SIGN_IN: expected firebase:PROJECT_ID or oidc"),
        ({"SIGN_IN": "firebase:Not A Project"}, "SIGN_IN: expected"),
        ({"SIGN_IN": "oidc:http://login.example.org/"}, "SIGN_IN: expected"),
        ({"SIGN_IN": "oidc:https://login.example.org/"}, "SIGN_IN_AUDIENCE: expected"),
        ({"SIGN_IN": "firebase:demo-project", "SIGN_IN_AUDIENCE": "x"}, "SIGN_IN_AUDIENCE: it belongs"),
        ({"SIGN_IN_ALLOW": "anonymous"}, "SIGN_IN_ALLOW: set SIGN_IN too"),
        ({"SIGN_IN": "firebase:demo-project", "SIGN_IN_ALLOW": "everybody"}, "SIGN_IN_ALLOW: expected"),
        ({"SIGN_IN_KEYS": "https://keys.example.org/"}, "SIGN_IN_KEYS: expected http://127"),
        ({"SIGN_IN_KEYS": "http://127.0.0.1.evil.org/jwks"}, "SIGN_IN_KEYS: expected"),
        ({"SIGN_IN_KEYS": "http://127.0.0.1:1/jwks", "K_SERVICE": "x"}, "SIGN_IN_KEYS: it is for tests"),
        ({"SIGN_IN_KEYS": "http://127.0.0.1:1/jwks", "GAE_SERVICE": "x"}, "SIGN_IN_KEYS: it is for tests"),
        ({"FIREBASE_CONFIG": CONFIG}, "FIREBASE_CONFIG: it belongs to SIGN_IN=firebase"),
        ({"SIGN_IN": "firebase:another-one", "FIREBASE_CONFIG": CONFIG}, "projectId: expected 'another-one'"),
        *(
            ({"SIGN_IN": "firebase:demo-project", "FIREBASE_CONFIG": value}, f"FIREBASE_CONFIG: {message}")
            for value, message in WRONG_CONFIGS
        ),
        ({"APP_CHECK": "my-project"}, "APP_CHECK: expected the number"),
        ({"RATE_LIMIT": "60"}, "RATE_LIMIT: expected a rate such as 60/min"),
        ({"RATE_LIMIT": "0/min"}, "RATE_LIMIT: expected"),
    ],
)
def test_insecure_sign_in_settings_are_refused_at_the_start(variables, message):
    with pytest.raises(SettingError, match=message):
        Settings.read(variables)
