"""The documents match the repository: links, the tree, figures, the version.

Their commands are run by test_docs_commands.py.
"""

import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from conftest import ROOT

from dev import docs
from shared import errors

README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
SCREEN = 150
"""The most lines of the README: nobody reads more."""


def tracked():
    """Return every file of the repository, including untracked ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in listed.splitlines() if (ROOT / line).exists()]


PAGES = [path for path in tracked() if path.suffix == ".md"]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= SCREEN


def tree():
    """The paths that the tree of docs/architecture.md lists, folders with a slash."""
    [block] = re.findall(r"^```text\n(.*?)^```", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    listed, folders = [], []
    for line in block.splitlines():
        names = line.partition("  #")[0]
        depth = (len(names) - len(names.lstrip())) // 2
        del folders[depth:]
        listed += ["".join([*folders, name]) for name in names.split()]
        folders.append(names.split()[0])
    return listed


def test_the_tree_in_the_readme_matches_the_repository():
    """Every listed path exists; and if a part of a folder is listed, all of it is."""
    listed = set(tree())
    files = [path for path in tracked() if not path.parts[0].startswith(".")]
    there = {str(path) for path in files} | {f"{parent}/" for path in files for parent in path.parents}
    assert listed <= there, f"not there: {sorted(listed - there)}"
    opened = {f"{Path(each).parent}/" for each in listed}
    for path in files:
        for inner, outer in zip([path, *path.parents], path.parents, strict=False):
            name = str(inner) if inner == path else f"{inner}/"
            assert f"{outer}/" not in opened or name in listed, f"{name} is not in the tree"


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    return set(plain)


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_every_link_inside_the_repository_has_a_target(path):
    page = ROOT / path
    text = page.read_text()
    targets = re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    targets += re.findall(r"""(?:src|srcset|href)="(?!https?:)([^"\s]+)""", prose)
    for link in targets:
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        assert file.exists(), f"{path}: {link}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.read_text()), f"{path}: {link}"


def test_each_link_to_a_line_points_to_the_named_function():
    """If lines have moved, `python -m dev.docs` corrects the links."""
    found = docs.LINK.findall(ARCHITECTURE)
    assert len(found) > 15
    assert ARCHITECTURE.count("#L") == len(found)
    for name, target, line in found:
        assert docs.line_of(ROOT / "docs" / target, name) == int(line), f"{name}: run python -m dev.docs"


def test_a_link_to_a_missing_function_is_refused():
    gone = docs.LINK.search("[`no_such_thing`](../shared/start.py#L1)")
    with pytest.raises(SystemExit, match=r"shared/start.py has no no_such_thing"):
        docs.corrected(ROOT / "docs" / "architecture.md", gone)


def test_the_page_on_http_has_every_setting_and_every_error():
    """If a setting has changed, `python -m dev.docs` corrects its row."""
    page = ROOT / "docs" / docs.REFERENCE
    text = page.read_text()
    assert docs.refreshed(page, text) == text, "run python -m dev.docs"
    named = vars(errors).values()
    kinds = [each for each in named if isinstance(each, type) and issubclass(each, errors.ServiceError)]
    stated = {
        int(status): set(re.findall(r"`(\w+)`", codes))
        for statuses, codes in re.findall(r"^\| (\d{3}(?:, \d{3})*) \| ([^|]+) \|", text, re.MULTILINE)
        for status in statuses.split(", ")
    }
    for kind in kinds:
        assert kind.code in stated[kind.status], f"{kind.status} {kind.code} is not in {page.name}"


def test_every_named_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    targets |= {f"train-{path.parent.name}" for path in ROOT.glob("models/*/train.py")}
    for path in PAGES:
        if path.name != "CHANGELOG.md":
            code = " ".join(re.findall(r"`[^`\n]+`|^```.*?^```", (ROOT / path).read_text(), re.M | re.S))
            named = set(re.findall(r"\bmake ([a-z][a-z-]+)", code))
            assert named <= targets, f"{path}: {named - targets}"


def test_plain_make_lists_every_command_with_one_line_each():
    run = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make ([a-z-]+) +\S.*$", run.stdout, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    own = re.search(r"^\.PHONY: ([a-z -]+)", makefile, re.MULTILINE)[1].split()
    trained = [f"train-{path.parent.name}" for path in sorted(ROOT.glob("models/*/train.py"))]
    assert listed == own + trained
    assert all(len(line) <= 120 for line in run.stdout.splitlines())


def test_the_citation_has_the_version_of_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    heading = r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$"
    version, day = re.search(heading, changelog, re.MULTILINE).groups()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {version}\n" in citation
    assert f"\ndate-released: {day}\n" in citation


def test_the_readme_states_the_measured_cold_start():
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    assert "a cold start of a third of a second" in README.replace("\n", " ")
    for name in ("malaria", "review"):
        assert results["contenders"][name]["cold"]["bucket"]["seconds"] < 0.36


def figures(content):
    """Every number of a metrics file, however deep."""
    if isinstance(content, dict):
        return [number for value in content.values() for number in figures(value)]
    if isinstance(content, list):
        return [number for value in content for number in figures(value)]
    return [content] if isinstance(content, float) else []


def test_the_malaria_card_states_the_measured_figures():
    card = (ROOT / "models" / "malaria" / "README.md").read_text()
    pin = json.loads((ROOT / "functions" / "malaria" / "model.json").read_text())
    assert f"{pin['bytes']:,} bytes" in card
    folds = json.loads((ROOT / "models" / "malaria" / "cross_validation.json").read_text())
    assert {**pin["metrics"], **folds["pooled"]} == {**folds["pooled"], "method": pin["metrics"]["method"]}
    for number in figures([folds["mean"], folds["standard_deviation"], folds["pooled"]]):
        assert f"{number:.3f}" in card
    for fold in folds["folds"]:
        assert all(f"{fold[name]:.3f}" in card for name in ("accuracy", "auroc"))


def test_the_review_card_states_the_measured_figures():
    card = (ROOT / "models" / "review" / "README.md").read_text()
    metrics = json.loads((ROOT / "models" / "review" / "metrics.json").read_text())
    rows = {**metrics["languages"], "NollySenti, pooled": metrics["nollysenti"], "IMDB": metrics["imdb"]}
    for name, row in rows.items():
        low, high = row["intervals_95"]["accuracy"]
        accuracy, auroc, ece = (f"{row[name]:.3f}" for name in ("accuracy", "auroc", "ece"))
        assert f"| {name} | {accuracy} | {low:.3f}-{high:.3f} | {auroc} | {ece} |" in card
    means = [f"{one['nollysenti_mean_accuracy']:.3f} and {one['imdb']:.3f}" for one in metrics["assignments"]]
    assert f"by fold assignment: {', '.join(means)}." in " ".join(card.split())
    pin = json.loads((ROOT / "functions" / "review" / "model.json").read_text())
    assert pin["metrics"]["nollysenti_mean_accuracy"] == metrics["nollysenti_mean_accuracy"]
    assert pin["metrics"]["imdb_accuracy"] == metrics["imdb"]["accuracy"]


def words(text):
    """Return the words of a text without case, tone marks and hooks, which writers often omit."""
    plain = unicodedata.normalize("NFD", text.lower().translate(str.maketrans("ɗƙɓ\u2019", "dkb'")))
    return re.findall(r"[\w'-]+", "".join(each for each in plain if not unicodedata.combining(each)))


def test_the_examples_in_nigerian_languages_use_words_that_native_texts_use(data):
    """Translators who grew up with the languages wrote NollySenti's reviews."""
    page = (ROOT / "functions" / "review" / "page.html").read_text()
    examples = re.findall(r'lang="(pcm|ha|ig|yo)" data-text="([^"]+)"', page)
    examples += [("pcm", each) for each in re.findall(r"movie_review=([^']+)'", README)]
    assert {lang for lang, _ in examples} == {"pcm", "ha", "ig", "yo"}
    for lang, text in examples:
        native = {
            word for path in (data / "nollysenti" / lang).glob("*.tsv") for word in words(path.read_text())
        }
        assert not set(words(text)) - native, (lang, text)


def test_the_readme_states_the_figures_of_the_cards():
    malaria = json.loads((ROOT / "models" / "malaria" / "cross_validation.json").read_text())["pooled"]
    review = json.loads((ROOT / "models" / "review" / "metrics.json").read_text())
    for number in (
        *(malaria[name] for name in ("auroc", "accuracy")),
        *(review["nollysenti_mean_accuracy"], review["imdb"]["accuracy"]),
    ):
        assert f"{number:.3f}" in README, f"the README does not state {number:.3f}"


def commands():
    """The modules that are run as `python -m dev.NAME`, except `leash`, which people do not run."""
    paths = [path for path in (ROOT / "dev").glob("*.py") if "__main__" in path.read_text()]
    return sorted(f"dev.{path.stem}" for path in paths if path.stem != "leash")


def test_every_command_of_dev_explains_itself_and_does_nothing_else():
    run = {each: [sys.executable, "-m", each, "--help"] for each in commands()}
    assert len(run) > 5
    running = {
        name: subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for name, command in run.items()
    }
    for name, process in running.items():
        text, _ = process.communicate(timeout=60)
        assert (process.returncode, text.startswith(f"usage: python -m {name} ")) == (0, True), text


def test_without_beam_the_batch_command_says_how_to_install_it():
    script = (
        "import runpy, sys; sys.modules['apache_beam'] = None; runpy.run_module('batch', run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "run 'make .venv/batch/installed', then use .venv/batch/bin/python" in run.stderr
    assert run.stderr.count("\n") == 1
