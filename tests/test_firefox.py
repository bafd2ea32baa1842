"""The pages in Firefox: the main tests of Chromium again, for each kind of function."""

import pytest
import toys
from axe import BARRIERS, script
from conftest import ROOT
from firefox import firefox as started

CELLS = [ROOT / "models" / "malaria" / "examples" / f"{name}.png" for name in ("infected", "normal")]
FILES = """const data = new DataTransfer();
for (const [name, bytes] of arguments[0]) {
    data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
}
document.querySelector("#choose").files = data.files;
document.querySelector("#choose").dispatchEvent(new Event("change"));"""
LISTEN = """window.complaints = [];
for (const kind of ["error", "unhandledrejection", "securitypolicyviolation"]) {
    addEventListener(kind, (event) => complaints.push(event.message ?? event.reason ?? event.blockedURI));
}"""
DONE = "['done', 'error'].includes(document.querySelector('#news').dataset.kind)"


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    with started(tmp_path_factory.mktemp("firefox")) as browser:
        yield browser


class Page:
    """A page in Firefox whose scripts must not raise or violate the content security policy."""

    def __init__(self, firefox, url):
        self.firefox = firefox
        firefox.open(url)
        firefox.run(LISTEN)

    def text(self, selector):
        return self.firefox.run("return document.querySelector(arguments[0]).innerText.trim()", selector)

    def click(self, selector):
        """Click; return the page's announcement."""
        self.firefox.run("tell(''); document.querySelector(arguments[0]).click()", selector)
        return self.done()

    def done(self):
        self.firefox.wait(DONE)
        return self.text("#news")

    def check(self):
        """Check that no script has failed, and that axe finds no accessibility barrier."""
        self.firefox.run(script())
        assert self.firefox.run(BARRIERS) == []
        assert self.firefox.run("return complaints") == []


@pytest.fixture
def toy(tmp_path, start):
    def toy(reader, labels, example, columns=()):
        folder = tmp_path / "toy"
        return start(toys.make(folder, reader, labels, example, columns), MODEL_STORE=str(folder)).url

    return toy


def test_images_one_and_many_with_the_heatmap_and_the_calls(firefox, start):
    page = Page(firefox, start(ROOT / "functions" / "malaria" / "main.py").url)
    assert "Infected, " in page.click("[data-file]")
    assert firefox.run("return document.querySelector('.heat').naturalWidth") > 0
    page.check()
    firefox.run("tell('')")
    firefox.run(FILES, [[path.name, list(path.read_bytes())] for path in CELLS])
    assert page.done() == "1 infected, 1 normal, 0 failed"
    assert page.text("th:nth-child(4)") == "Probability of infected"
    firefox.run("document.querySelector('input[value=frontend]').click()")
    assert "auth.currentUser.getIdToken()" in page.text("#call")
    page.check()


def test_a_review_with_its_words_and_a_link_to_it(firefox, start):
    url = start(ROOT / "functions" / "review" / "main.py").url
    page = Page(firefox, url)
    assert page.click("[data-text][lang=pcm]").startswith("Negative")
    assert firefox.run("return document.querySelectorAll('#words .word').length") > 5
    firefox.run("document.querySelector('#link button').click()")
    page.check()
    link = firefox.run("return location.href")
    assert link.startswith(f"{url}/#text=Dis+film")
    firefox.open("about:blank")
    page = Page(firefox, link)
    assert page.done().startswith("Negative")
    page.check()


def test_a_row_and_a_table_with_a_doubt(firefox, toy):
    page = Page(firefox, toy("Rows", ["small", "large", "odd"], {"size": 1, "weight": 2}, ["size", "weight"]))
    assert page.click("[data-row]").startswith("large")
    page.check()
    firefox.run("document.querySelector('#table').value = 'size,weight\\n0,1\\n2,1\\n'")
    assert page.click("#many button") == "1 \u00d7 small, 1 \u00d7 odd, 1 in doubt, 0 failed"
    assert page.text("td .warnings") == "It is <i>unlike</i> the training data."
    page.check()


def test_a_batch_can_be_cancelled(firefox, toy):
    page = Page(firefox, toy("Images", ["a", "b", "c"], toys.image(1)))
    firefox.run(
        "window.fetch = (_, {signal}) => new Promise((_, fail) => signal.onabort = () => fail(signal.reason))"
    )
    firefox.run(FILES, [[f"{place}.png", list(toys.image(place))] for place in (0, 1)])
    firefox.wait("!document.querySelector('#cancel').hidden")
    firefox.run("document.querySelector('#cancel').click()")
    firefox.wait("document.querySelector('#news').dataset.kind === 'stopped'")
    assert page.text("#news p") == "Cancelled: 0 of 2 images done."
    page.check()
