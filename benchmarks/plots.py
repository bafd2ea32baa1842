"""Plot the figures of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

from .measure import CLIENTS, PARTS
from .verdicts import at

mpl.use("Agg")
from matplotlib import pyplot

Found = Mapping[str, Any]
COLOURS = ("#9aa0a6", "#5f6368", "#4285f4", "#fbbc04", "#34a853", "#ea4335")


def draw(results: Found, folder: Path) -> None:
    """Write cold.png, load.png and memory.png into `folder`."""
    for name, figure in (("cold", cold(results)), ("load", load(results)), ("memory", memory(results))):
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(figure)


def plain(title: str) -> str:
    """Return a title without its Markdown emphasis."""
    return title.replace("**", "")


def cold(results: Found) -> Any:
    """Draw a bar for each cold start, with its parts."""
    bars = [
        (f"{plain(one['title'])}, from {'the bucket' if source == 'bucket' else 'disk'}", start)
        for one in results["contenders"].values()
        for source, start in sorted(one["cold"].items())
    ]
    figure, axes = pyplot.subplots(figsize=(9, 0.36 * len(bars) + 1.2))
    labels = [label for label, _ in bars]
    lefts = [0.0] * len(bars)
    for part, colour in zip(PARTS, COLOURS, strict=True):
        widths = [start["parts"][part] for _, start in bars]
        axes.barh(labels, widths, left=lefts, color=colour, label=part)
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    for place, (_, start) in enumerate(bars):
        axes.text(lefts[place], place, f" {start['seconds']:.2f}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("seconds from the start of the process to the first right answer")
    axes.legend(loc="upper right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def load(results: Found) -> Any:
    """Draw the 99 % latency by the number of clients, from 1 to 32."""
    tasks = [task for task in ("malaria", "review") if task in results["contenders"]]
    figure, panels = pyplot.subplots(
        1, max(len(tasks), 1), figsize=(6 * max(len(tasks), 1), 4.5), squeeze=False
    )
    for axes, task in zip(panels[0], tasks, strict=False):
        for one in results["contenders"].values():
            if one["task"] in (task, "floor"):
                loads = [at(one, clients) for clients in CLIENTS]
                style = {"linewidth": 2.5} if one["title"].startswith("**") else {"alpha": 0.75}
                axes.plot(
                    CLIENTS, [each["p99"] for each in loads], marker="o", label=plain(one["title"]), **style
                )
        axes.set(xscale="log", yscale="log", xlabel="clients", ylabel="p99, ms", title=task)
        axes.set_xticks(CLIENTS, [str(clients) for clients in CLIENTS])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def memory(results: Found) -> Any:
    """Draw bars of the memory after the start and after the load."""
    everyone = list(results["contenders"].values())
    figure, axes = pyplot.subplots(figsize=(9, 0.36 * len(everyone) + 1.2))
    labels = [plain(one["title"]) for one in everyone]
    for name, colour, height in (("loaded", COLOURS[0], 0.8), ("started", COLOURS[2], 0.45)):
        sizes = [one["memory"][name] / 1e6 for one in everyone]
        axes.barh(
            labels,
            sizes,
            color=colour,
            height=height,
            label=f"after {'load' if name == 'loaded' else 'start'}",
        )
    for place, one in enumerate(everyone):
        axes.text(
            one["memory"]["loaded"] / 1e6,
            place,
            f" {one['memory']['loaded'] / 1e6:.0f}",
            va="center",
            fontsize=8,
        )
    axes.invert_yaxis()
    axes.set_xlabel("MB, proportional set size of all its processes")
    axes.legend(loc="upper right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
