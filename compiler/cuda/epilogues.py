"""Epilogues that a library has: recognised in a contraction, described for a call.

cuBLASLt finishes a product while it is still in registers: another product may be added, then a
bias, then relu or gelu is applied. What is no such thing is a kernel behind the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from graphnn.compiler.cuda.code import Epilogue, Matrices, Matrix, Product
from graphnn.compiler.cuda.matrices import axes_of, matrix_of
from graphnn.compiler.cuda.scalars import HALVES
from graphnn.compiler.kernel import Apply, Contraction, Literal, Load
from graphnn.compiler.kernel import Product as Summed
from graphnn.compiler.matching import through_views
from graphnn.compiler.passes.expand import expand_node
from graphnn.core.node import Node
from graphnn.ops.activation import gelu_tanh, relu
from graphnn.ops.constants import CONSTANT
from graphnn.ops.leaves import input

__all__ = ["at_once"]

DTYPES = frozenset({"float32", "float16", "bfloat16"})
"""In which the library has epilogues."""


def at_once(contraction: Contraction, matrices: Matrices) -> Product | None:
    """A product and its epilogue as one call; None if the epilogue is none of the library's.

    Parameters
    ----------
    contraction : Contraction
    matrices : Matrices
        Its product alone.
    """
    epilogue, dtype = contraction.epilogue, contraction.dtype
    if dtype not in DTYPES or len(epilogue.stores) != 1:
        return None
    if any(each.dtype != dtype for each in epilogue.operands):
        return None
    ((target, stored),) = epilogue.stores
    values = _Values(contraction)
    function, total = values.activation(stored)
    added = values.added(total)
    lies = _Lies(contraction, matrices, target)
    if added is None or lies.out is None:
        return None
    biases = [each for each in added if lies.bias(each) is not None]
    addends = [each for each in added if lies.addend(each) is not None]
    if len(biases) + len(addends) != len(added) or max(len(biases), len(addends)) > 1:
        return None
    if not (function or added):
        return None
    made = Epilogue(
        function,
        lies.bias(biases[0]) if biases else None,
        lies.addend(addends[0]) if addends else None,
    )
    operands = (0, 1, *(2 + each for each in (*biases, *addends, target)))
    return Product(replace(matrices, out=lies.out, epilogue=made), operands)


class _Values:
    """What an epilogue computes; half floats stay float32 in between, so that casts are nothing."""

    def __init__(self, contraction: Contraction) -> None:
        self.values = contraction.epilogue.values
        is_half = contraction.dtype in HALVES
        self.passed = {contraction.dtype, "float32"} if is_half else set()

    def at(self, number: int) -> int:
        """The number of what a value is, but for casts."""
        while True:
            match self.values[number]:
                case Apply("cast", dtype, (argument,)) if dtype in self.passed:
                    number = argument
                case _:
                    return number

    def activation(self, number: int) -> tuple[str, int]:
        """The function that is applied last, and the number of what it is applied to."""
        for name, definition in _definitions().items():
            for argument in range(number):
                if self._is(definition, number, argument):
                    return name, argument
        return "", number

    def _is(self, definition: Node, number: int, argument: int) -> bool:
        """Whether a value is what a definition makes of an argument, but for casts."""
        node, number = through_views(definition), self.at(number)
        match self.values[number]:
            case Literal(_, value) if node.op is CONSTANT:
                return float.fromhex(value) == float(node.attrs["value"].array.reshape(-1)[0])
            case Apply(op, _, args) if op == node.op.name:
                pairs = zip(node.inputs, args, strict=True)
                return all(self._is(each, at, argument) for each, at in pairs)
        return not node.inputs and node.op is not CONSTANT and number == self.at(argument)

    def added(self, number: int) -> list[int] | None:
        """The operands whose sum with the product a value is; None if it is something else."""
        waiting, operands, n_products = [number], [], 0
        while waiting:
            match self.values[self.at(waiting.pop())]:
                case Apply("add", _, args):
                    waiting += args
                case Load(operand):
                    operands.append(operand)
                case Summed():
                    n_products += 1
                case _:
                    return None
        return operands if n_products == 1 else None


@cache
def _definitions() -> Mapping[str, Node]:
    """The functions that the library has: of an input, in primitives, as kernels have them."""
    x = input("x")
    return {"relu": expand_node(relu(x)), "gelu": expand_node(gelu_tanh(x))}


class _Lies:
    """How operands of an epilogue lie, seen as a library does: in columns of neighbours."""

    def __init__(self, contraction: Contraction, matrices: Matrices, target: int) -> None:
        self.contraction, axes = contraction, axes_of(contraction)
        self.axes = axes.rows, axes.columns, axes.batch
        self.rows, self.columns, self.is_swapped = matrices.m, matrices.n, False
        self.out = self._matrix(target)
        if self.out is None or self.out.is_by_columns(self.rows, self.columns):
            return
        self.rows, self.columns, self.is_swapped = matrices.n, matrices.m, True
        if not self.out.transposed.is_by_columns(self.rows, self.columns):
            self.out = None

    def bias(self, operand: int) -> Matrix | None:
        """How a vector lies that is the same for every line; None if an operand is none."""
        found = self._seen(operand)
        if found is None or self.columns == 1 or found.column != 0:
            return None
        return self._matrix(operand) if self.rows == 1 or found.row == 1 else None

    def addend(self, operand: int) -> Matrix | None:
        """How an operand of the product's size lies; None if it is none."""
        found = self._seen(operand)
        if found is None or not found.is_by_columns(self.rows, self.columns):
            return None
        return self._matrix(operand)

    def _seen(self, operand: int) -> Matrix | None:
        found = self._matrix(operand)
        return found.transposed if found is not None and self.is_swapped else found

    def _matrix(self, operand: int) -> Matrix | None:
        contraction = self.contraction
        free = [n for n in range(len(contraction.sizes)) if n not in contraction.summed]
        strides = [0] * len(contraction.sizes)
        for axis, stride in zip(free, contraction.epilogue.operands[operand].strides, strict=True):
            strides[axis] = stride
        return matrix_of(strides, self.axes, contraction)
