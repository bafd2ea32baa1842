"""The pages, in a real browser on a real process. Every visit checks that no request leaves the origin."""

import contextlib
import csv
import functools
import importlib.util
import io
import json
import shutil
import sys
from pathlib import Path

import cells
import pytest
import toys
from axe import barriers
from conftest import ROOT
from page_calls import run_call
from processes import running

EXAMPLES = ROOT / "models" / "malaria" / "examples"
INFECTED, NORMAL = EXAMPLES / "infected.png", EXAMPLES / "normal.png"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
NAMES = ("malaria", "review")
KINDS = ("curl", "python", "javascript", "frontend")

# Drops or pastes files into the page.
DELIVER = """([type, carrier, files]) => {
    const data = new DataTransfer();
    for (const [name, type, bytes] of files) {
        data.items.add(new File([new Uint8Array(bytes)], name, {type}));
    }
    const init = {bubbles: true, cancelable: true, [carrier]: data};
    const event = type === "drop" ? new DragEvent(type, init) : new ClipboardEvent(type, init);
    document.querySelector("#drop").dispatchEvent(event);
}"""


class Visit:
    """A page of one function in a fresh profile, with a record of its requests and errors."""

    def __init__(self, browser, url, options):
        self.url = url
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", self._asked)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)

    def _asked(self, request):
        self.requests.append(request)

    def _heard(self, message):
        # The browser logs a refused request too; the page reports it already.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def posts(self):
        return [request for request in self.requests if request.method == "POST"]

    def close(self):
        self.context.close()
        elsewhere = [
            request.url
            for request in self.requests
            if not request.url.startswith((self.url, "data:", f"blob:{self.url}"))
        ]
        assert not self.complaints
        assert not elsewhere


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Serve the function of a source file; tests with the same settings share one process."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def serve(source, **environment):
            command = f"python -m functions_framework --target=predict --source={source} --host=127.0.0.1"
            log = tmp_path_factory.mktemp("page") / "log"
            return stack.enter_context(
                running(command, ROOT, Path(sys.executable).parent, log, **environment)
            )

        yield serve


@pytest.fixture
def visit(browser, serve):
    """Open the page of a function, which must not violate its policy, raise, or call another origin."""
    visits = []

    def visit(function, environment=None, path="/", **options):
        source = function if isinstance(function, Path) else ROOT / "functions" / function / "main.py"
        url = serve(source, **(environment or {}))
        visits.append(Visit(browser, url, options))
        visits[-1].page.goto(url + path)
        return visits[-1]

    yield visit
    for opened in visits:
        opened.close()


FEW = {"MAX_INSTANCES": "32"}

# A possible name of a label, a column or a file, which no page may interpret as markup.
HOSTILE = '</script><script>document.title = "taken over"</script><b>&amp; "\'{{ 1 }}'
MANY = [HOSTILE, "=1+1", *(f"label {place}" + " and so on" * place for place in range(2, 25))]
COLUMNS = ["length (cm)", "constructor", 'a "<b>width</b>"', "petal, µ"]
TOYS = {
    "many-images": ("Images", MANY, toys.image(3)),
    "some_texts": ("Texts", ["sports", HOSTILE, "culture & arts"], "Two words"),
    "flowers": (
        "Rows",
        ["setosa", "versicolor", "virginica"],
        dict(zip(COLUMNS, (1, 2.5, -3, 0), strict=True)),
        COLUMNS,
    ),
    "spam": ("Texts", ["ham", "spam"], "One"),
}


@pytest.fixture(scope="module")
def toybox(tmp_path_factory):
    """Functions without a page of their own: the path of the main.py of each."""
    folder = tmp_path_factory.mktemp("toys")
    made = {name: toys.make(folder / name, *parts) for name, parts in TOYS.items()}
    example = folder / "many-images" / "example.json"
    example.write_text(json.dumps({**json.loads(example.read_text()), "label": MANY[3]}))
    return made


@pytest.fixture
def toy(visit, toybox):
    """Open the page of one of them."""

    def toy(name, environment=None, **options):
        return visit(
            toybox[name], {"MODEL_STORE": str(toybox[name].parent), **(environment or {})}, **options
        )

    return toy


def upload(name, data, kind="image/png"):
    return {"name": name, "mimeType": kind, "buffer": data}


def choose(page, *files):
    page.set_input_files("#choose", list(files))


def done(page):
    """Wait for the result; return the page's announcement for screen readers."""
    page.wait_for_selector("#news[data-kind=done], #news[data-kind=error]", state="attached")
    return page.inner_text("#news")


def rows(page):
    """Return the texts of the table's cells, row by row."""
    script = "rows => rows.map(row => [...row.cells].slice(1).map(cell => cell.textContent.trim()))"
    return page.eval_on_selector_all("tbody tr", script)


def number(text):
    return float(text.replace("\u2212", "-"))


def heat(page):
    """Return the opacity of the heatmap after its transition."""
    return page.eval_on_selector(
        ".heat",
        """async (image) => {
            await Promise.allSettled(image.getAnimations().map((one) => one.finished));
            return Number(getComputedStyle(image).opacity);
        }""",
    )


def test_a_chosen_cell_gets_its_label_and_on_focus_its_heatmap(visit):
    page = visit("malaria").page
    choose(page, INFECTED)
    said = done(page)
    assert said.startswith("infected.png: Infected")
    assert page.inner_text(".verdict") == "Infected"
    assert heat(page) == 0
    page.focus("button.cell")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('button.cell')")
    assert heat(page) == 1
    assert page.eval_on_selector(".heat", "image => image.naturalWidth") > 0
    boxes = page.eval_on_selector_all(
        ".cell img", "images => images.map(image => JSON.stringify(image.getBoundingClientRect()))"
    )
    assert boxes[0] == boxes[1]


def test_a_dropped_or_pasted_cell_is_classified(visit):
    page = visit("malaria").page
    for event, carrier in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        name = f"by-{event}.png"
        page.evaluate(DELIVER, [event, carrier, [[name, "image/png", list(NORMAL.read_bytes())]]])
        assert done(page).startswith(f"{name}: Normal")
        clear(page)


def test_the_drawn_examples_get_their_label_and_the_figures_are_the_pinned_ones(visit):
    page = visit("malaria").page
    pin = json.loads((ROOT / "functions" / "malaria" / "model.json").read_text())
    page.wait_for_selector("#figures dd")
    assert pin["version"] in page.inner_text("#version")
    assert f"{pin['metrics']['auroc']:.3f}" in page.inner_text("#figures")
    for button in page.query_selector_all("[data-file]"):
        button.click()
        said = done(page)
        assert ("Normal" if "normal" in button.get_attribute("data-file") else "Infected") in said
        clear(page)


def test_the_first_answer_says_that_the_model_had_to_be_loaded_and_the_next_does_not(visit):
    page = visit("malaria", {"THREADS": "7"}).page  # a process of its own, that nobody has asked yet
    assert "not loaded yet when this page was opened" in page.inner_text("#version")
    choose(page, NORMAL)
    done(page)
    assert "The model had to be loaded first: fetch" in page.inner_text("#timing")
    clear(page)
    choose(page, NORMAL)
    done(page)
    assert page.inner_text("#timing").startswith("Answered in")
    assert "loaded" not in page.inner_text("#timing")
    page.reload()
    assert "loaded" not in page.inner_text("#version")


def test_a_batch_is_counted_sorted_and_downloaded_and_a_broken_file_affects_no_other(visit):
    page = visit("malaria").page
    names = ["c.png", "=cmd|' /C calc'!A0.png", 'a "quoted", name.png', "b.svg"]
    contents = [INFECTED.read_bytes(), NORMAL.read_bytes(), INFECTED.read_bytes(), SVG]
    choose(page, *map(upload, names, contents))
    assert done(page) == "2 infected, 1 normal, 1 failed"
    assert page.inner_text("#counts") == "2 infected \u00b7 1 normal \u00b7 1 failed"
    assert [row[0] for row in rows(page)] == names
    assert [row[1].split(":")[0] for row in rows(page)] == ["Infected", "Normal", "Infected", "Failed"]
    assert "expected a PNG, JPEG, WEBP, BMP, GIF, TIFF" in rows(page)[3][1]

    page.click("th button:text('File')")
    assert page.get_attribute("th:nth-child(2)", "aria-sort") == "ascending"
    ascending = [row[0] for row in rows(page)]
    assert sorted(ascending) == sorted(names)
    assert ascending.index("b.svg") < ascending.index("c.png")
    page.click("th button:text('File')")
    assert [row[0] for row in rows(page)] == ascending[::-1]
    page.click("th button:text('File')")
    assert [row[0] for row in rows(page)] == names
    page.click("th button:text('Probability')")
    assert [row[0] for row in rows(page)][:2] == ["b.svg", names[1]]

    with page.expect_download() as download:
        page.click("#csv")
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text)))
    assert [line["file"] for line in table] == [names[0], "'" + names[1], *names[2:]]
    assert [line["result"] for line in table] == ["infected", "normal", "infected", "failed"]
    assert float(table[0]["probability_infected"]) > 0.5 > float(table[1]["probability_infected"])
    assert not table[3]["probability_infected"]
    assert "expected a PNG" in table[3]["error"]


def test_more_images_than_a_request_holds_go_in_several_and_keep_their_order(visit):
    visited = visit("malaria", FEW)
    page = visited.page
    files = [(f"{index}.png", INFECTED if index % 3 else NORMAL) for index in range(40)]
    choose(page, *(upload(name, path.read_bytes()) for name, path in files))
    assert done(page) == "26 infected, 14 normal, 0 failed"
    assert len(visited.posts()) == 2
    expected = [[name, "Infected" if path == INFECTED else "Normal"] for name, path in files]
    assert [row[:2] for row in rows(page)] == expected


def test_a_file_over_the_limit_of_a_request_fails_alone(visit):
    visited = visit("malaria", {"MAX_BODY_MB": "1"})
    page = visited.page
    large = cells.encode(cells.draw(True, 3).resize((700, 700)), "BMP")
    medium = cells.encode(cells.draw(True, 3).resize((450, 450)), "BMP")
    assert len(large) > 1_000_000 > len(medium) > 500_000
    files = {"large.bmp": large, "one.bmp": medium, "two.bmp": medium}
    choose(page, *(upload(name, data, "image/bmp") for name, data in files.items()))
    done(page)
    assert "expected less than 1.0 MB" in rows(page)[0][1]
    assert [row[1] for row in rows(page)][1:] == ["Infected", "Infected"]
    assert len(visited.posts()) == 2


def test_an_svg_is_refused_in_the_words_of_the_service(visit):
    page = visit("malaria").page
    choose(page, upload("drawing.svg", SVG, "image/svg+xml"))
    assert "drawing.svg\u201d: expected a PNG, JPEG, WEBP, BMP, GIF, TIFF" in done(page)
    assert page.is_hidden("#result")


def test_without_its_model_the_page_counts_down_and_retries_once(visit, tmp_path):
    visited = visit("review", {"MODEL_STORE": str(tmp_path)})
    page = visited.page
    page.click("[data-text][lang=pcm]")
    page.wait_for_selector("#news:has-text('Trying again in')")
    assert done(page).startswith("The model is not available at the moment; try again shortly.")
    assert len(visited.posts()) == 2
    assert page.is_visible("#news button:text('Try again')")


def test_if_the_model_loads_meanwhile_the_answer_appears_by_itself(visit):
    page = visit("malaria").page
    asked = []

    def asleep_at_first(route):
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "it sleeps"})

    page.route("**/classify**", asleep_at_first)
    choose(page, INFECTED, NORMAL)
    assert done(page) == "1 infected, 1 normal, 0 failed"
    assert len(asked) == 2


def test_a_failure_in_front_of_the_service_is_reported_too(visit):
    page = visit("review").page
    page.route("**/predict**", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.fill("#text", "A film")
    page.click("form button")
    assert done(page).startswith("The server answered 502 without a reason.")
    problem = {"detail": "Something went wrong; it has been logged.", "id": "1f2e3d"}
    page.route("**/predict**", lambda route: route.fulfill(status=500, json=problem))
    clear(page)
    page.click("form button")
    assert done(page).startswith(f"{problem['detail']} The log has the cause under 1f2e3d.")


def test_the_page_says_if_a_model_has_no_explanation(visit):
    page = visit("malaria").page
    answer = {"error": "0", "classification": "Infected", "probabilities": {"Infected": 0.9, "Normal": 0.1}}
    page.route("**/classify**", lambda route: route.fulfill(json={**answer, "explanation": None}))
    choose(page, INFECTED)
    assert done(page).startswith("infected.png: Infected")
    assert "This model cannot explain its answers." in page.inner_text("#result")
    assert page.query_selector(".heat") is None
    page = visit("review").page
    answer = {"review_sentiment": "Positive", "probabilities": {"Positive": 0.9, "Negative": 0.1}}
    page.route("**/predict**", lambda route: route.fulfill(json={**answer, "explanation": None}))
    page.fill("#text", "A wonderful film")
    page.click("form button")
    done(page)
    assert "This model cannot explain its answers." in page.inner_text("#result")
    assert page.inner_text("#words") == "A wonderful film"


def test_an_unreachable_service_is_reported_and_can_be_retried(visit):
    visited = visit("malaria")
    page = visited.page
    page.wait_for_selector("#figures dd")
    visited.context.set_offline(True)
    choose(page, INFECTED, NORMAL)
    assert "The service could not be reached" in done(page)
    assert [row[1].split(":")[0] for row in rows(page)] == ["Failed", "Failed"]
    visited.context.set_offline(False)
    page.click("#news button")
    page.wait_for_selector("#news[data-kind=done]", state="attached")
    assert [row[1] for row in rows(page)] == ["Infected", "Normal"]


def test_the_words_of_a_review_and_the_start_add_up_to_its_log_odds(visit):
    page = visit("review").page
    page.fill("#text", "The plot is boring, but I loved\nthe music :) and the acting!")
    page.click("form button")
    done(page)
    titles = page.eval_on_selector_all("#words .word", "words => words.map(word => word.title)")
    words = [number(title.split()[0]) for title in titles]
    start, together, total = (
        number(part.split()[-1].rstrip(".,:"))
        for part in page.inner_text("#sum").replace(":", ",").split(", ")[:3]
    )
    assert together == pytest.approx(sum(words), abs=0.0006 * len(words))
    assert total == pytest.approx(start + together, abs=0.002)
    shown = page.eval_on_selector("#words", "words => words.textContent")
    assert shown == page.input_value("#text")
    for word in page.query_selector_all("#words .word"):
        line = word.evaluate("word => getComputedStyle(word).textDecorationLine")
        assert (line == "underline") == word.get_attribute("title").startswith("\u2212")


def test_the_tint_falls_on_the_right_words_behind_emoji_and_markup_stays_text(visit):
    page = visit("review").page
    text = "🎬🔥 <img src=x onerror=alert(1)> Ọ̀rọ̀ wonderful film 👍"
    page.fill("#text", text)
    page.click("form button")
    done(page)
    words = page.eval_on_selector_all("#words .word", "words => words.map(word => word.textContent)")
    assert "wonderful" in words
    assert "film" in words
    assert page.eval_on_selector("#words", "words => words.textContent") == text
    assert page.query_selector("#words img") is None


def test_the_example_of_each_language_is_one_click_away(visit):
    page = visit("review").page
    meant = {"en": "Positive", "pcm": "Negative", "ha": "Positive", "ig": "Negative", "yo": "Positive"}
    for language, label in meant.items():
        page.click(f"[data-text][lang={language}]")
        assert done(page).split(",")[0] == label
        assert page.get_attribute("#words", "lang") == page.get_attribute("#text", "lang") == language
        assert page.query_selector("#words .word")
        clear(page)
    page.press("#text", "a")
    assert page.get_attribute("#text", "lang") is None


def test_a_blank_review_is_refused_in_the_words_of_the_service(visit):
    page = visit("review").page
    page.click("form button")
    assert "blank" in done(page)
    assert page.get_attribute("#news", "data-kind") == "error"


def bars(page):
    """Return the visible bars: each label with its percentage."""
    script = """rows => rows.filter(row => row.offsetParent).map(row =>
        [row.querySelector(".name").textContent, row.querySelector(".number").textContent])"""
    return page.eval_on_selector_all(".bars li", script)


def test_a_function_without_a_page_of_its_own_gets_one_from_its_pin(toy):
    page = toy("many-images").page
    assert page.title() == page.inner_text("h1") == "Many images"
    assert page.inner_text(".labels li:first-child") == HOSTILE
    assert page.inner_text(".labels li:last-child") == "and 13 more"
    assert "many-images 1" in page.inner_text("#version")
    page.click("text=Try the example")
    assert done(page).startswith("example.png: label 3")
    assert page.inner_text(".verdict") == MANY[3]
    shown = bars(page)
    assert len(shown) == 10
    assert shown[0] == [MANY[3], "72.5\u00a0%"]
    page.click("text=Show 15 more labels")
    shown = bars(page)
    assert sorted(label for label, _ in shown) == sorted(MANY)
    values = [float(value.split("\u00a0")[0].strip("<> ")) for _, value in shown]
    assert values == sorted(values, reverse=True)
    assert not page.query_selector("main b")
    assert "see where the model looked" in page.inner_text(".card")
    page.focus("button.cell")
    page.keyboard.press("Enter")
    assert heat(page) == 1


def test_a_batch_of_many_labels_is_counted_and_downloaded_and_doubts_are_seen(toy):
    page = toy("many-images").page
    files = [("a.png", 1), ("b.png", 24), ("c.png", 1), (f"{HOSTILE}.png", 0)]
    choose(page, *(upload(name, toys.image(place)) for name, place in files))
    said = done(page)
    assert said.startswith("2 \u00d7 =1+1, ")
    assert said.endswith("1 in doubt, 0 failed")
    assert [row[0] for row in rows(page)] == [name for name, _ in files]
    assert rows(page)[1][1] == f"{MANY[24]} in doubtIt is <i>unlike</i> the training data."
    tones = "bars => bars.map(bar => bar.className.split(' ')[1])"
    assert page.eval_on_selector_all("tbody .bar", tones) == ["", "unsure", "", ""]
    with page.expect_download() as download:
        page.click("#csv")
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text)))
    assert [line["result"] for line in table] == ["'=1+1", MANY[24], "'=1+1", HOSTILE]
    assert [line["warnings"] for line in table] == ["", "unlike_training", "", ""]
    for line in table:
        probabilities = {
            name: float(value) for name, value in line.items() if name.startswith("probability_")
        }
        assert len(probabilities) == 25
        assert max(probabilities.values()) == float(line["result_probability"])
        assert sum(probabilities.values()) == pytest.approx(1)


def test_an_uncertain_answer_says_why_and_is_not_coloured_as_certain(toy):
    page = toy("spam").page
    page.fill("#text", "Two words")
    page.click("form button")
    assert done(page).endswith("In doubt: it is <i>unlike</i> the training data")
    assert page.inner_text(".warnings") == "It is <i>unlike</i> the training data."
    assert "in doubt" in page.inner_text("#verdict")
    drawn = "bar => getComputedStyle(bar).backgroundImage"
    assert page.eval_on_selector(".bar i", drawn).startswith("repeating-linear-gradient")
    clear(page)
    page.click("text=Try the example")
    assert done(page) == "ham, 88.9\u00a0% likely ham"
    assert not page.query_selector(".warnings")
    assert page.eval_on_selector(".bar i", drawn) == "none"


def test_three_labels_of_a_text_get_three_bars(toy):
    page = toy("some_texts").page
    assert page.inner_text("h1") == "Some texts"
    page.click("text=Try the example")
    assert done(page).startswith(HOSTILE)
    assert page.inner_text("#verdict") == HOSTILE
    assert [label for label, _ in bars(page)] == [HOSTILE, "sports", "culture & arts"]
    assert page.inner_text("#words") == "Two words"
    assert page.inner_text("#words .word") == "T"
    assert page.inner_text("#strongest") == f"Most for {HOSTILE}: \u201cT\u201d +0.50."
    assert page.inner_text("#subject") == HOSTILE
    assert page.inner_text("#sum") == ""


def test_a_row_is_entered_and_classified(toy):
    visited = toy("flowers")
    page = visited.page
    assert page.eval_on_selector_all(".fields span", "all => all.map(one => one.textContent)") == COLUMNS
    page.click("text=Try the example")
    assert done(page).startswith("versicolor, 80.0")
    fields = page.query_selector_all("[data-column]")
    assert [field.input_value() for field in fields] == ["1", "2.5", "-3", "0"]
    assert visited.posts()[-1].post_data_json == {"an input": TOYS["flowers"][2]}
    clear(page)
    fields[0].fill("2")
    page.keyboard.press("Enter")
    assert done(page).startswith("virginica")
    assert "in doubt" in page.inner_text(".verdict")


CSV = '''length (cm),constructor,"a ""<b>width</b>""","petal, µ"
1,2,3,4

0,,3,"5"
x,1,2,3
1,2
'''


def test_a_pasted_table_is_answered_row_by_row(toy):
    page = toy("flowers").page
    page.fill("#table", CSV)
    page.click("text=Classify the table")
    assert done(page) == "1 \u00d7 versicolor, 1 \u00d7 setosa, 2 failed"
    shown = rows(page)
    assert [row[0] for row in shown] == ["1, 2, 3, 4", "0, \u2013, 3, 5", "x, 1, 2, 3", "1, 2"]
    assert [row[1].split(":")[0] for row in shown] == ["versicolor", "setosa", "Failed", "Failed"]
    with page.expect_download() as download:
        page.click("#csv")
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text)))
    assert [[line[name] for name in COLUMNS] for line in table] == [
        ["1", "2", "3", "4"],
        ["0", "", "3", "5"],
        ["x", "1", "2", "3"],
        ["1", "2", "", ""],
    ]
    assert [line["result"] for line in table] == ["versicolor", "setosa", "failed", "failed"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_long_table_goes_in_several_requests_with_its_header_if_it_has_one(toy, separator):
    visited = toy("flowers", FEW)
    page = visited.page
    lines = [[str(place % 3), "1", "2", "3"] for place in range(40)]
    names = ["a", "b", "c", "d"]
    for header in ([names], []):
        before = len(visited.posts())
        clear(page)
        text = "\r\n".join(separator.join(line) for line in [*header, *lines])
        page.set_input_files("#choose", [upload("table.csv", b"\xef\xbb\xbf" + text.encode(), "text/csv")])
        assert done(page) == (
            "14 \u00d7 setosa, 13 \u00d7 versicolor, 13 \u00d7 virginica, 13 in doubt, 0 failed"
        )
        assert len(visited.posts()) - before == 2
        assert [row[1][:6] for row in rows(page)][:3] == ["setosa", "versic", "virgin"]


def test_a_table_without_rows_is_refused(toy):
    page = toy("flowers").page
    for text in ("", "\n \n", "a,b\n"):
        page.fill("#table", text)
        page.click("text=Classify the table")
        assert "expected a line" in done(page).lower()
        clear(page)


@pytest.mark.parametrize("name", ["many-images", "some_texts", "flowers"])
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")
@pytest.mark.skipif(not importlib.util.find_spec("requests"), reason="requests is not installed")
def test_the_calls_on_a_generated_page_work(toy, tmp_path, name):
    (tmp_path / "example.png").write_bytes(toys.image(3))
    page = toy(name).page
    page.click("text=Try the example")
    done(page)
    expected = [page.inner_text(".verdict")]
    for table in [None, *([CSV, "1,2,3,4\n"] if name == "flowers" else [])]:
        if table:
            clear(page)
            page.fill("#table", table)
            page.click("text=Classify the table")
            done(page)
            expected = [row[1] if "Failed" not in row[1] else None for row in rows(page)]
        for kind in KINDS:
            answer = run_call(page, kind, tmp_path)
            assert [one.get("the label") for one in answer.get("predictions", [answer])] == expected


def clear(page):
    """Clear the announcement, so that `done` waits for the next one."""
    page.evaluate("tell('')")


def test_each_probability_has_a_heading_that_says_what_it_means(visit, toy):
    heading = "th:nth-child(4)"
    page = visit("malaria").page
    choose(page, INFECTED, NORMAL)
    done(page)
    assert page.inner_text(heading) == "Probability of infected"
    page = toy("many-images").page
    choose(page, *(upload(f"{place}.png", toys.image(place)) for place in (1, 2)))
    done(page)
    assert page.inner_text(heading) == "Probability of the result"
    clear(page)
    page.click("text=Try the example: label 3")
    done(page)
    assert page.inner_text(".bars >> xpath=preceding-sibling::*[1]") == "Probability of each label"


def held(page, pattern, count=1):
    """Let the first `count` requests pass, and delay the others until the page cancels them."""
    passed = []

    def pass_or_hold(route):
        passed.append(route)
        if len(passed) <= count:
            route.continue_()

    page.route(pattern, pass_or_hold)
    return passed


def test_many_images_show_their_progress_and_can_be_cancelled_and_resumed(visit):
    visited = visit("malaria", FEW)
    page = visited.page
    asked = held(page, "**/classify**")
    names = [f"{place}.png" for place in range(34)]
    choose(page, *(upload(name, b"no image" if name == "0.png" else NORMAL.read_bytes()) for name in names))
    page.wait_for_selector("#news:has-text('32 of 34 images')")
    assert page.get_attribute("progress", "value") == "32"
    page.wait_for_function("() => document.querySelectorAll('tbody .label').length === 31")
    page.click("#cancel")
    page.wait_for_selector("#news[data-kind=stopped]")
    assert page.inner_text("#news p") == "Cancelled: 32 of 34 images done."
    assert page.is_hidden("#cancel")
    assert page.evaluate("document.activeElement.textContent") == "Go on"
    assert [row[1] for row in rows(page)][-2:] == ["Failed: not sent, because you cancelled"] * 2
    page.unroute("**/classify**")
    page.keyboard.press("Enter")
    assert done(page) == "0 infected, 33 normal, 1 failed"
    assert len(asked) == 2
    assert len(visited.posts()[-1].response().json()["predictions"]) == 2


def test_only_failed_images_are_sent_again(visit):
    visited = visit("malaria", FEW)
    page = visited.page
    names = [f"{place}.png" for place in range(34)]
    answers = iter(["pass", "fail"])
    page.route(
        "**/classify**",
        lambda route: route.continue_() if next(answers) == "pass" else route.fulfill(status=500, json={}),
    )
    choose(page, *(upload(name, b"no image" if name == "0.png" else NORMAL.read_bytes()) for name in names))
    assert "Send 2 images again" in done(page)
    page.unroute("**/classify**")
    page.click("#news button")
    page.wait_for_selector("#news[data-kind=done]", state="attached")
    assert page.inner_text("#counts") == "0 infected \u00b7 33 normal \u00b7 1 failed"
    assert len(visited.posts()[-1].response().json()["predictions"]) == 2


def test_a_text_that_takes_too_long_can_be_cancelled(toy):
    page = toy("spam").page
    held(page, "**/predict**", 0)
    page.fill("#text", "Two words")
    page.click("form button")
    page.click("#cancel")
    page.wait_for_selector("#news[data-kind=stopped]")
    page.unroute("**/predict**")
    page.click("#news button:text('Try again')")
    assert done(page).startswith("spam")


@pytest.mark.parametrize(("seconds", "waits"), [("1", True), ("61", False)])
def test_the_page_waits_for_the_rate_limit_if_the_wait_is_short(toy, seconds, waits):
    page = toy("spam").page
    answers = iter([True])
    limit = {"status": 429, "headers": {"Retry-After": seconds}, "json": {"detail": "not so often"}}
    page.route(
        "**/predict**", lambda route: route.fulfill(**limit) if next(answers, False) else route.continue_()
    )
    page.fill("#text", "One")
    page.click("form button")
    assert done(page).startswith("ham" if waits else "Not so often.")


def answering(content):
    return lambda route: route.fulfill(json=content)


def test_the_language_of_a_text_is_named(toy):
    page = toy("spam").page
    answer = {"the label": "ham", "probabilities": {"ham": 0.9, "spam": 0.1}}
    languages = {"ha": "Hausa", "pcm": "Nigerian Pidgin", "yo": "Yoruba", "not_a_code": "not_a_code", "": ""}
    for code, name in languages.items():
        content = {**answer, "language": code} if code else answer
        page.unroute("**/predict**")
        page.route("**/predict**", answering(content))
        page.fill("#text", "One")
        page.click("form button")
        assert done(page) == f"ham, 90.0\u00a0% likely ham{name and f', in {name}'}"
        found = page.query_selector("#language")
        assert (found.inner_text() if found else "") == (name and f"Language: {name}")
        clear(page)


def test_a_link_carries_the_text_which_never_reaches_the_server(visit, toy):
    visited = toy("spam", permissions=["clipboard-read", "clipboard-write"])
    page, text = visited.page, "50 % & more?\n#one+two=\u1ecd\u0300 <b>"
    page.fill("#text", text)
    page.click("form button")
    done(page)
    page.click("#link button:text('Copy a link with this text')")
    page.wait_for_selector("#link button:text('Copied')")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    clear(page)
    page.fill("#text", "One")
    page.click("form button")
    done(page)
    assert page.url == f"{visited.url}/"
    page.goto(link)
    assert done(page).startswith("spam")
    assert page.input_value("#text") == text
    assert not [each.url for each in visited.requests if "more" in each.url.partition("#")[0]]
    for broken in ("#text=%E0%A4%A", "#text", "#%", "#other=1"):
        page.goto(visited.url + "/" + broken)
    clear(page)
    page.fill("#text", "a" * 9000)
    page.click("form button")
    done(page)
    assert page.is_disabled("#link button:text('This text is too long for a link')")


def test_a_link_carries_a_row_or_a_table(toy):
    visited = toy("flowers")
    page = visited.page
    page.click("text=Try the example")
    done(page)
    page.click("#link button")
    link = page.url
    clear(page)
    page.fill("#table", CSV)
    page.click("text=Classify the table")
    done(page)
    assert page.url == f"{visited.url}/"
    page.click("#link button:text('Copy a link with this table')")
    table = page.url
    page.goto("about:blank")
    page.goto(link)
    assert done(page).startswith("versicolor")
    assert [field.input_value() for field in page.query_selector_all("[data-column]")] == [
        "1",
        "2.5",
        "-3",
        "0",
    ]
    page.goto(table)
    page.wait_for_selector("tbody tr")
    assert page.input_value("#table") == CSV
    for broken in ("#row=7", "#row={", '#row=["a",null,[1]]'):
        page.goto(visited.url + "/" + broken)


def tab_to(page, selector, limit=40):
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the keyboard does not get to {selector}")


def test_the_malaria_page_works_by_keyboard_alone(visit):
    page = visit("malaria").page
    tab_to(page, "#choose")
    tab_to(page, "[data-file]")
    page.keyboard.press("Enter")
    done(page)
    tab_to(page, "button.cell")
    assert heat(page) == 1
    page.keyboard.press("Enter")
    assert page.get_attribute("button.cell", "aria-pressed") == "true"
    tab_to(page, "input[name=call]")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#call").startswith("import requests")
    tab_to(page, "#copy")


def test_a_table_is_sorted_by_keyboard_and_the_focus_stays(visit):
    page = visit("malaria").page
    choose(page, INFECTED, NORMAL)
    done(page)
    tab_to(page, "th:nth-child(4) button")
    page.keyboard.press("Enter")
    assert [row[0] for row in rows(page)] == ["normal.png", "infected.png"]
    page.keyboard.press("Enter")
    assert [row[0] for row in rows(page)] == ["infected.png", "normal.png"]


def test_the_review_page_works_by_keyboard_alone(visit):
    page = visit("review").page
    tab_to(page, "#text")
    page.keyboard.type("I loved this wonderful film")
    page.keyboard.press("Control+Enter")
    assert done(page).startswith("Positive")
    tab_to(page, "#numbers")
    page.keyboard.press("Space")
    shown = page.eval_on_selector("#words .word", "word => getComputedStyle(word, '::after').content")
    assert shown.strip('"')[0] in "+\u2212"


def test_no_page_scrolls_sideways_on_a_phone(visit):
    phone = {
        "viewport": {"width": 320, "height": 640},
        "is_mobile": True,
        "has_touch": True,
        "device_scale_factor": 2,
    }
    width = "document.documentElement.scrollWidth"
    page = visit("malaria", **phone).page
    assert page.get_attribute("#photo", "capture") == "environment"
    assert page.is_visible("label[for=photo]")
    assert page.evaluate(width) == 320
    choose(page, INFECTED)
    done(page)
    assert page.evaluate(width) == 320
    page.tap("button.cell")
    assert heat(page) == 1
    clear(page)
    name = "a-rather-long-name_of_one_file_from_a_microscope_2026-11-22.png"
    choose(page, upload(name, INFECTED.read_bytes()), upload("b.svg", SVG))
    done(page)
    assert page.evaluate(width) == 320
    page = visit("review", **phone).page
    page.fill("#text", "Wonderful! " + "a" * 300)
    page.tap("form button")
    done(page)
    page.check("#numbers")
    assert page.evaluate(width) == 320


def labels(answer):
    """Return each label of an answer with its percentage, after a check that it has an explanation."""
    found = []
    for one in answer.get("predictions", [answer]):
        assert one["explanation"]
        label, probabilities = one.get("classification") or one["review_sentiment"], one["probabilities"]
        found.append((label, f"{100 * probabilities.get('Infected', probabilities[label]):.1f}"))
    return found


def shown(page):
    """The same, as the page shows it."""
    found = [row[1:] for row in rows(page)] or [
        [page.inner_text("#verdict"), page.inner_text("#probability")]
    ]
    return [(label, probability.split("\u00a0")[0]) for label, probability in found]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")
@pytest.mark.skipif(not importlib.util.find_spec("requests"), reason="requests is not installed")
def test_the_copied_calls_work(visit, tmp_path, name):
    page = visit(name, permissions=["clipboard-read", "clipboard-write"]).page
    if name == "malaria":
        paths = [tmp_path / "it's; a, cell.png", tmp_path / "second.png"]
        for path, source in zip(paths, (INFECTED, NORMAL), strict=True):
            path.write_bytes(source.read_bytes())
        choose(page, *paths)
    else:
        page.fill(
            "#text",
            'It\'s a "wonderful" film, I loved it and the acting was very good,\n'
            "\\really\\ & $HOME `ls` 100 % \u1ecd\u0300",
        )
        page.click("form button")
    done(page)
    for kind in KINDS:
        assert labels(run_call(page, kind, tmp_path)) == shown(page), kind
    page.click("#copy")
    page.wait_for_selector("#copy:text('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#call")


def test_behind_a_path_prefix_the_page_keeps_the_prefix(visit):
    visited = visit("malaria")
    page = visited.page

    asked = []

    def stripped(route):
        asked.append(route.request.url.removeprefix(visited.url))
        route.continue_(url=visited.url + (asked[-1].removeprefix("/malaria") or "/"))

    page.route("**/*", stripped)
    for prefix in ("/malaria", "/malaria/"):
        asked.clear()
        page.goto(visited.url + prefix)
        choose(page, NORMAL)
        assert done(page).startswith("normal.png: Normal")
        assert asked == [prefix, "/malaria/classify?explain=1"]
        assert f"{visited.url}/malaria/classify" in page.inner_text("#call")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier_on_the_malaria_page(visit, scheme):
    page = visit("malaria", color_scheme=scheme, reduced_motion="reduce").page
    page.wait_for_selector("#figures dd")
    assert barriers(page) == []
    choose(page, INFECTED)
    done(page)
    assert barriers(page) == []
    for files in ([upload("b.svg", SVG)], [upload("a.png", NORMAL.read_bytes()), upload("b.svg", SVG)]):
        clear(page)
        choose(page, *files)
        done(page)
        assert barriers(page) == []


@pytest.mark.parametrize(
    ("name", "scheme"), [("many-images", "dark"), ("spam", "light"), ("flowers", "dark")]
)
def test_axe_finds_no_barrier_on_a_generated_page(toy, name, scheme):
    page = toy(
        name, color_scheme=scheme, reduced_motion="reduce", viewport={"width": 320, "height": 640}
    ).page
    page.click("text=Try the example")
    done(page)
    assert barriers(page) == []
    clear(page)
    if name == "many-images":
        choose(page, *(upload(f"{place}.png", toys.image(place)) for place in (0, 24)))
    elif name == "spam":
        page.fill("#text", "Two words")
        page.click("form button")
    else:
        page.fill("#table", CSV)
        page.click("text=Classify the table")
    done(page)
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier_on_the_review_page(visit, scheme):
    page = visit("review", color_scheme=scheme, reduced_motion="reduce").page
    page.wait_for_selector("#figures dd")
    assert barriers(page) == []
    page.fill("#text", "A terrible waste of time, but the music is wonderful.")
    page.click("form button")
    done(page)
    assert barriers(page) == []
    page.check("#numbers")
    assert barriers(page) == []
