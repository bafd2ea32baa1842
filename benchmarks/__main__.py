"""Measure every contender as a real process, in turn, over several rounds: `make bench`.

    python -m benchmarks [--rounds 3] [--only NAME...] [--quick]

Writes results.json, RESULTS.md and the plots into this folder, and updates the README's table; with --only or
--quick, it writes to build/bench instead.
No time is asserted: only figures of one run are compared, which were measured on one machine.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dev.serve import interrupt

from . import figures, load, measure, report
from .contenders import PINS, TWIN, Contender, contenders
from .environments import BUILD, ROOT, installed, prepare, versions
from .inputs import cell, review

FAST = 1.5
"""In seconds: a contender that starts faster is started `REPEATS` times in each round."""
REPEATS = 3
REQUESTS = 20_000
SLOW_ROUNDS = 1
"""Rounds in which the article's app is loaded: its loads take minutes, and one round is enough."""


def main() -> None:
    """Prepare the environments, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of measurements (3)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these, and the constant function")
    parser.add_argument("--quick", action="store_true", help="one round only")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    load.required()
    chosen = choose(options.only)
    twin = ROOT / "models" / TWIN
    if any(one.name.endswith("_float") for one in chosen) and not twin.is_file():
        sys.exit(f"expected {twin.relative_to(ROOT)}, the network that the pinned file was quantised from")
    partial = bool(options.only) or options.quick
    target = BUILD if partial else ROOT / "benchmarks"
    environments = {one.setup: prepare(one.setup, one.requirements) for one in chosen}
    environments |= fit(chosen, environments)
    began = time.time()
    rounds = 1 if options.quick else options.rounds
    try:
        with tempfile.TemporaryDirectory() as folder, measure.bucket(pinned()) as variables:
            bench = measure.Bench(environments, Path(folder), 1.0, variables)
            samples = [one_round(bench, chosen, number, rounds, partial) for number in range(rounds)]
    except KeyboardInterrupt:
        sys.exit("interrupted; all processes are stopped")
    results = figures.gather(samples, chosen, about(rounds, time.time() - began))
    for one in chosen:
        found = results["contenders"][one.name]
        folder_of = environments[one.setup]
        found |= {"installed": installed(folder_of), "uploaded": one.source_bytes()}
        found["versions"] = versions(folder_of)
    report.write(results, target)
    if not partial:
        report.refresh(ROOT / "README.md", results)
    print(f"written to {target.relative_to(ROOT)}/RESULTS.md")


def choose(names: list[str] | None) -> list[Contender]:
    """Return the named contenders, and the constant function, which all are compared with."""
    everyone = contenders()
    known = {one.name for one in everyone}
    if unknown := set(names or ()) - known:
        sys.exit(f"expected names among {', '.join(sorted(known))}; got {', '.join(sorted(unknown))}")
    return [one for one in everyone if not names or one.name in {"constant", *names}]


def fit(chosen: list[Contender], environments: dict[str, Path]) -> dict[str, Path]:
    """Train the scikit-learn pipeline that the review peers serve; return its environment by name."""
    if all(one.task != "review" for one in chosen):
        return {}
    [maker] = [one for one in contenders() if one.name == "review_sklearn"]
    folder = environments.get(maker.name) or prepare(maker.name, maker.requirements)
    program = maker.requirements.with_name("fit.py")
    command = [str(folder / "bin" / "python"), str(program), str(BUILD / "review.joblib")]
    subprocess.run(command, check=True)  # noqa: S603 (our own command)
    return {maker.name: folder}


def pinned() -> dict[str, Path]:
    """Return the paths of the pinned model files, by their names in a store."""
    return {pin.file: ROOT / "models" / pin.file for pin in PINS.values()}


def one_round(
    bench: measure.Bench, chosen: list[Contender], number: int, rounds: int, partial: bool
) -> dict[str, Any]:
    """Measure all contenders once, in turn."""
    found: dict[str, Any] = {"interpreter": measure.interpreter(bench.environments["constant"])}
    if "malaria" in bench.environments:
        found["malaria"] = measure.floor(bench.environments["malaria"], "malaria", cell(), bench.folder)
    if "review" in bench.environments:
        text = review().encode()
        found["review"] = measure.floor(bench.environments["review"], "review", text, bench.folder)
        sklearn = bench.environments["review_sklearn"]
        found["sklearn"] = measure.floor(sklearn, "sklearn", text, bench.folder)
    found["contenders"], found["busy"] = {}, []
    for one in chosen:
        print(f"round {number + 1} of {rounds}: {one.name}", flush=True)
        found["busy"].append(measure.busy())
        found["contenders"][one.name] = measured(
            bench, one, number, last=number == rounds - 1 and not partial
        )
    return found


def measured(bench: measure.Bench, one: Contender, number: int, last: bool) -> dict[str, Any]:
    """Measure one contender in one round."""
    if number == 0:
        measure.cold(bench, one)  # compiles the modules, and fills the page cache
    found: dict[str, Any] = {"disk": [measure.cold(bench, one)]}
    for _ in range(REPEATS - 1 if found["disk"][0]["seconds"] < FAST else 0):
        found["disk"].append(measure.cold(bench, one))
    if one.own:
        found["bucket"] = [measure.cold(bench, one, **bench.bucket) for _ in range(REPEATS)]
    with bench.started(one) as server:
        measure.first(server, one)
        found["started"] = server.memory()
        if one.name != "malaria_article" or number < SLOW_ROUNDS:
            found["loads"] = measure.ladder(bench, server, one)
            found["loaded"] = server.memory()
        found["batches"] = measure.batches(bench, server, one)
    if last and one.name in ("constant", "malaria", "review"):
        with bench.started(one) as server:
            measure.first(server, one)
            found["growth"] = measure.growth(server, one, REQUESTS)
    return found


def about(rounds: int, seconds: float) -> dict[str, Any]:
    """Return the date, the commit, the machine and the settings of a run."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in info if line.startswith("model name")), "unknown"
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit.stdout.strip(),
        "machine": f"{os.cpu_count()} cores of an {model}, {memory / 2**30:.0f} GiB, Linux",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "rounds": rounds,
        "minutes": round(seconds / 60, 1),
    }


if __name__ == "__main__":
    main()
