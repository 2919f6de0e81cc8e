"""``gn.viz.measure``: what really happens inside of a graph, for pictures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphnn.compiler.compilation import compile
from graphnn.compiler.profile_report import kept
from graphnn.compiler.program import Program
from graphnn.core.arguments import require_known
from graphnn.core.arrays import to_host
from graphnn.core.errors import RenderError
from graphnn.core.graph import Graph, as_graph
from graphnn.core.node import Node
from graphnn.core.structure import flatten
from graphnn.viz.measures import MEASURES, Subjects
from graphnn.viz.overlays import Measurement, Moment

__all__ = ["Probe", "measure"]


def measure(
    thing: Any,
    feeds: Any = (),
    what: str | Sequence[str] = tuple(MEASURES),
    *,
    loss: Node | None = None,
    **options: Any,
) -> tuple[Measurement, ...]:
    """Run a graph once, and measure every value inside, also at every step of its scans.

    Nothing is unrolled for that: scans give numbers about every step beside their results.

    Parameters
    ----------
    thing : Graph, Program, Node, or nested list, tuple or dict of Node
        Such as a loss, and its gradients.
    feeds : sequence or mapping
        Arrays in the order of the inputs; or by name, or by input node.
    what : str or sequence of str
        ``"gradient norm"``: of the loss, with respect to every forward value; of backward values,
        their own. ``"share of dW"``: the norm of what a time step adds to the gradient of a
        weight, relative to the norm of all of it, in percent; parts that cancel out are more
        than 100. ``"saturation"``: elements of an activation that are nearer to one of its ends
        than 5 % of its range, or for relu at 0, in percent. ``"non-finite"``: elements that are
        NaN or infinite, in percent, and which box is the first that has any. ``"value norm"``: the
        square root of the sum of all squares.
    loss : Node, optional
        Default: the first output that is one real number.
    **options
        Those of :func:`graphnn.compile`; ``native`` is "never" by default, which starts at once.

    Returns
    -------
    tuple of Measurement
        In the order of ``what``; of one word, a tuple of one.

    Raises
    ------
    RenderError
        If there is no such measure, or no loss.
    FeedError
        If feeds are missing or do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(20, 1, 3))
    >>> loss = gn.mean(gn.nn.SimpleRNN(3, 8)(x) ** 2)
    >>> feed = np.ones((20, 1, 3), "float32")
    >>> (norms,) = gn.viz.measure(loss, [feed], "gradient norm")
    >>> gn.render(loss, overlay=norms)  # doctest: +ELLIPSIS
    <Picture of ...>
    """
    probe = Probe(thing, what, loss=loss, **options)
    return probe.measurements([probe.run(feeds, "")])


class Probe:
    """A program that measures, to be run as often as wanted.

    Parameters
    ----------
    thing, what, loss, **options
        See :func:`measure`.
    """

    def __init__(
        self,
        thing: Any,
        what: str | Sequence[str],
        *,
        loss: Node | None = None,
        **options: Any,
    ) -> None:
        words = (what,) if isinstance(what, str) else tuple(what)
        for word in words:
            require_known(None, "measure", word, MEASURES)
        subjects = Subjects(_graph_of(thing), loss)
        self._measures = [MEASURES[word] for word in words]
        built = [each.build(subjects) for each in self._measures]
        self._paths = [tuple(each) for each in built]
        options.setdefault("backend", "numpy")
        options.setdefault("native", "never")
        self.program = compile(
            subjects.graph.inputs, [list(each.values()) for each in built], **options
        )

    def run(self, feeds: Any, label: str) -> tuple[Moment, ...]:
        """Run once, and leave all state as it was. A moment for every measure."""
        args, kwargs = self._arguments(feeds)
        with kept(tuple(self.program.updates)):
            results = to_host(self.program(*args, **kwargs))
        pairs = zip(self._paths, results, strict=True)
        return tuple(Moment(label, dict(zip(*each, strict=True))) for each in pairs)

    def _arguments(self, feeds: Any) -> tuple[Sequence[Any], dict[str, Any]]:
        """Feeds by position, or by name."""
        if isinstance(feeds, Mapping):
            names = {key: key.name if isinstance(key, Node) else key for key in feeds}
            return (), {str(names[key]): feeds[key] for key in feeds}
        return tuple(feeds), {}

    def measurements(self, runs: Sequence[tuple[Moment, ...]]) -> tuple[Measurement, ...]:
        """What several runs have given, by measure."""
        return tuple(
            Measurement(
                each.title,
                each.unit,
                tuple(run[number] for run in runs),
                each.low,
                each.high,
                each.is_log,
                each.tells_first,
            )
            for number, each in enumerate(self._measures)
        )


def _graph_of(thing: Any) -> Graph:
    if isinstance(thing, Program):
        return thing.graph
    if isinstance(thing, Graph):
        return thing
    nodes = flatten(thing)
    if not nodes or not all(isinstance(node, Node) for node in nodes):
        raise RenderError(
            f"cannot measure {type(thing).__name__}",
            hint="give a graph, nodes or a program",
            where="",
        )
    return as_graph(nodes)
