"""``gn.autocast``: a computation whose products, and what follows them, are of half floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphnn.core.dtypes import FLOAT32, DType, DTypeLike, as_dtype, is_half, is_inexact
from graphnn.core.errors import ArgumentError, DTypeError
from graphnn.core.graph import Graph, rebuild, topological_order
from graphnn.core.node import Node, in_common, make_node
from graphnn.core.provenance import made_by
from graphnn.core.spec import TensorSpec
from graphnn.core.state import Parameter
from graphnn.core.structure import flatten, unflatten
from graphnn.ops.operands import cast_to

__all__ = ["autocast"]


def autocast(outputs: Any, dtype: DTypeLike = "bfloat16") -> Any:
    """The same computation in mixed precision; parameters and results stay float32.

    Matrix products and convolutions are computed in half floats, with sums in float32, and so is
    what only moves their results or works on them element by element. Sums, means, norms,
    softmax, exponentials, logarithms, statistics, and whatever is computed from them stay in
    float32: as PyTorch's ``torch.autocast`` has it. In bodies of loops and branches too; what
    they hand on stays float32. Take gradients afterwards: they are then of float32 as well.

    Parameters
    ----------
    outputs : Node or nested list, tuple or dict of Node
        Such as a loss, or the outputs of a model. Nodes of other dtypes than float32 stay as
        they are.
    dtype : {"bfloat16", "float16"}
        float16 needs :class:`graphnn.optim.LossScale`, for small gradients vanish in it.

    Returns
    -------
    The structure of ``outputs``, with its dtypes.

    Raises
    ------
    DTypeError
        If the dtype is no half float.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 8))
    >>> model = gn.nn.Sequential(gn.nn.Dense(8, 4), gn.nn.Tanh())
    >>> y = gn.autocast(model(x))
    >>> y.dtype, gn.grad(gn.sum(y), model.parameters())[0].dtype
    (dtype('float32'), dtype('float32'))
    """
    half = as_dtype(dtype)
    if not is_half(half):
        raise DTypeError(
            f"autocast: {half.name} is no half float", hint="one of 'bfloat16', 'float16'"
        )
    leaves = flatten(outputs)
    for each in leaves:
        if not isinstance(each, Node):
            raise ArgumentError(f"autocast: {each!r} is no node")
    return unflatten(outputs, _Casting(half).cast(leaves))


class _Casting:
    """Rebuilds graphs; knows which nodes depend on what is fed."""

    def __init__(self, half: DType) -> None:
        self.half = half
        # What depends on parameters alone is cast as what it meets wants it.
        self.fed: set[Node] = set()

    def cast(self, outputs: Sequence[Node]) -> list[Node]:
        """The nodes in mixed precision, with the dtypes that they had."""
        new = rebuild(topological_order(outputs), self._replace)
        return [
            cast_to(new[each], each.dtype) if _is_tensor(each) else new[each] for each in outputs
        ]

    def _replace(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        if not inputs:
            is_buffer = isinstance(node, Parameter) and not node.trainable
            if is_buffer or (node.op.is_source and not isinstance(node, Parameter)):
                self.fed.add(node)
            return node
        with made_by("autocast", node):
            made = self._made(node, inputs)
        if not self.fed.isdisjoint(inputs):
            self.fed.add(made)
        return made

    def _made(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        bodies = {name: self._body(node.attrs[name]) for name in node.op.body_attrs}
        taken = tuple(self._taken(node, inputs))
        if taken == node.inputs and all(bodies[name] == node.attrs[name] for name in bodies):
            return node
        return make_node(node.op, taken, {**node.attrs, **bodies})

    def _taken(self, node: Node, inputs: tuple[Node, ...]) -> list[Node]:
        """The inputs in the dtype that the operator is computed in."""
        if self._is_half(node, inputs):
            return [cast_to(e, self.half) if _is_of(e, FLOAT32) else e for e in inputs]
        # Half floats of the user's own stay.
        return [
            cast_to(new, FLOAT32) if _is_of(old, FLOAT32) and _is_of(new, self.half) else new
            for old, new in zip(node.inputs, inputs, strict=True)
        ]

    def _is_half(self, node: Node, inputs: Sequence[Node]) -> bool:
        if not all(_is_of(each, FLOAT32) for each in node.inputs if _is_floating(each)):
            return False
        if node.op.autocast == "half":
            return True
        return (
            node.op.autocast == "follow"
            and any(_is_of(each, self.half) for each in inputs)
            and not any(_is_of(each, FLOAT32) and each in self.fed for each in inputs)
        )

    def _body(self, body: Graph) -> Graph:
        with in_common():
            return Graph(body.inputs, tuple(_Casting(self.half).cast(body.outputs)))


def _is_tensor(node: Node) -> bool:
    return isinstance(node.spec, TensorSpec)


def _is_floating(node: Node) -> bool:
    return _is_tensor(node) and is_inexact(node.dtype)


def _is_of(node: Node, dtype: DType) -> bool:
    return _is_tensor(node) and node.dtype == dtype
