"""Signing in on a function's own page, with Firebase's real scripts and the real Auth emulator.

Google's servers cannot be reached from a test. The browser's requests to them are answered here: those for
scripts by the npm package, those of accounts by the emulator, whose tokens are signed on the way. Only
Google's window has a stand-in: for the script that opens it, and for what it says in the end.
"""

import contextlib
import json
import re
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from axe import barriers
from conftest import ROOT
from emulator import auth_emulator
from identity import PROJECT, provider
from npm import package
from page_calls import run_call

from shared.web.firebase import SCRIPTS, VERSION

DOMAIN = f"{PROJECT}.firebaseapp.com"
CONFIG = json.dumps({"apiKey": "AIza-any", "authDomain": DOMAIN, "projectId": PROJECT, "appId": "1:2:web:3"})
APIS = """
const handlers = {};
const frame = {
  restyle: async () => {}, ping: async (told) => told(), send: () => {},
  register: (name, handler) => (handlers[name] = handler),
};
const iframes = {
  CROSS_ORIGIN_IFRAMES_FILTER: null, Iframe: Object,
  getContext: () => ({open({where, url}, opened) {
    const made = document.createElement("iframe");
    made.src = url;
    where.append(made);
    return opened(frame);
  }}),
};
window.gapi = {iframes, load: (_, {callback}) => callback()};
addEventListener("message", ({data}) => data.authEvent && handlers.authEvent(data));
window[new URL(document.currentScript.src).searchParams.get("onload")]();
"""
WINDOW = """<!doctype html><title>Google</title><script>
const asked = new URLSearchParams(location.search);
const account = JSON.stringify({sub: "g-1", email: "grace@example.org", email_verified: true});
const postBody = new URLSearchParams({id_token: account, providerId: "google.com"}).toString();
opener.postMessage({authEvent: {
  type: asked.get("authType"), eventId: asked.get("eventId"), urlResponse: "http://localhost", postBody,
  sessionId: "any", tenantId: null, error: null,
}}, "*");
</script>"""


@pytest.fixture(scope="module")
def issuer():
    with provider() as server:
        yield server


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """The address of the real Auth emulator, in which Ada has an account."""
    with auth_emulator(tmp_path_factory.mktemp("emulator")) as url:
        post(
            f"{url}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=any",
            b'{"email": "ada@example.org", "password": "secret-1"}',
            "application/json",
        )
        yield url


def post(url, body, kind, method="POST"):
    """Return the status and the content of the emulator's answer."""
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class Visitor:
    """A browser whose requests to Google are answered here; `complaints` has the console's errors."""

    def __init__(self, context, emulator, issuer):
        self.firebase = package("firebase", VERSION)
        self.emulator, self.issuer = emulator, issuer
        self.expired = False
        self.complaints, self.posts = [], []
        self.change = lambda script: script
        context.route(re.compile(r"https://.*"), self.answer)
        context.on("console", self.heard)
        context.on("response", self.answered)
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def heard(self, message):
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def answered(self, response):
        if "/predict" in response.url:
            self.posts.append(response.status)

    def answer(self, route):
        parts = urlsplit(route.request.url)
        if route.request.url.startswith(SCRIPTS):
            script = self.change((self.firebase / route.request.url.removeprefix(SCRIPTS)).read_text())
            self.fulfill(route, script, "text/javascript")
        elif parts.netloc in ("identitytoolkit.googleapis.com", "securetoken.googleapis.com"):
            self.ask_emulator(route, parts)
        elif (parts.netloc, parts.path) == ("apis.google.com", "/js/api.js"):
            self.fulfill(route, APIS, "text/javascript")
        elif parts.netloc == DOMAIN:
            self.fulfill(
                route, WINDOW if parts.path == "/__/auth/handler" else "<!doctype html>", "text/html"
            )
        else:
            self.complaints.append(f"asked for {route.request.url}")
            route.abort()

    @staticmethod
    def fulfill(route, body, kind, status=200):
        headers = {"Access-Control-Allow-Origin": "*", "Content-Type": kind}
        route.fulfill(status=status, headers=headers, body=body)

    def ask_emulator(self, route, parts):
        asked = route.request
        url = f"{self.emulator}/{parts.netloc}{parts.path}?{parts.query}"
        kind = asked.headers.get("content-type", "application/json")
        body = asked.post_data_buffer if asked.method == "POST" else None
        status, content = post(url, body, kind, asked.method)
        for name in {"idToken", "id_token", "access_token"} & set(content):
            past = {"exp": 1} if self.expired and name == "idToken" else {}
            content[name] = self.issuer.resigned(content[name], **past)
        if parts.path.endswith("/projects"):
            content["authorizedDomains"] = ["127.0.0.1"]
        self.fulfill(route, json.dumps(content), "application/json", status)

    def classify(self):
        """Try an example; return the page's announcement."""
        self.page.evaluate("tell('')")
        self.page.click("[data-text][lang=en]")
        self.page.wait_for_selector("#news[data-kind=done], #news[data-kind=error]", state="attached")
        return self.page.inner_text("#news")

    def sign_in(self, password="secret-1"):
        self.page.fill("[name=email]", "ada@example.org")
        self.page.fill("[name=password]", password)
        self.page.click("#sign-in button.primary")


@pytest.fixture
def visitor(browser, emulator, issuer):
    with contextlib.closing(
        browser.new_context(color_scheme="dark", viewport={"width": 320, "height": 640})
    ) as context:
        visitor = Visitor(context, emulator, issuer)
        yield visitor
        assert visitor.complaints == []


@pytest.fixture(scope="module")
def settings(issuer):
    return {**issuer.settings, "FIREBASE_CONFIG": CONFIG}


def test_a_user_signs_in_classifies_and_signs_out(visitor, start, settings, tmp_path):
    page = visitor.page
    page.goto(start(ROOT / "functions" / "review" / "main.py", **settings).url)
    assert visitor.classify().startswith("Sign in first, at the top of this page.")
    visitor.sign_in("wrong")
    page.wait_for_selector("#account-news:has-text('No account has this e-mail address and password.')")
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    visitor.expired = True
    visitor.sign_in()
    page.wait_for_selector("#user:has-text('ada@example.org')")
    assert page.evaluate("document.activeElement.id") == "sign-out"
    assert page.inner_text("#account-news") == ""
    page.click("#news button:text('Try again')")
    page.wait_for_selector("#news[data-kind=done]", state="attached")
    assert visitor.posts == [401, 200]  # the first token had expired, and Firebase has renewed it
    for kind in ("curl", "javascript", "frontend"):
        token = page.input_value("#id-token")
        assert run_call(page, kind, tmp_path, token)["review_sentiment"] == "Positive", kind

    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.reload()
    page.wait_for_selector("#user:has-text('ada@example.org')")
    assert visitor.classify().startswith("Positive")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_function("() => loaded.then(() => true)")
    assert other.is_visible("#sign-in")
    other.close()

    page.click("#sign-out")
    page.wait_for_selector("#sign-in")
    assert page.input_value("#id-token") == ""
    assert visitor.classify().startswith("Sign in first")


def test_a_user_signs_in_with_googles_window(visitor, start, settings):
    page = visitor.page
    page.goto(start(ROOT / "functions" / "malaria" / "main.py", **settings).url)
    with page.expect_popup():
        page.click("#google")
    page.wait_for_selector("#user:has-text('grace@example.org')")
    page.click("[data-file]")
    page.wait_for_selector("#news[data-kind=done]", state="attached")
    assert page.eval_on_selector("iframe", "frame => frame.getBoundingClientRect().bottom") < 0


def test_a_modified_firebase_script_does_not_run(visitor, start, settings):
    visitor.change = lambda script: script + "\n"
    visitor.page.goto(start(ROOT / "functions" / "review" / "main.py", **settings).url)
    visitor.page.wait_for_selector("#account-news:has-text('could not be loaded; open the page again')")
    assert visitor.classify().startswith("Sign in first")
    blocked = [text for text in visitor.complaints if "integrity" in text]
    assert blocked
    assert blocked == visitor.complaints
    visitor.complaints.clear()


def test_without_a_configuration_the_page_allows_no_firebase_scripts(load, issuer, monkeypatch):
    for variable, value in issuer.settings.items():
        monkeypatch.setenv(variable, value)
    answers = []
    for config in ("", CONFIG):
        monkeypatch.setenv("FIREBASE_CONFIG", config)
        answers.append(load("review").get("/", headers={"Accept": "text/html"}))
    without, given = (each.headers["Content-Security-Policy"] for each in answers)
    assert "https:" not in without
    assert "importmap" not in answers[0].text
    assert "firebasejs" not in answers[0].text
    assert answers[0].headers["Referrer-Policy"] == "no-referrer"
    assert f"frame-src https://{DOMAIN};" in given + ";"
    assert (
        "connect-src 'self' https://identitytoolkit.googleapis.com https://securetoken.googleapis.com"
        in given
    )
    assert "unsafe" not in given
