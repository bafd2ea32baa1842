"""Compute the figures from the samples: medians, the parts of a cold start, costs and verdicts."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .contenders import Contender
from .measure import PARTS
from .verdicts import at, verdicts

# Cloud Run's prices for request-based billing in a tier 1 region, as of November 2026, in US dollars:
# cloud.google.com/run/pricing. An instance that takes several requests at a time has at least one vCPU.
VCPU_SECOND, GIB_SECOND, MILLION_REQUESTS = 0.000024, 0.0000025, 0.40
BILLED = 0.1
"""The unit, in seconds, that the time of an instance is rounded up to."""
SIZES = (0.5, 1.0, 2.0, 4.0)
"""In GiB; 0.5 is the least that an instance of the second generation can have."""
MARGIN = 1.25
ALONE = 1_000
"""The number of requests for each cold start."""

Results = dict[str, Any]


def gather(
    samples: Sequence[Mapping[str, Any]], chosen: Sequence[Contender], about: Mapping[str, Any]
) -> Results:
    """Return the medians over the rounds, the costs and the verdicts; `about` describes the run."""
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
    """Return the medians, name by name, of mappings with the same names."""
    together = list(samples)
    return {
        name: middle([each[name] for each in together])
        if isinstance(value, Mapping)
        else statistics.median(each[name] for each in together)
        for name, value in together[0].items()
    }


def cold(starts: Sequence[Mapping[str, Any]]) -> Results:
    """Return the median, the fastest and the slowest start, and the medians of its known parts."""
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

    For our functions, the framework's part is that of the constant function, without its interpreter, and the
    remainder is their imports. A peer reports its imports, and the remainder is the framework's part.
    """
    interpreter = results["interpreter"]
    boot = results["contenders"]["constant"]["cold"]["disk"]["seconds"] - interpreter
    for found in results["contenders"].values():
        for start in found["cold"].values():
            known = {"interpreter": interpreter, **start["parts"]}
            remainder = "imports" if found["own"] else "framework"
            if remainder == "imports":
                known["framework"] = boot
            known[remainder] = max(start["seconds"] - sum(known.values()), 0.0)
            start["parts"] = {part: known.get(part, 0.0) for part in PARTS}


def cost(found: Mapping[str, Any]) -> Results:
    """Return the US dollars for a million predictions, with one cold start in `ALONE` requests.

    `busy`: the requests share an instance of one vCPU that is never idle. `sparse`: the requests do not
    overlap, and the time of each is rounded up.
    """
    needed = MARGIN * found["memory"]["loaded"] / 2**30
    size = next((size for size in SIZES if size >= needed), SIZES[-1])
    price = VCPU_SECOND + size * GIB_SECOND
    source = found["cold"].get("bucket") or found["cold"]["disk"]
    cold_starts = 1e6 / ALONE * math.ceil(source["seconds"] / BILLED) * BILLED * price
    busy = 1e6 * at(found, 8)["cpu"] / 1000 * price
    sparse = 1e6 * math.ceil(at(found, 1)["p50"] / 1000 / BILLED) * BILLED * price
    fixed = MILLION_REQUESTS + cold_starts
    return {"gib": size, "busy": busy + fixed, "sparse": sparse + fixed}
