"""The linear tier: ops that give one transpose, and what derivatives of any tier are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphnn.core.dtypes import DType, is_complex, is_inexact
from graphnn.core.node import Node, make_node
from graphnn.core.op import REGISTRY, Op
from graphnn.ops.constants import zeros_like
from graphnn.ops.operands import cast_to

__all__ = ["LinearOp", "as_weak_as", "sum_tangents", "to_domain"]


class LinearOp(Op):
    """Tier 2: linear in some of its inputs. Give ``infer``, ``evaluate`` and ``transpose``.

    Attributes
    ----------
    linear_in : tuple of int, or None
        Positions of the inputs it is linear in; None for all.
    is_multilinear : bool
        Whether it is linear in each of them separately (a product), not in all together (a sum).
    """

    linear_in: tuple[int, ...] | None = None
    is_multilinear = False

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node | None:
        """The cotangent of input ``index``: the transposed map applied to ``cotangent``."""
        raise NotImplementedError(self.name)

    def _linear(self, node: Node) -> Sequence[int]:
        return range(len(node.inputs)) if self.linear_in is None else self.linear_in

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """The same op on the tangents."""
        positions = self._linear(node)
        if self.is_multilinear:
            return sum_tangents(
                self._with(node, {index: tangent})
                for index in positions
                if (tangent := tangents[index]) is not None
            )
        if all(tangents[index] is None for index in positions):
            return None
        directions: dict[int, Node] = {}
        for index in positions:
            tangent = tangents[index]
            directions[index] = zeros_like(node.inputs[index]) if tangent is None else tangent
        return self._with(node, directions)

    def _with(self, node: Node, replaced: dict[int, Node]) -> Node:
        inputs = [replaced.get(index, each) for index, each in enumerate(node.inputs)]
        return make_node(self, inputs, node.attrs)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        """The transposed map for every linear input."""
        positions = self._linear(node)
        return [
            self.transpose(node, cotangent, index)
            if index in positions and is_inexact(each.dtype)
            else None
            for index, each in enumerate(node.inputs)
        ]


def as_weak_as(model: Node, node: Any) -> Any:
    """The node, made weak if the model is: a derivative by a Python number is one, too."""
    if not model.spec.weak or not isinstance(node, Node) or node.spec.weak:
        return node
    return make_node(REGISTRY["cast"], (node,), {"dtype": node.dtype, "weak": True})


def to_domain(direction: Node, dtype: DType) -> Node:
    """A tangent or cotangent as one of a value of ``dtype``.

    Of a complex one the real part counts where the value is real; see ``docs/complex.md``.
    """
    if is_complex(direction.dtype) and not is_complex(dtype):
        from graphnn.ops.complex_numbers import real

        direction = real(direction)
    return cast_to(direction, dtype)


def sum_tangents(terms: Iterable[Node | None]) -> Node | None:
    """The sum of those terms that are not None (which stands for zero)."""
    total: Node | None = None
    for term in terms:
        if term is not None:
            total = term if total is None else make_node(REGISTRY["add"], (total, term))
    return total
