"""Where everything goes: the result of every layout, and how large boxes are."""

from __future__ import annotations

from dataclasses import dataclass

from graphnn.viz.scene import SceneNode
from graphnn.viz.style import DETAIL_SIZE, LABEL_SIZE, text_width

__all__ = ["Band", "Box", "Ghost", "Layout", "Route", "box_size"]

HEIGHT = 34.0
"""Points, of every box with two lines of text."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; ``y`` grows downwards, all lengths are points."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """The middle."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Route:
    """The way of an edge.

    Attributes
    ----------
    points : tuple of (float, float)
        Corners of a line, or 3n + 1 points of cubic Bézier curves.
    is_curve : bool
    label_at : (float, float) or None
        Where its label is centred.
    """

    points: tuple[tuple[float, float], ...]
    is_curve: bool = False
    label_at: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """An area behind nodes: a lane, a time step, a name scope or a group.

    Attributes
    ----------
    box : Box
    tone : str
        Key in :data:`graphnn.viz.style.BANDS`.
    label : str
        Written inside, at the top left.
    """

    box: Box
    tone: str
    label: str


@dataclass(frozen=True, slots=True)
class Ghost:
    """A badge with a node's name at a box that reads it, in place of a line from far away.

    Attributes
    ----------
    box : Box
    node : int
        Whose name it bears.
    reader : int
        At whose box it stands.
    text : str
        The name, short enough for the badge.
    """

    box: Box
    node: int
    reader: int
    text: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions for a scene: one box a node, one route an edge, in the scene's order.

    Attributes
    ----------
    boxes : tuple of Box
    routes : tuple of Route
        The edge that a ghost stands for has a short one, from the ghost to the reader.
    bands : tuple of Band
    width, height : float
    texts : tuple of (str, str)
        What the boxes have room for, by node: first and second line. Empty where that is the
        nodes' own label and detail.
    ghosts : tuple of Ghost
    """

    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]
    bands: tuple[Band, ...]
    width: float
    height: float
    texts: tuple[tuple[str, str], ...] = ()
    ghosts: tuple[Ghost, ...] = ()


def box_size(node: SceneNode) -> tuple[float, float]:
    """Width and height of a box that holds the texts of a node in any usual font."""
    width = max(text_width(node.label, LABEL_SIZE), text_width(node.detail, DETAIL_SIZE))
    return max(width + 14, 44.0), HEIGHT
