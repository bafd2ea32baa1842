"""From samples to figures: medians, the parts of a cold start, costs and verdicts."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .contenders import Contender
from .measure import PARTS
from .verdicts import at, verdicts

# Cloud Run's prices for request-based billing in a tier 1 region, as of November 2026, in US dollars:
# cloud.google.com/run/pricing. An instance that takes several requests at a time has one vCPU at least.
VCPU_SECOND, GIB_SECOND, MILLION_REQUESTS = 0.000024, 0.0000025, 0.40
BILLED = 0.1
"""Seconds to which the time of an instance is rounded up."""
SIZES = (0.5, 1.0, 2.0, 4.0)
"""GiB; 0.5 is the least an instance of the second generation has."""
MARGIN = 1.25
ALONE = 1_000
"""Requests for each cold start."""

Results = dict[str, Any]


def gather(
    samples: Sequence[Mapping[str, Any]], chosen: Sequence[Contender], about: Mapping[str, Any]
) -> Results:
    """Medians over the rounds; `about` is kept as it is, and its `cores` are reckoned with."""
    results: Results = {
        "about": {
            **about,
            "busy": statistics.mean(share for sample in samples for share in sample["busy"]),
        },
        "interpreter": statistics.median(sample["interpreter"] for sample in samples),
        "floor": {
            which: middle([sample[which] for sample in samples])
            for which in ("malaria", "review", "sklearn")
            if which in samples[0]
        },
        "contenders": {},
    }
    for one in chosen:
        rounds = [sample["contenders"][one.name] for sample in samples]
        found: Results = {
            "title": one.title,
            "task": one.task,
            "settings": one.settings,
            "own": one.own,
            "cold": {},
        }
        for source in ("disk", "bucket"):
            starts = [start for each in rounds for start in each.get(source, [])]
            if starts:
                found["cold"][source] = cold(starts)
        loads = [each["loads"] for each in rounds if "loads" in each]
        found["loads"] = {
            kind: [middle(steps) for steps in zip(*(each[kind] for each in loads), strict=True)]
            for kind in loads[0]
        }
        found["failed"] = sum(load["failed"] for each in loads for steps in each.values() for load in steps)
        found["memory"] = {
            name: statistics.median(each[name] for each in rounds if name in each)
            for name in ("started", "loaded")
        }
        found["batches"] = middle([each["batches"] for each in rounds])
        found["growth"] = next((each["growth"] for each in rounds if "growth" in each), None)
        found["cost"] = cost(found)
        results["contenders"][one.name] = found
    split(results)
    results["verdicts"] = verdicts(results)
    return results


def middle(samples: Iterable[Mapping[str, Any]]) -> Results:
    """Medians, name by name, of mappings that are alike."""
    together = list(samples)
    return {
        name: middle([each[name] for each in together])
        if isinstance(value, Mapping)
        else statistics.median(each[name] for each in together)
        for name, value in together[0].items()
    }


def cold(starts: Sequence[Mapping[str, Any]]) -> Results:
    """The median start, its fastest and slowest, and the medians of its known parts."""
    seconds = [start["seconds"] for start in starts]
    names = {name for start in starts for name in start["parts"]}
    parts = {name: statistics.median(start["parts"].get(name, 0.0) for start in starts) for name in names}
    return {
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "starts": len(seconds),
        "cpu": statistics.median(start["cpu"] for start in starts),
        "parts": parts,
    }


def split(results: Results) -> None:
    """Complete the parts of each cold start, so that they sum to it.

    The framework's part of our functions is what the constant function takes without its interpreter, and
    their imports are the remainder; a peer has told its imports, and the framework's part is the remainder.
    """
    interpreter = results["interpreter"]
    boot = results["contenders"]["constant"]["cold"]["disk"]["seconds"] - interpreter
    for found in results["contenders"].values():
        for start in found["cold"].values():
            known = {"interpreter": interpreter, **start["parts"]}
            rest = "imports" if found["own"] else "framework"
            if rest == "imports":
                known["framework"] = boot
            known[rest] = max(start["seconds"] - sum(known.values()), 0.0)
            start["parts"] = {part: known.get(part, 0.0) for part in PARTS}


def cost(found: Mapping[str, Any]) -> Results:
    """US dollars for a million predictions, one in `ALONE` a cold start.

    `busy`: the requests share an instance of one vCPU that is at work all the time. `sparse`: each
    comes alone, and its time is rounded up.
    """
    needed = MARGIN * found["memory"]["loaded"] / 2**30
    size = next((size for size in SIZES if size >= needed), SIZES[-1])
    price = VCPU_SECOND + size * GIB_SECOND
    source = found["cold"].get("bucket") or found["cold"]["disk"]
    waking = 1e6 / ALONE * math.ceil(source["seconds"] / BILLED) * BILLED * price
    busy = 1e6 * at(found, 8)["cpu"] / 1000 * price
    sparse = 1e6 * math.ceil(at(found, 1)["p50"] / 1000 / BILLED) * BILLED * price
    fixed = MILLION_REQUESTS + waking
    return {"gib": size, "busy": busy + fixed, "sparse": sparse + fixed}
