"""Write the figures of a run as tables."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import plots
from .figures import ALONE, GIB_SECOND, MILLION_REQUESTS, VCPU_SECOND
from .measure import BATCHES, PARTS
from .verdicts import at

Found = Mapping[str, Any]
SHOWN_PACKAGES = (
    "functions-framework",
    "gunicorn",
    "ai-edge-litert",
    "tensorflow-cpu",
    "keras",
    "scikit-learn",
    "numpy",
    "pillow",
    "litserve",
    "bentoml",
    "mlserver",
)
"""The packages whose versions are in the last table."""
MARKS = ("<!-- measured -->", "<!-- until here by make bench -->")
"""The marks around the README's table."""

TEXT = """\
# Measured

`make bench` wrote this page on {date} at {commit}, in {minutes:.0f} minutes: {machine}, Python {python}.
It made {rounds} rounds; each measures all contenders in turn, as real processes. The figures are medians. wrk
makes the load, on the same cores. The peers read their model from disk. Each contender is set up as its
documentation advises for throughput (see the last table).{others}

## In short

Cold start: from the bucket, and in brackets from disk. One client: the median latency. Eight clients: the
99th percentile. Memory: after the load. A million: the cost of busy instances, see below.

{short}

![cold starts](cold.png)

## Aims

{aims}

## Cold start

From the start of the process to the first right answer, which answers the first request.

{cold}

For our functions, "framework" is the time of the constant function minus that of the interpreter, and
"imports" is the rest. The download runs during the imports; "fetch" is how long the function waits for it
after them. A peer reports how long its imports, its load and its first prediction took; "framework" is the
rest. MLServer's own runtime reports nothing, so all of its time is under "framework".

## Load

![latency against load](load.png)

Requests per second; median, 95th and 99th percentile of the latency in milliseconds; milliseconds of CPU per
request.

{load}

## Decoding and inference alone

In a loop, on one thread; `sklearn` is the pipeline that the review peers serve.

{floor}

## Several inputs in a request

{batches}

## Memory and size

![memory](memory.png)

In MB. Memory is the proportional set size of all processes: after the first answer, after the loads, and
before and after 20,000 more requests of 8 clients. "Installed" is the size of the installed packages.
"Uploaded" is the size of the uploaded files before compression, with the model if it does not come from a
bucket.

{memory}

## Cost of a million predictions

US dollars at Cloud Run's prices for request-based billing in a tier 1 region
(cloud.google.com/run/pricing): {vcpu:f} a vCPU-second, {gib:.7f} a GiB-second, {million:.2f} a million
requests, without the free quotas. An instance has one vCPU, and the smallest memory size that holds the
memory after load and a quarter more. One request in {alone:,} is a cold start. Busy: an instance is never
idle, so each request costs its CPU time at 8 clients. Sparse: each request comes alone, and its time is
rounded up to 100 ms.

{cost}

## How each is set up

{settings}
"""


def write(results: Found, folder: Path) -> None:
    """Write results.json, RESULTS.md and the plots into `folder`."""
    # The text is made from the rounded figures, so that it can be made again from results.json.
    results = rounded(results)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "RESULTS.md").write_text(markdown(results))
    plots.draw(results, folder)


def refresh(readme: Path, results: Found) -> None:
    """Replace the short table in the README, between its two marks."""
    before, _, rest = readme.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    readme.write_text(f"{before}{MARKS[0]}\n\n{short(rounded(results))}\n\n{MARKS[1]}{after}")


def short(results: Found) -> str:
    """The README's table, of ours and of the peers that serve the same file, and the machine."""
    about = results["about"]
    rows = []
    for one in results["contenders"].values():
        if one["task"] == "floor" or one["title"].endswith((", one worker", ", float file")):
            continue
        first = one["cold"].get("bucket", one["cold"]["disk"])["seconds"]
        memory, installed = one["memory"]["loaded"] / 1e6, one.get("installed", 0) / 1e6
        figures = [f"{first:.2f} s", f"{at(one, 8)['rate']:,.0f}", f"{memory:.0f} MB", f"{installed:,.0f} MB"]
        rows.append([one["title"], *figures])
    head = ["the same model served by", "cold start", "requests/s, 8 clients", "memory", "installed packages"]
    machine = "Medians of {rounds} rounds on {date}: {machine}, Python {python}.".format(**about)
    return f"{table(head, rows)}\n\n{machine}"


def rounded(value: Any) -> Any:
    """Return the value with every float rounded to four significant digits."""
    if isinstance(value, Mapping):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def markdown(results: Found) -> str:
    """Return the content of RESULTS.md."""
    everyone = results["contenders"].values()
    return TEXT.format(
        **results["about"],
        others=others(results["about"]),
        short=summary(everyone),
        aims=aims(results["verdicts"]),
        cold=cold_table(everyone),
        load=load_table(everyone),
        floor=floor_table(results["floor"]),
        batches=batch_table(everyone),
        memory=memory_table(everyone),
        cost=cost_table(everyone),
        settings=settings_table(everyone),
        vcpu=VCPU_SECOND,
        gib=GIB_SECOND,
        million=MILLION_REQUESTS,
        alone=ALONE,
    )


def others(about: Found) -> str:
    """Return a sentence about the CPU time of other processes, which disturb a run."""
    if "busy" not in about:
        return ""
    return f" Other processes took {about['busy']:.0%} of the machine before each start, on average."


def aims(verdicts: Sequence[Found]) -> str:
    """Return a table with a row for each aim."""
    rows = [
        [one["what"].replace("**", ""), f"{one['figure']:.2f}", one["target"], "yes" if one["met"] else "no"]
        for one in verdicts
    ]
    return table(["", "figure", "target", "met"], rows)


def summary(everyone: Collection[Found]) -> str:
    """Return the table of the section `In short`."""
    rows = []
    for one in everyone:
        start = one["cold"]
        first = start.get("bucket", start["disk"])["seconds"]
        one_client, eight = at(one, 1), at(one, 8)
        rows.append(
            [
                one["title"],
                f"{first:.2f} s" + (f" ({start['disk']['seconds']:.2f} s)" if "bucket" in start else ""),
                f"{one_client['p50']:.1f} ms",
                f"{eight['rate']:.0f}/s",
                f"{eight['p99']:.0f} ms",
                f"{one['memory']['loaded'] / 1e6:.0f} MB",
                f"{one.get('installed', 0) / 1e6:.0f} MB",
                f"{one['cost']['busy']:.2f} $",
            ]
        )
    head = ["", "cold start", "one client", "eight clients", "their p99", "memory", "installed", "a million"]
    return table(head, rows)


def cold_table(everyone: Collection[Found]) -> str:
    """Return a table with a row for each contender and source of the model."""
    rows = []
    for one in everyone:
        for source, start in one["cold"].items():
            cells = [f"{1000 * start['parts'][part]:.0f}" for part in PARTS]
            spread = f"{start['fastest']:.2f} - {start['slowest']:.2f}"
            rows.append([one["title"], source, f"{start['seconds']:.3f}", spread, *cells])
    return table(["", "model from", "seconds", "fastest - slowest", *(f"{part}, ms" for part in PARTS)], rows)


def load_table(everyone: Collection[Found]) -> str:
    """Return a table with a row for each contender, form of body and number of clients."""
    rows = []
    for one in everyone:
        for kind, loads in one["loads"].items():
            for each in loads:
                figures = [
                    f"{each['rate']:.0f}",
                    *(f"{each[name]:.1f}" for name in ("p50", "p95", "p99", "cpu")),
                ]
                rows.append([one["title"], kind, f"{each['clients']:.0f}", *figures, f"{each['failed']:.0f}"])
    return table(["", "body", "clients", "a second", "p50", "p95", "p99", "CPU", "failed"], rows)


def batch_table(everyone: Collection[Found]) -> str:
    """Return a table of the inputs a second."""
    counts = sorted({count for counts in BATCHES.values() for count in counts})
    rows = [
        [one["title"], *(f"{one['batches'][str(n)]:.0f}" if str(n) in one["batches"] else "" for n in counts)]
        for one in everyone
        if one["batches"]
    ]
    return table(["inputs a second, by how many in a request", *map(str, counts)], rows)


def memory_table(everyone: Collection[Found]) -> str:
    """Return a table of memory and sizes."""
    rows = []
    for one in everyone:
        grown = one["growth"]
        growth = f"{grown['before'] / 1e6:.1f}, {grown['after'] / 1e6:.1f}" if grown else ""
        sizes = [f"{size / 1e6:.1f}" for size in (one["memory"]["started"], one["memory"]["loaded"])]
        disk = [f"{one.get('installed', 0) / 1e6:.0f}", f"{one.get('uploaded', 0) / 1e3:.1f} kB"]
        rows.append([one["title"], *sizes, growth, *disk])
    return table(["MB", "started", "after load", "before, after 20,000", "installed", "uploaded"], rows)


def floor_table(floors: Mapping[str, Found]) -> str:
    """Return a table with a row for each step."""
    rows = [
        [f"{task}: {name}", f"{step['ms']:.2f}", f"{step['cpu_ms']:.2f}"]
        for task, steps in floors.items()
        for name, step in steps.items()
    ]
    return table(["step", "ms", "ms of CPU"], rows)


def cost_table(everyone: Collection[Found]) -> str:
    """Return a table of the costs."""
    rows = [
        [
            one["title"],
            f"{one['cost']['gib']:g}",
            f"{one['cost']['busy']:.2f}",
            f"{one['cost']['sparse']:.2f}",
        ]
        for one in everyone
    ]
    return table(["", "GiB", "busy", "sparse"], rows)


def settings_table(everyone: Collection[Found]) -> str:
    """Return a table of the settings and the package versions."""
    rows = []
    for one in everyone:
        versions = one.get("versions", {})
        shown = ", ".join(f"{name} {versions[name]}" for name in SHOWN_PACKAGES if name in versions)
        rows.append([one["title"], one["settings"], shown])
    return table(["", "settings", "versions"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
