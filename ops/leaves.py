"""Leaves: what is fed to a program when it is called."""

from __future__ import annotations

import itertools
from typing import Any

from graphnn.core.dtypes import FLOAT32, DTypeLike, as_dtype
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op, register
from graphnn.core.provenance import set_name
from graphnn.core.spec import TensorSpec
from graphnn.ops.axes import as_shape

__all__ = ["input"]

_numbers = itertools.count()


class InputOp(Op):
    """A value fed at every call."""

    name = "input"
    is_source = True

    def infer(self, **attrs: Any) -> TensorSpec:
        return TensorSpec(attrs["shape"], attrs["dtype"], attrs.get("weak", False))


INPUT = InputOp()
register(INPUT)


def input(name: Any, shape: Any = (), dtype: DTypeLike = FLOAT32) -> Node:
    """A value that is fed when a program is called.

    Parameters
    ----------
    name : str
        Feeds may be given by it; it must be unique within a program.
    shape : tuple of int or str
        A string is a named dimension, bound to a number by what is fed.
    dtype : optional
        Default float32.

    Returns
    -------
    Node
        Every call makes a new one.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.input("x", shape=("batch", 64))
    <Node x = input (batch, 64) float32>
    """
    if not isinstance(name, str) or not name:
        raise ShapeError(f"an input needs a name, not {name!r}", hint='gn.input("x", shape=(2, 3))')
    return input_like(name, TensorSpec(as_shape(f"input {name!r}", shape), as_dtype(dtype)))


def input_like(name: str, spec: TensorSpec) -> Node:
    """An input of a spec, weak if that is: it may stand for a node of that spec."""
    attrs = {"shape": spec.shape, "dtype": spec.dtype, "number": next(_numbers)}
    if spec.weak:
        attrs["weak"] = True
    node = make_node(INPUT, (), attrs)
    set_name(node, name)
    return node
