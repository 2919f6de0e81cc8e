"""Constants: leaves whose value is part of the graph."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from graphnn.core.arrays import as_array
from graphnn.core.dtypes import DType, DTypeLike, is_bool, is_complex, is_inexact
from graphnn.core.errors import DTypeError
from graphnn.core.literal import Literal
from graphnn.core.node import Node, make_node
from graphnn.core.op import REGISTRY, Array, Op, register
from graphnn.core.spec import TensorSpec

__all__ = ["CONSTANT", "constant", "constant_number", "fill_value", "is_zero", "zeros_like"]


class ConstantOp(Op):
    """A leaf whose value is part of the graph."""

    name = "constant"
    is_source = True

    def infer(self, **attrs: Any) -> TensorSpec:
        array = attrs["value"].array
        return TensorSpec(array.shape, array.dtype)

    def evaluate(self, **attrs: Any) -> Array:
        literal: Literal = attrs["value"]
        return literal.array


CONSTANT = ConstantOp()
register(CONSTANT)


def constant(value: Any, dtype: DTypeLike | None = None) -> Node:
    """A node with a fixed value.

    Parameters
    ----------
    value : array_like
        Copied. Python floats without a dtype are float32, ints int64.
    dtype : optional

    Returns
    -------
    Node

    Raises
    ------
    DTypeError
        For a dtype that graphnn does not have, and integers that do not fit ``dtype``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.constant([1.0, 2.0])
    <Node constant (2,) float32>
    """
    return make_node(CONSTANT, (), {"value": Literal(as_array(value, dtype))})


def constant_number(value: complex, dtype: DType) -> Node:
    """A Python number as a constant: the same few are met again and again.

    Raises
    ------
    DTypeError
        As :func:`constant`.
    """
    # By their texts 1, True and 1.0 are told apart, and 0.0 and -0.0.
    return make_node(CONSTANT, (), {"value": _literal(value, repr(value), dtype)})


@lru_cache(maxsize=1024, typed=True)
def _literal(value: complex, _: str, dtype: DType) -> Literal:
    return Literal(as_array(value, dtype))


def fill_value(what: str, value: bool | int | float | complex, dtype: DType) -> Node:
    """A number that is put among elements of a dtype, as a constant of that dtype.

    Raises
    ------
    DTypeError
        If the dtype cannot hold it: 1j among floats, 0.5 among integers, 2 among bools.
    """
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, complex):
        fits = is_complex(dtype)
    else:
        is_whole = float(number).is_integer() and (number in (0, 1) or not is_bool(dtype))
        fits = is_whole or is_inexact(dtype)
    if not fits:
        raise DTypeError(f"{what}: {number!r} is no {dtype.name}", hint="cast the array first")
    return constant(number, dtype)


def zeros_like(node: Node) -> Node:
    """Zeros of the shape and dtype of a node."""
    zero = constant(np.zeros((), dtype=node.dtype))
    if node.shape == ():
        return zero
    return make_node(REGISTRY["broadcast_to"], (zero,), {"shape": node.shape})


def is_zero(node: Node) -> bool:
    """Whether a node is known to be zeros: a constant, or views of one."""
    while node.op.is_view:
        node = node.inputs[0]
    return node.op is CONSTANT and not node.attrs["value"].array.any()
