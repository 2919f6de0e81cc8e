"""Monte-Carlo dropout: what a network that drops neurons is unsure about."""

from __future__ import annotations

from typing import Any

from graphnn.core.arguments import require_positive
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.nn.dropout import Dropout
from graphnn.nn.module import Module
from graphnn.ops.operands import as_node
from graphnn.ops.scans import scan
from graphnn.ops.statistics import mean, var

__all__ = ["monte_carlo"]


def monte_carlo(model: Module, *inputs: Any, samples: int = 50) -> tuple[Node, Node]:
    """Mean and variance of a model's outputs, over random choices of what dropout drops.

    Dropout stays at work, all else is as in evaluation mode. Samples are drawn one after another,
    in a scan. Source: Y. Gal and Z. Ghahramani, Dropout as a Bayesian approximation,
    arXiv:1506.02142.

    Parameters
    ----------
    model : Module
        With a dropout layer somewhere; its output is one node.
    *inputs : Node
        What it is called with.
    samples : int, default 50

    Returns
    -------
    (Node, Node)
        Of the shape of the output: the mean, and the variance (over ``samples``, not one less).

    Raises
    ------
    ArgumentError
        If ``samples`` is not positive, or the model drops nothing.

    Examples
    --------
    >>> import graphnn as gn
    >>> model = gn.nn.Sequential(gn.nn.Dense(4, 8), gn.nn.Dropout(0.2), gn.nn.Dense(8, 1))
    >>> mean, variance = gn.nn.monte_carlo(model, gn.input("x", shape=("batch", 4)), samples=10)
    >>> variance
    <Node var (batch, 1) float32>
    """
    require_positive("monte_carlo", samples=samples)
    dropping = [
        each for _, each in model.named_modules() if isinstance(each, Dropout) and each.rate > 0
    ]
    if not dropping:
        raise ArgumentError(
            "monte_carlo: the model drops nothing, so all samples would be equal",
            hint="put gn.nn.Dropout between its layers",
        )
    nodes = [as_node(each) for each in inputs]
    with model.in_mode(training=False):
        for each in dropping:
            each.training = True
        _, outputs = scan(lambda carry, _: (carry, model(*nodes)), (), None, length=samples)
    return mean(outputs, axis=0), var(outputs, axis=0)
