"""Pictures of histories: one stage with its changes marked, or all stages in a column."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from xml.sax.saxutils import escape

from graphnn.core.errors import RenderError
from graphnn.core.text import counted
from graphnn.viz.alike_changes import changes_of
from graphnn.viz.common_layout import common_layouts
from graphnn.viz.excerpt import excerpts, left_out
from graphnn.viz.explorer import PageStage, explorer_page
from graphnn.viz.history import History, Stage
from graphnn.viz.layout import Band, Box, Layout
from graphnn.viz.picture import LayoutName, Picture
from graphnn.viz.scene import Scene
from graphnn.viz.style import BANDS, DETAIL_SIZE, FONTS, LABEL_SIZE, shorten

__all__ = ["HistoryPicture", "StagePicture"]

HALO = 5.0
"""Points around a box that has changed."""
WIDEST = 1100.0
"""Points that a picture in the column may be wide; it is scaled down to them."""
CROWDED = 1.2
"""How much too wide two pictures may be to stand side by side."""
MARGIN = 14.0
ROW = 13.0
"""Points of a line of text."""
MOST_LINES = 6
"""Notes above a picture; the text form has all."""
KEY = (
    ("added", "added by this pass"),
    ("merged", "merged: does the work of several"),
    ("leaves", "removed by it"),
)


class StagePicture(Picture):
    """The picture of a scene with what came, was merged and will be gone in colours.

    Attributes
    ----------
    tones : mapping of int to str
        By box: ``"added"``, ``"merged"`` or ``"leaves"``.
    """

    def __init__(
        self, scene: Scene, tones: Mapping[int, str], layout: LayoutName, text: str = ""
    ) -> None:
        super().__init__(scene, layout, lambda: text)
        self.tones = tones

    @staticmethod
    def of(stage: Stage, layout: LayoutName, title: str) -> StagePicture:
        """The picture of a whole stage."""
        tones = {number: change for number, change in enumerate(stage.changes) if change}
        tones.update(dict.fromkeys(stage.leaves, "leaves"))
        scene = replace(stage.scene, title=title or stage.summary)
        return StagePicture(scene, tones, layout, str(stage))

    @cached_property
    def layout(self) -> Layout:
        """Where everything is, with areas behind what changes."""
        found = super().layout
        halos = tuple(
            Band(_grown(found.boxes[number]), tone, "")
            for number, tone in sorted(self.tones.items())
        )
        return replace(found, bands=(*found.bands, *halos))


def _grown(box: Box) -> Box:
    return Box(box.x - HALO, box.y - HALO, box.width + 2 * HALO, box.height + 2 * HALO)


class HistoryPicture(Picture):
    """All stages of a history below each other; notebooks show it.

    Of a pass that added or removed something there are two parts of the picture, before and after,
    with what changed and what is next to it; of others the whole.

    Attributes
    ----------
    history : History
    scene : Scene
        That of the last stage.
    """

    def __init__(self, history: History, layout: LayoutName, title: str) -> None:
        super().__init__(history[-1].scene, layout, lambda: str(history))
        self.history = history
        self._title = title or "What the passes of the compiler did"

    def _pictures(self, number: int) -> list[StagePicture]:
        """What is shown of a stage, from left to right."""
        stage, layout = self.history[number], self._layout_name
        if not stage.removed and not any(stage.changes):
            return [StagePicture(replace(stage.scene, title=""), {}, layout)]
        before = self.history[number - 1]
        changes = changes_of(before, stage)
        pictures, others = [], left_out(changes)
        more = f", and the same in {counted(others, 'other place')}" if others else ""
        for words, part in zip(("before", "after"), excerpts(before, stage, changes), strict=True):
            titled = replace(part.scene, title=f"{words}{more}")
            pictures.append(StagePicture(titled, part.tones, layout))
        return pictures

    @property
    def svg(self) -> str:
        """A column of pictures, each with the notes of its pass above."""
        parts = [_text(MARGIN, 22, self._title, LABEL_SIZE + 3)]
        x = MARGIN
        for tone, meaning in KEY:
            fill, line = BANDS[tone]
            parts.append(
                f'<rect x="{x:g}" y="32" width="18" height="12" rx="3" fill="{fill}" '
                f'stroke="{line}"/>'
            )
            parts.append(_text(x + 23, 42, meaning, DETAIL_SIZE))
            x += 200
        y = 64.0
        for number, stage in enumerate(self.history):
            parts.append(_text(MARGIN, y + 10, f"{number}  {stage.summary}", LABEL_SIZE + 1))
            y += 26
            shown = stage.notes[:MOST_LINES]
            if len(stage.notes) > len(shown):
                shown = (*shown, f"and {len(stage.notes) - len(shown)} more")
            for note in shown:
                parts.append(_text(MARGIN + 14, y, shorten(note, 190), DETAIL_SIZE))
                y += ROW
            y += self._row(self._pictures(number), y, parts) + 3 * MARGIN
        width = WIDEST + 2 * MARGIN
        size = f'width="{width:g}" height="{y:.1f}" viewBox="0 0 {width:g} {y:.1f}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                f"<title>{escape(self._title)}</title>",
                '<rect width="100%" height="100%" fill="#ffffff"/>',
                *parts,
                "</svg>\n",
            ]
        )

    @staticmethod
    def _row(pictures: Sequence[StagePicture], y: float, parts: list[str]) -> float:
        """Pictures side by side, or below each other if they are wide; their height."""
        total = sum(each.drawing.width for each in pictures) + MARGIN * (len(pictures) - 1)
        is_stacked = total > CROWDED * WIDEST
        widest = max(each.drawing.width for each in pictures) if is_stacked else total
        scale, left, top = min(1.0, WIDEST / widest), MARGIN, y
        for each in pictures:
            place = f"translate({left:.1f} {top:.1f}) scale({scale:.4f})"
            parts.append(f'<g transform="{place}">{each.svg.rstrip()}</g>')
            if is_stacked:
                top += each.drawing.height * scale + MARGIN
            else:
                left += each.drawing.width * scale + MARGIN
        if is_stacked:
            return top - y
        return scale * max(each.drawing.height for each in pictures)

    @property
    def html(self) -> str:
        """The explorer's page with all of every stage; a slider leads from one to the next.

        In stages before kernels are made a box stays where it is.
        """
        common = common_layouts(self.history.stages, self._arranged)
        stages = []
        for number, stage in enumerate(self.history):
            scene = replace(stage.scene, title=self._title)
            layout = common[number] if number < len(common) else self._arranged(scene)
            stages.append(PageStage.of(stage, scene, layout))
        return explorer_page(stages)

    def _arranged(self, scene: Scene) -> Layout:
        return Picture(scene, self._layout_name, self._text).layout

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture; its ending is ``.svg``, ``.html`` or ``.txt``."""
        target = Path(path)
        if target.suffix.lower() not in (".svg", ".html", ".txt"):
            raise RenderError(
                f"a history is written as .svg, .html or .txt, not as {target.name!r}",
                hint="one of its stages can be drawn in every format: gn.render(history[-1], path)",
                where="",
            )
        return super().save(target)

    def __repr__(self) -> str:
        return f"<Picture of {self.history!r}>"


def _text(x: float, y: float, text: str, size: float) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" style="font-family:{FONTS};font-size:{size:g}px;'
        f'fill:#222222">{escape(text)}</text>'
    )
