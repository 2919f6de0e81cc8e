"""The roofline picture of a profile: where each instruction stands below what is possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphnn.compiler.profile_report import InstructionProfile, Profile

__all__ = ["draw"]

COLORS = {
    "gemm": "#5b8fd6",
    "conv": "#9d79bc",
    "kernel": "#4c9f70",
    "move": "#e09f3e",
    "host": "#c8553d",
}
"""By kind; copies do no arithmetic and are in no roofline."""

LARGEST = 900.0
"""Area of the disc that takes all the time, in square points."""

LABELLED = 0.01
"""An instruction with at least this part of the time has its name beside it..."""

MOST_LABELS = 8
"""...if it is among the slowest."""


def draw(axes: Any, profile: Profile) -> None:
    """Draw a profile on axes of matplotlib."""
    drawn = [each for each in profile.instructions if each.flops and each.nbytes]
    axes.set_xscale("log")
    axes.set_yscale("log")
    _draw_roofs(axes, profile, drawn)
    total = max(profile.ns, 1.0)
    for kind, color in COLORS.items():
        chosen = [each for each in drawn if each.kind == kind]
        if chosen:
            axes.scatter(
                [each.intensity for each in chosen],
                [each.gflops for each in chosen],
                s=[12 + LARGEST * each.ns / total for each in chosen],
                color=color,
                alpha=0.7,
                linewidth=0.5,
                edgecolor="white",
                zorder=3,
                label=kind,
            )
    _label(axes, [each for each in drawn if each.ns >= LABELLED * total])
    left_out = sum(each.ns for each in profile.instructions) - sum(each.ns for each in drawn)
    axes.set_title(
        f"{profile!r}".strip("<>") + f"; {100 * left_out / total:.0f}% of the time without "
        "arithmetic, not shown",
        size=10,
    )
    axes.set_xlabel("floating-point operations for every byte read or written")
    axes.set_ylabel("GFLOP/s")
    axes.grid(visible=True, which="major", color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    legend = axes.legend(loc="lower right", frameon=False)
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([60.0])


def _draw_roofs(axes: Any, profile: Profile, drawn: Sequence[InstructionProfile]) -> None:
    limits = profile.limits
    peak = limits.flops / 1e9
    slowest = limits.memory_bandwidth / 1e9
    intensities = [each.intensity for each in drawn] or [1.0]
    left = min(*intensities, 0.1) / 2
    right = max(*intensities, peak / slowest) * 4
    heights = [each.gflops for each in drawn] + [slowest * left]
    axes.set_xlim(left, right)
    axes.set_ylim(max(min(heights), peak * 1e-5) / 2, peak * 3)
    for name, bandwidth, style in (
        ("memory", slowest, "-"),
        ("fastest cache", limits.cache_bandwidth / 1e9, "--"),
    ):
        corner = peak / bandwidth
        axes.plot(
            [left, corner, right],
            [left * bandwidth, peak, peak],
            color="black",
            linewidth=1.0,
            linestyle=style,
            label=f"{name}: {bandwidth:.0f} GB/s",
        )
    axes.text(
        right / 1.1, peak * 1.1, f"arithmetic: {peak:.0f} GFLOP/s", size=8, ha="right", va="bottom"
    )


def _label(axes: Any, candidates: Sequence[InstructionProfile]) -> None:
    """Names beside the discs, moved up until they do not lie on one another."""
    slowest = sorted(candidates, key=lambda each: -each.ns)[:MOST_LABELS]
    taken: list[tuple[float, float]] = []
    to_pixels = axes.transData.transform
    for each in sorted(slowest, key=lambda one: one.gflops):
        x, y = to_pixels((each.intensity, each.gflops))
        height = y + 12
        while any(abs(height - other) < 15 and abs(x - beside) < 220 for beside, other in taken):
            height += 15
        taken.append((x, height))
        is_left = x < axes.transAxes.transform((0.7, 0.0))[0]
        axes.annotate(
            f"{each.number} {each.label}",
            (each.intensity, each.gflops),
            xytext=(10 if is_left else -10, (height - y) * 72 / axes.figure.dpi),
            textcoords="offset points",
            ha="left" if is_left else "right",
            size=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#888888"},
            zorder=4,
        )
