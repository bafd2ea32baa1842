"""The page of docs/frontends.md in a real browser, from another origin, on the functions' processes.

Google's servers cannot be reached from a test. A server here serves the page, Firebase's scripts and tokens:
those of the real Auth emulator, signed. The scripts are the real ones if NPM_PACKAGES names a folder
`node_modules` with the package `firebase`, otherwise a stand-in of the functions that the page uses. Nothing
is intercepted in the browser, which would then answer its preflights itself. The examples for React and axios
run with the real packages, or are skipped.
"""

import http.server
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest
from conftest import FUNCTIONS, ROOT
from identity import EMULATED, PROJECT, claims_of, provider
from npm import package
from page_calls import run_call
from processes import free_port

from shared.web.firebase import SCRIPTS

TEXT = (ROOT / "docs" / "frontends.md").read_text()
CELL = ROOT / "models" / "malaria" / "examples" / "infected.png"
STAND_IN = """
const auth = {currentUser: null};
const listeners = [];
export const initializeApp = (options) => options;
export const getAuth = () => auth;
export class GoogleAuthProvider {}
export function onAuthStateChanged(_, listener) { listeners.push(listener); listener(auth.currentUser); }
const post = async (path, content) =>
  (await fetch(path, {method: "POST", body: JSON.stringify(content)})).json();
function enter(answer) {
  const renew = async () => (await post("/v1/token")).id_token;
  auth.currentUser = {email: answer.email, getIdToken: async (again) => again ? renew() : answer.idToken};
  listeners.forEach((listener) => listener(auth.currentUser));
}
export const signInWithEmailAndPassword = async (_, email, password) =>
  enter(await post("/v1/accounts:signInWithPassword", {email, password}));
export const signInWithPopup = async () => enter(await post("/v1/accounts:signInWithPassword"));
"""
READ = """async ([url, token]) => {
    const headers = token === null ? {} : {Authorization: `Bearer ${token}`};
    const body = new URLSearchParams({text: "A brilliant film."});
    const answer = await fetch(url, {method: "POST", headers, body});
    const told = ["Retry-After", "WWW-Authenticate"].map((name) => answer.headers.get(name));
    return [answer.status, (await answer.json()).code ?? null, ...told];
}"""


def scripts(origin):
    """Firebase's two scripts by name, which ask this origin in place of Google's servers."""
    folder = Path(os.environ.get("NPM_PACKAGES", "none"), "firebase")
    if not folder.is_dir():
        return {"firebase-app.js": STAND_IN, "firebase-auth.js": 'export * from "/firebase-app.js";'}
    changes = {
        r"https://www\.gstatic\.com/firebasejs/[^/]+": origin,
        r'"(identitytoolkit|securetoken)\.googleapis\.com"': f'"{origin.removeprefix("http://")}"',
        r'apiScheme:"https"': 'apiScheme:"http"',
    }
    found = {}
    for name in ("firebase-app.js", "firebase-auth.js"):
        found[name] = (folder / name).read_text()
        for before, after in changes.items():
            found[name] = re.sub(before, after, found[name])
    return found


@pytest.fixture(scope="module")
def issuer():
    with provider() as server:
        yield server


@pytest.fixture
def origin(issuer):
    """The page's server; its `page` is what `/` answers. The first token that it gives out has expired."""
    user = claims_of(EMULATED["email"])
    about = {"localId": user["sub"], "email": user["email"], "refreshToken": "again"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.strip("/")
            kind = "text/javascript" if name.endswith(".js") else "text/html; charset=utf-8"
            self.answer(self.server.scripts.get(name, self.server.page), kind)

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            old, new = int(time.time()) - 60, issuer.resigned(EMULATED["email"])
            content = {
                "/v1/accounts:signInWithPassword": {
                    **about,
                    "idToken": issuer.resigned(EMULATED["email"], exp=old),
                    "expiresIn": "3600",
                },
                "/v1/accounts:lookup": {"users": [{**about, "providerUserInfo": []}]},
                "/v1/token": {
                    "id_token": new,
                    "access_token": new,
                    "refresh_token": "again",
                    "expires_in": "3600",
                },
            }[self.path.partition("?")[0]]
            self.answer(json.dumps(content), "application/json")

        def answer(self, text, kind):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    server.page, server.scripts = "", scripts(server.url)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def opened(browser):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def documented(origin, malaria, review):
    """The page as the document has it, with its addresses filled in."""
    [text] = re.findall(r"^```html\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    changes = {
        SCRIPTS.rstrip("/"): origin,
        "https://malaria.example.run.app": malaria,
        "https://review.example.run.app": review,
    }
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    assert "https://" not in text
    return text


def answered(page, words):
    page.wait_for_function("words => document.querySelector('#answer').textContent.match(words)", arg=words)
    return page.inner_text("#answer")


def test_a_signed_in_user_calls_both_functions_from_the_documented_page(origin, opened, start, issuer):
    settings = {**issuer.settings, "ALLOWED_ORIGINS": origin.url, "RATE_LIMIT": "2/h"}
    urls = [start(ROOT / "functions" / name / "main.py", **settings).url for name in ("malaria", "review")]
    origin.page = documented(origin.url, *urls)
    statuses, complaints = [], []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("response", lambda answer: statuses.append(answer.status) if "/predict" in answer.url else None)
    opened.goto(origin.url)
    opened.fill("textarea", "A brilliant film, I loved it.")
    opened.click("#review button")
    answered(opened, "Sign in first")

    opened.fill("[name=email]", "ada@example.org")
    opened.fill("[name=password]", "secret-1")
    opened.click("#account button")
    answered(opened, "You have signed in")
    assert opened.inner_text("#who") == f"Signed in as {claims_of(EMULATED['email'])['email']}."

    opened.click("#review button")
    answered(opened, "Positive")
    assert [status for status in statuses if status != 204] == [401, 200]  # the first token had expired
    opened.set_input_files("[name=image]", CELL)
    opened.click("#cell button")
    answered(opened, "Infected")

    opened.click("#review button")
    answered(opened, "Positive")
    opened.click("#review button")
    assert re.search(
        r"at most 2 requests in 3600 seconds.* Try again in \d+ s\.", answered(opened, "Try again")
    )
    assert not complaints


@pytest.fixture
def reviews(origin, opened, start, issuer):
    """The address of a function that only users may call; the page that may is open, and has no account."""
    settings = {**issuer.settings, "ALLOWED_ORIGINS": origin.url}
    url = start(ROOT / "functions" / "review" / "main.py", **settings).url
    opened.goto(origin.url)
    return url


def test_the_documented_fetch_reads_many_answers(reviews, opened, issuer):
    [fetching] = [
        each for each in re.findall(r"^```js\n(.*?)^```", TEXT, re.M | re.S) if "await fetch(" in each
    ]
    script = f"async ([REVIEW, token]) => {{ {fetching}; return predictions; }}"
    found = opened.evaluate(script, [reviews, issuer.resigned(EMULATED["email"])])
    assert [each["review_sentiment"] for each in found] == ["Positive", "Negative"]


def test_the_documented_axios_calls_and_tells_each_failure(reviews, opened, issuer):
    opened.add_script_tag(path=package("axios") / "dist" / "axios.min.js")
    [example] = [each for each in re.findall(r"^```js\n(.*?)^```", TEXT, re.M | re.S) if "axios" in each]
    script = f"""async ([REVIEW, idToken, text]) => {{
        let shown;
        const show = (words) => (shown = words), token = async () => idToken;
        {example}
        return shown;
    }}"""
    user = issuer.resigned(EMULATED["email"])
    assert opened.evaluate(script, [reviews, user, "A brilliant film."]) == "Positive"
    assert "blank" in opened.evaluate(script, [reviews, user, " "])
    assert "three parts" in opened.evaluate(script, [reviews, "junk", "A brilliant film."])
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert opened.evaluate(script, [nowhere, user, "A film."]) == "The function could not be reached."


# The packages are CommonJS, as bundlers take them; this is all of a bundler that they need.
REQUIRE = """(sources) => {
    const loaded = {};
    window.require = (name) => {
        if (!loaded[name]) {
            const module = loaded[name] = {exports: {}};
            new Function("exports", "require", "module", "process", sources[name])(
                module.exports, require, module, {env: {NODE_ENV: "production"}});
        }
        return loaded[name].exports;
    };
}"""
REACT = {
    "react": "react/cjs/react.production.js",
    "scheduler": "scheduler/cjs/scheduler.production.js",
    "react-dom": "react-dom/cjs/react-dom.production.js",
    "react-dom/client": "react-dom/cjs/react-dom-client.production.js",
}


def test_the_documented_react_component_calls_and_tells_why_not(reviews, opened, issuer):
    files = {name: package(name.partition("/")[0]).parent / path for name, path in REACT.items()}
    opened.evaluate(REQUIRE, {name: path.read_text() for name, path in files.items()})
    opened.add_script_tag(path=package("@babel/standalone") / "babel.min.js")
    [example] = re.findall(r"^```jsx\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    opened.evaluate(
        """([example, REVIEW, idToken]) => {
            const React = require("react");
            const { code } = Babel.transform(example, {presets: [["react", {runtime: "classic"}]]});
            const Review = new Function("React", "REVIEW", `${code}; return Review;`)(React, REVIEW);
            const props = {token: async () => idToken};
            require("react-dom/client").createRoot(document.body).render(React.createElement(Review, props));
        }""",
        [example, reviews, issuer.resigned(EMULATED["email"])],
    )
    for text, said in (("A brilliant film.", "Positive"), (" ", "blank")):
        opened.fill("textarea", text)
        opened.click("button")
        opened.wait_for_function("said => document.querySelector('p').textContent.includes(said)", arg=said)


def test_a_page_of_another_origin_reads_each_refusal(origin, opened, start, issuer):
    settings = {**issuer.settings, "ALLOWED_ORIGINS": origin.url, "RATE_LIMIT": "1/h"}
    url = start(ROOT / "functions" / "review" / "main.py", **settings).url + "/predict"
    opened.goto(origin.url)
    user, anonymous = (issuer.resigned(EMULATED[name]) for name in ("email", "anonymous"))
    for token in (None, "junk", EMULATED["email"]):
        challenge = "Bearer" if token is None else 'Bearer error="invalid_token"'
        assert opened.evaluate(READ, [url, token]) == [401, "unauthenticated", None, challenge]
    assert opened.evaluate(READ, [url, anonymous]) == [403, "forbidden", None, None]
    assert opened.evaluate(READ, [url, user]) == [200, None, None, None]
    status, code, retry, _ = opened.evaluate(READ, [url, user])
    assert (status, code) == (429, "too_many_requests")
    assert 1 <= int(retry) <= 3600
    with pytest.raises(Exception, match="Failed to fetch"):
        opened.evaluate(READ, [url, "x" * 100_000])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_functions_own_page_sends_the_tokens_and_shows_them(name, opened, start, issuer, tmp_path):
    complaints = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(start(ROOT / "functions" / name / "main.py", **issuer.settings, APP_CHECK="123456789012").url)
    issued = "https://firebaseappcheck.googleapis.com/123456789012"
    app = issuer.firebase(iss=issued, aud=["projects/123456789012"], sub="1:1:web:a")
    tried = opened.locator(".examples button").first
    (tmp_path / (tried.get_attribute("data-file") or "none")).write_bytes(CELL.read_bytes())
    tried.click()
    opened.wait_for_selector("#news[data-kind=error], .failure, tbody tr", state="attached")
    assert "App Check" in opened.inner_text("main")
    tokens = [issuer.resigned(EMULATED["email"]), issuer.token(app)]
    opened.get_by_label("App Check token").fill(tokens[1])
    opened.get_by_label(f"ID token of {PROJECT}").fill(tokens[0] + "\u2026\n")
    tried.click()
    opened.wait_for_selector("#news[data-kind=done]", state="attached")
    for kind in ("curl", "python", "javascript", "frontend"):
        answer = run_call(opened, kind, tmp_path, *tokens)
        assert all(one["error"] == "0" for one in answer.get("predictions", [answer])), kind
    opened.get_by_label("App Check token").fill("")
    assert run_call(opened, "javascript", tmp_path)["code"] == "unauthenticated"
    assert not complaints


def test_without_sign_in_the_page_needs_no_token(load):
    text = load("review").get("/", headers={"Accept": "text/html"}).text
    assert 'id="proofs"' not in text
    assert "#text" in text
