"""The comparison as a table in Markdown and as a plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["plot", "ratios", "table", "time_text"]

Row = Mapping[str, Any]

COLOURS = {
    "graphnn": "#d1495b",
    "torch": "#edae49",
    "torch.compile": "#c28a1c",
    "jax": "#30638e",
    "jax.checkpoint": "#6f9bc0",
    "pytensor": "#66a182",
    "autograd": "#8d6a9f",
    "numpy": "#8a8a8a",
}

OURS = "graphnn"


def time_text(seconds: float) -> str:
    """Three digits with a unit: ``1.23 ms``."""
    unit, size = next(
        (pair for pair in (("s", 1.0), ("ms", 1e-3)) if seconds >= pair[1]), ("us", 1e-6)
    )
    value = seconds / size
    return f"{value:.{max(0, 2 - math.floor(math.log10(max(value, 0.01))))}f} {unit}"


def ratios(row: Row) -> tuple[float | None, float | None]:
    """Our time over the best peer's, and over the limit; None where one is missing."""
    times = {name: each["median"] for name, each in row["libraries"].items() if "median" in each}
    ours = times.pop(OURS, None)
    if ours is None:
        return None, None
    limit = row["limit_seconds"]
    return (ours / min(times.values()) if times else None), (ours / limit if limit else None)


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] + ["---:"] * (len(header) - 1), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _columns(rows: Sequence[Row], titles: Mapping[str, str]) -> list[str]:
    return [name for name in titles if any(name in row["libraries"] for row in rows)]


def _cell(each: Mapping[str, Any] | None, key: str, text: Any) -> str:
    """A measured value, a dash where a library does not take part, or why there is none."""
    if each is None:
        return "–"
    if key in each:
        return str(text(each[key]))
    return "not run" if "failure" in each else "–"


def _times(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    names = _columns(rows, titles)
    lines = []
    for row in rows:
        cells = [_cell(row["libraries"].get(name), "median", time_text) for name in names]
        limit = time_text(row["limit_seconds"]) if row["limit_seconds"] else "–"
        ending = ["–" if each is None else f"{each:.2f}" for each in ratios(row)]
        lines.append([row["title"], *cells, limit, *ending])
    header = ["", *(titles[name] for name in names), "limit", "to best peer", "to limit"]
    return _markdown(header, lines)


def _starts(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    names = _columns(rows, titles)
    lines = [
        [
            row["title"],
            *(
                _cell(row["libraries"].get(name), "cold_seconds", time_text)
                + " / "
                + _cell(row["libraries"].get(name), "warm_seconds", time_text)
                for name in names
            ),
        ]
        for row in rows
    ]
    return _markdown(["", *(titles[name] for name in names)], lines)


def _memory(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    names = _columns(rows, titles)

    def text(nbytes: float) -> str:
        return f"{nbytes / 2**20:.1f}"

    lines = [
        [
            row["title"],
            *(_cell(row["libraries"].get(name), "peak_bytes", text) for name in names),
            _cell(row["libraries"].get(OURS), "planned_bytes", text),
        ]
        for row in rows
    ]
    return _markdown(["", *(titles[name] for name in names), f"planned by {titles[OURS]}"], lines)


def table(result: Mapping[str, Any]) -> str:
    """All that was measured, as a page in Markdown."""
    rows, titles, machine = result["rows"], result["titles"], result["machine"]
    starts = [row for row in rows if "start" in row["measures"]]
    memory = [row for row in rows if "memory" in row["measures"]]
    versions = ", ".join(f"{name} {text}" for name, text in result["versions"].items())
    peak, copied = result["limits"]["flops"] / 1e9, result["limits"]["bandwidth"] / 1e9
    parts = [
        f"# Beside other libraries, {result['threads']} thread(s)\n\n"
        f"{machine['cpu']}, {machine['system']}, Python {machine['python']}, {result['date']}; "
        f"{versions}. Limits measured here: {peak:.0f} GFLOP/s, {copied:.1f} GB/s.\n",
        "## Time of a run\n\nMedians.\n\n" + _times(rows, titles),
    ]
    if starts:
        parts.append(
            "## Start\n\nFrom a Python function to the first result, imports excluded: "
            "with nothing / everything cached on disk.\n\n" + _starts(starts, titles)
        )
    if memory:
        parts.append("## Peak memory of a run\n\nMiB.\n\n" + _memory(memory, titles))
    failures = [
        f"- {row['title']}, {titles[name]}: {each['failure']}\n"
        for row in rows
        for name, each in row["libraries"].items()
        if "failure" in each
    ]
    if failures:
        parts.append("## Not run\n\n" + "".join(failures))
    return "\n".join(parts)


def plot(path: Path, result: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Bars of the median times on a logarithmic axis, with quartiles and the limit."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "graphnn"
    from matplotlib import pyplot

    titles = result["titles"]
    names = _columns(rows, titles)
    bars = sum(len(row["libraries"]) + 1.5 for row in rows)
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.15 * bars))
    place, ticks, labels = 0.0, [], []
    for row in rows:
        present = [name for name in names if "median" in row["libraries"].get(name, {})]
        top = place
        for name in present:
            each = row["libraries"][name]
            spread = [[each["median"] - each["lower"]], [each["upper"] - each["median"]]]
            axes.barh(
                place,
                each["median"],
                xerr=spread,
                height=0.9,
                color=COLOURS[name],
                error_kw={"linewidth": 0.8, "ecolor": "0.2"},
            )
            place += 1
        if row["limit_seconds"]:
            axes.plot([row["limit_seconds"]] * 2, [top - 0.5, place - 0.5], color="black")
        ticks.append((top + place - 1) / 2)
        labels.append(row["title"])
        place += 1.5
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.set_xscale("log")
    axes.set_ylim(place - 1, -1)
    words = "seconds for one run, median and quartiles; black: the limit of the machine"
    figure.supxlabel(words, fontsize=9)
    axes.grid(True, axis="x", which="major", alpha=0.4)
    axes.set_axisbelow(True)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in names]
    figure.legend(
        handles,
        [titles[name] for name in names],
        loc="upper center",
        ncols=min(4, len(names)),
        fontsize=8,
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
