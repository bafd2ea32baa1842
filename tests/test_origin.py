"""A web page of another origin that calls a function, in a real browser."""

import http.server
import json
import threading

import pytest
from conftest import FUNCTIONS, ROOT

IMAGE = (ROOT / "models/malaria/examples/infected.png").read_bytes()
ASK = """async ([url, name, bytes, json]) => {
    let body = new URLSearchParams({movie_review: "A brilliant film, I loved it."});
    if (bytes.length) {
        body = new FormData();
        body.append(name, new Blob([new Uint8Array(bytes)], {type: "image/png"}), "cell.png");
    }
    const options = json === null ? {method: "POST", body}
        : {method: "POST", body: json,
           headers: {"Content-Type": "application/json", "X-Requested-With": "fetch", "sentry-trace": "1-2"}};
    const answer = await fetch(url, options);
    const told = ["Server-Timing", "Retry-After"].map(name => answer.headers.get(name));
    return [answer.status, await answer.json(), ...told];
}"""


@pytest.fixture
def page(browser):
    """An empty page on another origin, `page.origin`."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>a lab</title>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    opened = browser.new_page()
    opened.set_default_timeout(60_000)
    opened.origin = f"http://127.0.0.1:{server.server_address[1]}"
    opened.goto(opened.origin)
    yield opened
    opened.close()
    server.shutdown()
    server.server_close()


def ask(page, url, name, json=None):
    image = [*IMAGE] if name == "malaria" else []
    return page.evaluate(ASK, [url, "malaria_cell_image", image, json])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_allowed_page_reads_answers_refusals_and_outages(name, page, start, tmp_path):
    server = start(ROOT / "functions" / name / "main.py", ALLOWED_ORIGINS="http://127.0.0.1:*")
    status, answer, timing, _ = ask(page, server.url, name)
    assert (status, answer["error"]) == (200, "0")
    assert "predict;dur=" in timing
    status, answer, _, _ = ask(page, server.url, name, json.dumps({"nothing": 1}))  # asks for leave first
    assert (status, answer["code"]) == (400, "bad_request")
    empty = start(
        ROOT / "functions" / name / "main.py", ALLOWED_ORIGINS=page.origin, MODEL_STORE=str(tmp_path)
    )
    status, answer, _, retry = ask(page, empty.url, name)
    assert (status, answer["code"]) == (503, "model_unavailable")
    assert int(retry) >= 1


@pytest.mark.parametrize("allowed", ["", "https://another.example.org, https://127.0.0.1:*"])
def test_a_page_that_is_not_allowed_reads_nothing(allowed, page, start):
    server = start(ROOT / "functions" / "review" / "main.py", ALLOWED_ORIGINS=allowed)
    with pytest.raises(Exception, match="Failed to fetch"):
        ask(page, server.url, "review")
    with pytest.raises(Exception, match="Failed to fetch"):
        ask(page, server.url, "review", "{}")
