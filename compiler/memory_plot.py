"""The picture of an arena: instructions to the right, offsets upwards, a box for each buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphnn.compiler.memory_size import size_text
from graphnn.core.provenance import provenance

if TYPE_CHECKING:
    from graphnn.compiler.memory_report import BufferReport, MemoryReport

__all__ = ["draw"]

COLORS = {
    "scratch": "#4c9f70",
    "forward": "#5b8fd6",
    "backward": "#e09f3e",
    "tangent": "#9d79bc",
    "update": "#8d8d8d",
    "again": "#c8553d",
}
"""Memory of kernels while they run, the role of what is computed, and what is computed again."""

LABELLED = 0.035
"""A box that is at least this part of the picture high and wide has its name in it."""


def draw(axes: Any, report: MemoryReport) -> None:
    """Draw a report on axes of matplotlib."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    height = max(report.arena_nbytes, 1)
    boxes: dict[str, list[list[tuple[float, int]]]] = {}
    for each in report.buffers:
        if each.last >= each.first and each.nbytes:
            left, right = each.first - 0.5, each.last + 0.5
            low, high = each.offset, each.offset + each.nbytes
            corners = [(left, low), (right, low), (right, high), (left, high)]
            boxes.setdefault(_kind(each), []).append(corners)
            wide = (right - left) / (report.n_instructions + 2)
            if min(wide, each.nbytes / height) >= LABELLED:
                axes.text(
                    (left + right) / 2,
                    (low + high) / 2,
                    each.what,
                    size=7,
                    ha="center",
                    va="center",
                    clip_on=True,
                )
    outline = 0.3 if len(report.buffers) < 2000 else 0.0
    for kind, drawn in boxes.items():
        axes.add_collection(
            PolyCollection(drawn, facecolor=COLORS[kind], edgecolor="white", linewidth=outline)
        )
    peak = report.peak_instruction
    axes.axvline(peak, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlim(-1.5, report.n_instructions + 0.5)
    axes.set_ylim(0, height * 1.04)
    if report.budget is not None and report.budget <= 1.5 * height:
        axes.axhline(report.budget, color="black", linewidth=0.8)
        axes.set_ylim(0, max(height, report.budget) * 1.04)
    axes.yaxis.set_major_formatter(lambda value, _: size_text(int(value)))
    axes.set_xlabel("instruction")
    axes.set_ylabel("offset in the arena")
    axes.set_title(
        f"arena {size_text(report.arena_nbytes)}, at most {size_text(report.peak_live)} live, "
        f"at instruction {peak}",
        size=10,
    )
    handles = [Patch(color=color, label=kind) for kind, color in COLORS.items() if kind in boxes]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _kind(buffer: BufferReport) -> str:
    if buffer.is_recomputed:
        return "again"
    if buffer.node is None:
        return "scratch"
    return provenance(buffer.node).role
