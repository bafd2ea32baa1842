"""The aims, as ratios of figures of one run, and whether the run meets them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Found = Mapping[str, Any]
OVERHEAD = {"malaria": 0.25, "review": 0.14}
"""In milliseconds: half the overhead of each function in November 2026, without framework and model."""


def at(found: Found, clients: int, kind: str | None = None) -> Mapping[str, float]:
    """Return the load with `clients` clients and the form of body `kind` (default: the first)."""
    loads = found["loads"][kind or next(iter(found["loads"]))]
    return next(load for load in loads if load["clients"] == clients)


def verdicts(results: Found) -> list[dict[str, Any]]:
    """Return each aim with its figure; without those of functions that the run did not measure."""
    found = []
    for task, kind in (("malaria", "multipart"), ("review", "form")):
        if task in results["contenders"]:
            found += [*floor(results, task, kind), *peers(results, task), *own(results, task)]
    return found


def most(what: str, figure: float, target: float) -> dict[str, Any]:
    """Return the aim that the figure is at most the target."""
    return {"what": what, "figure": figure, "target": f"<= {target:g}", "met": bool(figure <= target)}


def least(what: str, figure: float, target: float) -> dict[str, Any]:
    """Return the aim that the figure is at least the target."""
    return {"what": what, "figure": figure, "target": f">= {target:g}", "met": bool(figure >= target)}


def floor(results: Found, task: str, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the aims against the constant function, and against decoding and inference alone."""
    ours, constant = results["contenders"][task], results["contenders"]["constant"]
    bucket, base = ours["cold"]["bucket"]["seconds"], constant["cold"]["disk"]["seconds"]
    yield most(f"{task}: cold start from the bucket / constant function", bucket / base, 1.6)
    work = sum(step["ms"] for step in results["floor"][task].values())
    overhead = at(ours, 1)["p50"] - at(constant, 1, kind)["p50"] - work
    what = f"{task}: own overhead in ms (warm p50 - constant function - decode - inference)"
    yield most(what, overhead, OVERHEAD[task])
    memory = ours["memory"]["loaded"] / constant["memory"]["loaded"]
    yield most(f"{task}: memory after load / constant function", memory, 1.8)


def peers(results: Found, task: str) -> Iterator[dict[str, Any]]:
    """Yield the aims against the best peer in each respect."""
    everyone = results["contenders"]
    ours = everyone[task]
    others = {name: one for name, one in everyone.items() if one["task"] == task and not one["own"]}
    if not others:
        return

    def best(value: Callable[[Found], float], pick: Any = min) -> tuple[float, str]:
        figure = pick(map(value, others.values()))
        return figure, next(one["title"] for one in others.values() if value(one) == figure)

    figure, name = best(lambda one: one["cold"]["disk"]["seconds"])
    bucket = ours["cold"]["bucket"]["seconds"]
    yield most(f"{task}: cold start from the bucket / best peer from disk ({name})", bucket / figure, 0.333)
    figure, name = best(lambda one: at(one, 1)["p50"])
    yield most(f"{task}: warm p50 / best peer ({name})", at(ours, 1)["p50"] / figure, 1.0)
    yield from rates(everyone, task, *best(lambda one: at(one, 8)["rate"], max))
    figure, name = best(lambda one: at(one, 8)["p99"])
    yield most(f"{task}: p99 at 8 clients / best peer ({name})", at(ours, 8)["p99"] / figure, 0.6)
    if "malaria_article" in others:
        article = others["malaria_article"]["cost"]["busy"]
        yield most(f"{task}: cost of a million / the article's app", ours["cost"]["busy"] / article, 0.1)


def rates(everyone: Found, task: str, highest: float, name: str) -> Iterator[dict[str, Any]]:
    """Yield the aims of throughput: malaria against LitServe with each file, review against the best peer."""
    ours = at(everyone[task], 8)["rate"]
    if task != "malaria":
        yield least(f"{task}: throughput at 8 clients / best peer ({name})", ours / highest, 1.5)
        return
    for peer, file, target in (("malaria_litserve_float", "float", 1.5), ("malaria_litserve", "pinned", 1.0)):
        if peer in everyone:
            what = f"{task}: throughput at 8 clients / LitServe with the {file} file"
            yield least(what, ours / at(everyone[peer], 8)["rate"], target)


def own(results: Found, task: str) -> Iterator[dict[str, Any]]:
    """Yield the aims that need no comparison with another contender."""
    ours = results["contenders"][task]
    yield most(f"{task}: failed requests, all loads", ours["failed"], 0)
    if ours["growth"]:
        growth = ours["growth"]["after"] / ours["growth"]["before"]
        count = ours["growth"]["requests"]
        yield most(f"{task}: memory after {count:,.0f} more requests / before", growth, 1.03)
    if task == "review":
        yield most(
            "review: ms of CPU to score a review", results["floor"]["review"]["predict"]["cpu_ms"], 0.4
        )
        rates = ours["batches"]
        yield least("review: rate in batches of 1,000 / one by one", rates["1000"] / rates["1"], 3.0)
