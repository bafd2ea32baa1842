"""What is aimed at, as ratios within one run, and whether the run reaches it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Found = Mapping[str, Any]


def at(found: Found, clients: int, kind: str | None = None) -> Mapping[str, float]:
    """The load of so many clients; with the first form of body, or another."""
    loads = found["loads"][kind or next(iter(found["loads"]))]
    return next(load for load in loads if load["clients"] == clients)


def verdicts(results: Found) -> list[dict[str, Any]]:
    """Each aim with the run's figure, as far as the run measured what it takes."""
    found = []
    for task, kind in (("malaria", "multipart"), ("review", "form")):
        if task in results["contenders"]:
            found += [*floor(results, task, kind), *peers(results, task), *own(results, task)]
    return found


def most(what: str, figure: float, target: float) -> dict[str, Any]:
    """An aim that the figure be no more than this."""
    return {"what": what, "figure": figure, "target": f"<= {target:g}", "met": bool(figure <= target)}


def least(what: str, figure: float, target: float) -> dict[str, Any]:
    """An aim that the figure be no less than this."""
    return {"what": what, "figure": figure, "target": f">= {target:g}", "met": bool(figure >= target)}


def floor(results: Found, task: str, kind: str) -> Iterator[dict[str, Any]]:
    """Against the constant function, and what decoding and inference take by themselves."""
    ours, constant = results["contenders"][task], results["contenders"]["constant"]
    steps = results["floor"][task].values()
    base = constant["cold"]["disk"]["seconds"]
    start = {source: cold["seconds"] for source, cold in ours["cold"].items()}
    yield most(f"{task}: cold start from the bucket / constant function", start["bucket"] / base, 2.5)
    yield most(f"{task}: cold start from disk / constant function", start["disk"] / base, 1.8)
    bare = at(constant, 1, kind)["p50"] + sum(step["ms"] for step in steps)
    what = "constant function + decode + inference" if task == "malaria" else "constant function + inference"
    yield most(f"{task}: warm p50 / ({what})", at(ours, 1)["p50"] / bare, 1.25)
    used = at(constant, 8, kind)["cpu"] + sum(step["cpu_ms"] for step in steps)
    cores = results["about"]["cores"]
    bound = 1000 * cores / used
    yield least(
        f"{task}: throughput at 8 clients / ({cores} cores / CPU time of {what})",
        at(ours, 8)["rate"] / bound,
        0.8,
    )
    memory = ours["memory"]["loaded"] / constant["memory"]["loaded"]
    yield most(f"{task}: memory after load / constant function", memory, 1.8)


def peers(results: Found, task: str) -> Iterator[dict[str, Any]]:
    """Against the best of the peers, whichever it is."""
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
    yield most(f"{task}: cold start from the bucket / best peer from disk ({name})", bucket / figure, 0.2)
    figure, name = best(lambda one: at(one, 1)["p50"])
    yield most(f"{task}: warm p50 / best peer ({name})", at(ours, 1)["p50"] / figure, 1.0)
    figure, name = best(lambda one: at(one, 8)["rate"], max)
    yield least(f"{task}: throughput at 8 clients / best peer ({name})", at(ours, 8)["rate"] / figure, 1.5)
    figure, name = best(lambda one: at(one, 8)["p99"])
    yield most(f"{task}: p99 at 8 clients / best peer ({name})", at(ours, 8)["p99"] / figure, 1.0)
    if "malaria_article" in others:
        article = others["malaria_article"]["cost"]["busy"]
        yield most(f"{task}: cost of a million / the article's app", ours["cost"]["busy"] / article, 0.1)


def own(results: Found, task: str) -> Iterator[dict[str, Any]]:
    """What needs no other to compare with."""
    ours = results["contenders"][task]
    yield most(f"{task}: failed requests, all loads", ours["failed"], 0)
    if ours["growth"]:
        growth = ours["growth"]["after"] / ours["growth"]["before"]
        count = ours["growth"]["requests"]
        yield most(f"{task}: memory after {count:,.0f} more requests / before", growth, 1.03)
    if task == "review":
        yield most(
            "review: ms of CPU to score a review", results["floor"]["review"]["predict"]["cpu_ms"], 0.7
        )
        rates = ours["batches"]
        yield least("review: rate in batches of 1,000 / one by one", rates["1000"] / rates["1"], 3.0)
