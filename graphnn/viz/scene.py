"""The scene: what there is to draw, before anyone knows where or in which format.

Every thing that can be drawn becomes a scene, and every layout and writer starts from one. A scene
is plain data: nodes and edges by number, groups, a strip, overlays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from graphnn.core.node import Node

__all__ = [
    "Block",
    "Frame",
    "Overlay",
    "Scene",
    "SceneEdge",
    "SceneGroup",
    "SceneNode",
    "Strip",
    "Subject",
]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose value a box shows.

    Attributes
    ----------
    node : Node
        Of the graph, or of the body of the innermost loop.
    steps : tuple of (Node, int)
        The loops around it, the outermost first: the scan, and which of its steps, in the order of
        time.
    instruction : int or None
        Which instruction of a program computes it; several may be for one node.
    """

    node: Node
    steps: tuple[tuple[Node, int], ...] = ()
    instruction: int | None = None


@dataclass(frozen=True, slots=True)
class SceneNode:
    """One box.

    Attributes
    ----------
    label : str
        First line: the user's name, or the operator.
    detail : str
        Second line: operator, dtype and shape.
    kind : {"input", "parameter", "constant", "operation", "sum", "elision"}
        An elision stands for time steps, or for repeated blocks, that are not drawn.
    role : {"forward", "tangent", "backward", "update"}
    scope : str
        Name scopes, joined by ``/``.
    step : int or None
        Time step.
    is_output : bool
    origin : int or None
        Number of the forward node that a derivative belongs to.
    tooltip : str
        Everything known, on several lines.
    signature : hashable
        Equal for the same operation of different time steps.
    lane : str
        The layer, or the direction, that has a lane of its own beside others of its role; by name.
    group : int or None
        Number of the innermost group it belongs to.
    badges : tuple of str
        Short remarks at its corner, such as ``"× 3"``.
    is_recomputed : bool
        Whether the backward pass computes it once more, instead of keeping it.
    subject : Subject or None
        Whose value it shows, for overlays.
    """

    label: str
    detail: str
    kind: str
    role: str
    scope: str = ""
    step: int | None = None
    is_output: bool = False
    origin: int | None = None
    tooltip: str = ""
    signature: Hashable = None
    lane: str = ""
    group: int | None = None
    badges: tuple[str, ...] = ()
    is_recomputed: bool = False
    subject: Subject | None = None

    @property
    def style(self) -> str:
        """Its key in :data:`graphnn.viz.style.NODES`."""
        own = ("input", "parameter", "constant", "elision")
        return self.kind if self.kind in own else self.role

    @property
    def op(self) -> str:
        """The name of its operator; empty where it has none."""
        return self.subject.node.op.name if self.subject is not None else ""

    def about(self, origin: int | None, subject: Subject | None) -> SceneNode:
        """The same box with another origin and subject: `replace` takes four times as long."""
        return SceneNode(
            self.label,
            self.detail,
            self.kind,
            self.role,
            self.scope,
            self.step,
            self.is_output,
            origin,
            self.tooltip,
            self.signature,
            self.lane,
            self.group,
            self.badges,
            self.is_recomputed,
            subject,
        )


@dataclass(frozen=True, slots=True)
class SceneEdge:
    """One value on its way from one box to another.

    Attributes
    ----------
    source, target : int
        Numbers of nodes.
    kind : str
        Its key in :data:`graphnn.viz.style.EDGES`.
    label : str
        Bytes, for what is saved for the backward pass; a derivative, in small expressions.
    lag : int
        How many time steps later the value arrives, where steps are folded into one; negative
        where it goes back in time.
    is_cut : bool
        Whether a truncation ends the gradient here.
    """

    source: int
    target: int
    kind: str
    label: str = ""
    lag: int = 0
    is_cut: bool = False

    @property
    def told(self) -> str:
        """What is written at the line: ``256 B, t−1`` with the step that a lagged value is of."""
        of_step = f"t{'−' if self.lag > 0 else '+'}{abs(self.lag)}" if self.lag else ""
        return ", ".join(text for text in (self.label, of_step) if text)

    def between(self, source: int, target: int) -> SceneEdge:
        """The same edge between other boxes: `replace` takes four times as long."""
        if source == self.source and target == self.target:
            return self
        return SceneEdge(source, target, self.kind, self.label, self.lag, self.is_cut)


@dataclass(frozen=True, slots=True)
class SceneGroup:
    """Boxes that belong together, drawn with a frame.

    Attributes
    ----------
    label : str
    kind : {"fusion", "loop", "branch", "repeat"}
        What the compiler made one kernel of; the body of a loop; one of two branches; a block
        that occurs several times.
    reason : str
        Why, in one sentence; empty where there is nothing to say.
    parent : int or None
        Number of the group around it.
    """

    label: str
    kind: str
    reason: str = ""
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """An overlay's values at one moment.

    Attributes
    ----------
    label : str
        Such as ``"training step 100"``; empty where there is one moment alone.
    values : tuple of float or None
        By node; None where there is nothing to tell, NaN and infinities as they are.
    """

    label: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """One number for each box, shown as its colour and on its badge.

    Attributes
    ----------
    title : str
        Such as ``"norm of the gradient"``.
    unit : str
        Such as ``"ms"`` or ``"%"``; may be empty.
    frames : tuple of Frame
        One, or one for each moment that was recorded.
    low, high : float
        The ends of the scale: the same for all frames, and for other runs if given there.
    is_log : bool
        Whether equal factors are equally far apart on the scale, not equal differences.
    """

    title: str
    unit: str
    frames: tuple[Frame, ...]
    low: float
    high: float
    is_log: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One of the things that are in use, for as long as it is.

    Attributes
    ----------
    label : str
    first, last : int
        Numbers of the nodes from which and up to which it is in use.
    low, high : float
        Where it lies, in the strip's unit.
    role : str
        That of the node that made it, or ``"scratch"``.
    """

    label: str
    first: int
    last: int
    low: float
    high: float
    role: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A curve on the same axis as the boxes: what is in use while each of them is computed.

    Attributes
    ----------
    title, unit : str
    values : tuple of float or None
        By node; None for what is not computed.
    blocks : tuple of Block
        What it is made of.
    """

    title: str
    unit: str
    values: tuple[float | None, ...]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to draw; sources of edges come before their targets, but for those with a lag.

    Attributes
    ----------
    title : str
    nodes : tuple of SceneNode
    edges : tuple of SceneEdge
    groups : tuple of SceneGroup
        Groups around others come first.
    strip : Strip or None
    overlays : tuple of Overlay
        Pictures show the first; the explorer offers all.
    step_labels : tuple of (int, str)
        What stands above columns, where that is not the number of the time step: steps counted from
        an end that is not known, those of a second sequence, and those that are not drawn.
    scopes : tuple of (str, str)
        Name scopes, and what their frames say beside their names: layer, parameters, shape.
    zooms : tuple of Scene
        The same with other time steps: what is drawn of a step stands alike in all of them.
    """

    title: str
    nodes: tuple[SceneNode, ...]
    edges: tuple[SceneEdge, ...]
    groups: tuple[SceneGroup, ...] = ()
    strip: Strip | None = None
    overlays: tuple[Overlay, ...] = ()
    step_labels: tuple[tuple[int, str], ...] = ()
    scopes: tuple[tuple[str, str], ...] = ()
    zooms: tuple[Scene, ...] = ()

    def changed(self, change: Callable[[Scene], Scene]) -> Scene:
        """What a change makes of it, and of its zooms; itself where that is nothing."""
        made = change(self)
        if made is self or not self.zooms:
            return made
        return replace(made, zooms=tuple(map(change, self.zooms)))

    @property
    def steps(self) -> tuple[int, ...]:
        """The time steps there are, in order."""
        return tuple(sorted({node.step for node in self.nodes if node.step is not None}))
