"""The reference interpreter: obvious NumPy, one node at a time. The oracle of every test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.compiler.backends.failure import explain, require_finite
from graphnn.compiler.unit import Unit
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec
from graphnn.core.state import Parameter
from graphnn.ops.control import PROJECT, TUPLE

__all__ = ["ReferenceExecutable"]


class ReferenceExecutable:
    """Evaluates the nodes of a unit in order, each by its operator's kernel.

    It looks at neither instructions nor memory plan, so it checks both.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`."""
        unit = self._unit
        # Contiguous, for NumPy sums in another order where memory is laid out in another.
        arrays = (np.asarray(fed, order="C") for fed in feeds)
        values: dict[Node, Any] = dict(zip(unit.graph.inputs, arrays, strict=True))
        for node in unit.schedule:
            if node not in values:
                values[node] = _evaluate(node, [values[each] for each in node.inputs])
                if unit.options.debug == "nan" and _computes(node):
                    require_finite(node, (values[node],))
        outputs = [np.array(values[node]) for node in unit.graph.outputs]
        results, updates = outputs[: unit.n_results], outputs[unit.n_results :]
        for parameter, value in zip(unit.updated, updates, strict=True):
            parameter.array[...] = value
        return results


def _computes(node: Node) -> bool:
    """Whether it makes an array of new numbers: a constant may well be infinite."""
    return isinstance(node.spec, TensorSpec) and not (node.op.is_source or node.op.is_view)


def _evaluate(node: Node, values: list[Any]) -> Any:
    if isinstance(node, Parameter):
        return node.array
    if node.op is TUPLE:
        return tuple(values)
    if node.op is PROJECT:
        return values[0][node.attrs["index"]]
    try:
        with np.errstate(all="ignore"):
            return node.op.evaluate(*values, **node.attrs)
    except Exception as error:
        explain(error, node)
        raise
