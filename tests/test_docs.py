"""The README is run and compared: its tree, its calls and their answers, its figures."""

import json
import re
import shlex
import shutil
import subprocess

import pytest
from conftest import FUNCTIONS, ROOT

README = (ROOT / "README.md").read_text()


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_every_path_of_the_tree_is_there():
    [tree] = [block for block in blocks("text") if "functions/" in block]
    folders = []
    for line in tree.splitlines():
        path, _, _ = line.partition("  #")
        depth = (len(path) - len(path.lstrip())) // 2
        names = path.split()
        for name in names:
            target = ROOT.joinpath(*folders[:depth], name)
            assert list(ROOT.glob(str(target.relative_to(ROOT)))), (
                f"{target} is in the README, not in the tree"
            )
        if names[0].endswith("/"):
            folders[depth:] = [names[0]]


def test_every_folder_at_the_top_is_in_the_tree():
    [tree] = [block for block in blocks("text") if "functions/" in block]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tops = {line.split("/")[0] + "/" for line in tracked.splitlines() if "/" in line}
    assert {top for top in tops if not top.startswith(".")} <= set(re.findall(r"^\S+/", tree, re.MULTILINE))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_call_gives_the_answer_the_readme_shows(start):
    servers = {8081: start(ROOT / "functions" / "malaria" / "main.py")}
    servers[8082] = start(ROOT / "functions" / "review" / "main.py")
    calls = [block.replace("\\\n", " ") for block in blocks("sh") if block.startswith("curl")]
    answers = blocks("json")
    assert len(calls) == len(answers) == len(FUNCTIONS)
    for call, answer in zip(calls, answers, strict=True):
        for port, server in servers.items():
            call = call.replace(f"http://localhost:{port}", server.url)  # noqa: PLW2901
        run = subprocess.run(
            shlex.split(call), cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
        found, expected = json.loads(run.stdout), json.loads(answer)
        assert found.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=2e-4)
        assert found == expected


def test_every_make_target_that_is_named_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets |= {f"train-{path.parent.name}" for path in ROOT.glob("models/*/train.py")}
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", README))
    assert {"serve", "test"} <= named <= targets


def test_plain_make_lists_the_commands():
    run = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("serve", "test", "lint", "train-malaria", "train-review"):
        assert f"make {target}" in run.stdout


def test_every_relative_link_leads_somewhere():
    for page in [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("models/**/README.md"),
    ]:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page}: {link}"


def figures(content):
    """Every number of a metrics file, however deep."""
    if isinstance(content, dict):
        return [number for value in content.values() for number in figures(value)]
    if isinstance(content, list):
        return [number for value in content for number in figures(value)]
    return [content] if isinstance(content, float) else []


def test_the_malaria_card_states_the_measured_figures():
    card = (ROOT / "models" / "malaria" / "README.md").read_text()
    metrics = json.loads((ROOT / "models" / "malaria" / "metrics.json").read_text())
    assert metrics["part"] == "test"
    measured = [number for number in figures(metrics) if number != metrics["threshold"]]
    assert len(measured) == 23
    for number in measured:
        assert f"{number:.3f}" in card
    pin = json.loads((ROOT / "functions" / "malaria" / "model.json").read_text())
    assert metrics["model"] == pin["version"]
    assert all(metrics[name] == value for name, value in pin["metrics"].items())
    assert f"{pin['bytes']:,} bytes" in card
    folds = json.loads((ROOT / "models" / "malaria" / "cross_validation.json").read_text())
    for number in figures([folds["mean"], folds["standard_deviation"], folds["pooled"]]):
        assert f"{number:.3f}" in card
    for fold in folds["folds"]:
        assert all(f"{fold[name]:.3f}" in card for name in ("accuracy", "auroc"))
    for name in ("accuracy", "auroc"):
        assert f"{folds['mean'][name]:.3f}" in README


def test_the_review_card_states_the_measured_figures():
    card = (ROOT / "models" / "review" / "README.md").read_text()
    metrics = json.loads((ROOT / "models" / "review" / "metrics.json").read_text())
    rows = {**metrics["languages"], "NollySenti, pooled": metrics["nollysenti"], "IMDB": metrics["imdb"]}
    for name, row in rows.items():
        low, high = row["intervals_95"]["accuracy"]
        accuracy, auroc, ece = (f"{row[name]:.3f}" for name in ("accuracy", "auroc", "ece"))
        assert f"| {name} | {accuracy} | {low:.3f}-{high:.3f} | {auroc} | {ece} |" in card
    deals = [f"{deal['nollysenti_mean_accuracy']:.3f} and {deal['imdb']:.3f}" for deal in metrics["deals"]]
    assert f"by deal: {', '.join(deals)}." in " ".join(card.split())
    pin = json.loads((ROOT / "functions" / "review" / "model.json").read_text())
    assert pin["metrics"]["nollysenti_mean_accuracy"] == metrics["nollysenti_mean_accuracy"]
    assert pin["metrics"]["imdb_accuracy"] == metrics["imdb"]["accuracy"]


def test_the_readme_states_the_figures_of_the_cards():
    malaria = json.loads((ROOT / "models" / "malaria" / "metrics.json").read_text())
    review = json.loads((ROOT / "models" / "review" / "metrics.json").read_text())
    stated = [malaria[name] for name in ("auroc", "accuracy", "sensitivity", "specificity", "ece")]
    stated += [review["nollysenti_mean_accuracy"], review["imdb"]["accuracy"], review["imdb"]["ece"]]
    stated += [language["accuracy"] for language in review["languages"].values()]
    for number in stated:
        assert f"{number:.3f}" in README
