"""Numbers by the value that they belong to, and overlays made of them for any picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from graphnn.core.errors import RenderError
from graphnn.core.node import Node
from graphnn.core.text import counted
from graphnn.viz.scene import Frame, Overlay, Scene, Subject

__all__ = ["Key", "Measurement", "Moment", "fits_everywhere", "on_one_scale", "with_overlays"]

Key: TypeAlias = tuple[Node | int, ...]
"""Nodes of a path, or the number of an instruction."""

DECADES = 12
"""What a logarithmic scale spans at most."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was measured at one moment.

    Attributes
    ----------
    label : str
        Such as ``"training step 100"``.
    values : mapping of tuple to numpy.ndarray
        By value: the scans around a node, the outermost first, then the node; or the number of an
        instruction. 0-d, or with an axis for every scan, its steps in the order of time.
    """

    label: str
    values: Mapping[Key, npt.NDArray[Any]]


@dataclass(frozen=True, repr=False)
class Measurement:
    """What was measured inside of a graph or a program, at one moment or several.

    It knows values, not boxes: every picture of the same thing can show it, whichever of its time
    steps are drawn. :func:`graphnn.viz.measure` makes it, and ``gn.render(thing,
    overlay=measurement)`` draws it.

    Attributes
    ----------
    title, unit : str
    moments : tuple of Moment
    low, high : float or None
        The ends of the scale; None for the least and the largest number of all, at all moments,
        whichever of them a picture shows: pictures of one measurement have one scale.
    is_log : bool
        Whether equal factors are equally far apart on the scale.
    tells_first : bool
        Whether 0 is nothing to tell, and the first box that has another number is named.
    """

    title: str
    unit: str
    moments: tuple[Moment, ...]
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    tells_first: bool = False

    def __repr__(self) -> str:
        values = counted(len(self.moments[-1].values) if self.moments else 0, "value")
        return f"<Measurement {self.title!r}: {values}, {counted(len(self.moments), 'moment')}>"

    def scaled(
        self,
        low: float | None = None,
        high: float | None = None,
        is_log: bool | None = None,
    ) -> Measurement:
        """The same on another scale, to compare it with what was measured elsewhere.

        Parameters
        ----------
        low, high : float, optional
            Numbers at its ends and beyond have the colours of the ends.
        is_log : bool, optional

        Examples
        --------
        >>> import graphnn as gn
        >>> x = gn.input("x", shape=(3,))
        >>> (norms,) = gn.viz.measure(gn.tanh(x), [[1.0, 2.0, 3.0]], "value norm")
        >>> norms.scaled(low=0.1, high=10.0).on(gn.render(gn.tanh(x)).scene).high
        10.0
        """
        return replace(
            self,
            low=self.low if low is None else low,
            high=self.high if high is None else high,
            is_log=self.is_log if is_log is None else is_log,
        )

    def at(self, moment: int) -> Measurement:
        """One of its moments alone, by number, on the scale of all of them."""
        low, high = self._ends()
        return replace(self, moments=(self.moments[moment],), low=low, high=high)

    def of(self, node: Node, *scans: Node) -> npt.NDArray[Any]:
        """What was measured of a value: by moment, then by the steps of the scans around it.

        Raises
        ------
        KeyError
            If nothing was.
        """
        return np.stack([moment.values[(*scans, node)] for moment in self.moments])

    def on(self, scene: Scene) -> Overlay:
        """A number for each box of a scene.

        Raises
        ------
        RenderError
            If the scene shows nothing that was measured.
        """
        rows = [_numbers(moment, scene, self.tells_first) for moment in self.moments]
        shown = [each for row in rows for each in row if each is not None]
        if not shown and not self.tells_first:
            raise RenderError(
                f"nothing in the picture has a number in the overlay {self.title!r}",
                hint="draw what was measured: the same graph or program",
                where="",
            )
        low, high = self._ends()
        labels = [
            _label(moment.label, row, scene) if self.tells_first else moment.label
            for moment, row in zip(self.moments, rows, strict=True)
        ]
        frames = tuple(map(Frame, labels, rows))
        return Overlay(self.title, self.unit, frames, low, high, self.is_log)

    def _ends(self) -> tuple[float, float]:
        """The ends of the scale; those of a logarithmic one are positive."""
        found = [
            values[np.isfinite(values)] for each in self.moments for values in each.values.values()
        ]
        if self.is_log:
            found = [values[values > 0] for values in found]
        elif self.tells_first:
            found = [values[values != 0] for values in found]
        found = [values for values in found if values.size]
        high = max((float(values.max()) for values in found), default=1.0)
        high = high if self.high is None else self.high
        low = min((float(values.min()) for values in found), default=high)
        low = low if self.low is None else self.low
        if self.is_log:
            high = high if high > 0 else 1.0
            low = max(low, high / 10**DECADES)
        return min(low, high), high


def _numbers(moment: Moment, scene: Scene, skip_zero: bool) -> tuple[float | None, ...]:
    numbers = [_number(moment.values, node.subject) for node in scene.nodes]
    return tuple(None if skip_zero and each == 0 else each for each in numbers)


def _number(values: Mapping[Key, npt.NDArray[Any]], subject: Subject | None) -> float | None:
    if subject is None:
        return None
    if subject.instruction is not None:
        key: Key = (subject.instruction,)
    else:
        key = (*(scan for scan, _ in subject.steps), subject.node)
    found = values.get(key)
    return None if found is None else float(found[tuple(step for _, step in subject.steps)])


def _label(label: str, numbers: Sequence[float | None], scene: Scene) -> str:
    """The moment's label, with the first box in order of computation that has a number."""
    first = next((i for i, each in enumerate(numbers) if each is not None), None)
    if first is None:
        words = "none"
    else:
        node = scene.nodes[first]
        words = f"first in {node.label}" + ("" if node.step is None else f", step {node.step}")
    return f"{label}, {words}" if label else words


def on_one_scale(*measurements: Measurement) -> tuple[Measurement, ...]:
    """Several runs on the scale of all of them, so that equal colours are equal numbers.

    Raises
    ------
    RenderError
        If they are not all of the same kind.
    """
    kinds = {(each.title, each.unit, each.is_log) for each in measurements}
    if len(kinds) > 1:
        titles = ", ".join(sorted(repr(title) for title, _, _ in kinds))
        raise RenderError(
            f"these have no scale in common: {titles}", hint="compare the same measure", where=""
        )
    ends = [each._ends() for each in measurements]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return tuple(each.scaled(low, high) for each in measurements)


def with_overlays(scene: Scene, given: Any) -> Scene:
    """The scene with what users give as ``overlay=``: one of them, several, or None.

    Raises
    ------
    RenderError
        If they are no overlays, or not for this scene.
    """
    if given is None:
        return scene
    return replace(scene, overlays=tuple(_overlay(each, scene) for each in _listed(given)))


def fits_everywhere(given: Any) -> bool:
    """Whether what users give as ``overlay=`` fits every scene of the same thing."""
    return all(isinstance(each, Measurement) for each in _listed(given))


def _listed(given: Any) -> list[Any]:
    """One or several as a list; what is neither is refused where it is used."""
    if given is None:
        return []
    is_one = isinstance(given, Overlay | Measurement) or not isinstance(given, Iterable)
    return [given] if is_one else list(given)


def _overlay(given: Any, scene: Scene) -> Overlay:
    if isinstance(given, Measurement):
        return given.on(scene)
    if not isinstance(given, Overlay):
        raise RenderError(
            f"{type(given).__name__} is no overlay",
            hint="gn.viz.measure(...) and gn.viz.costs(...) make overlays",
            where="",
        )
    if any(len(frame.values) != len(scene.nodes) for frame in given.frames):
        raise RenderError(
            f"the overlay {given.title!r} is for {len(given.frames[0].values)} boxes, "
            f"and there are {len(scene.nodes)}",
            hint="a Measurement fits every picture of the same thing",
            where="",
        )
    return given
