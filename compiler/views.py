"""How operators that only look at memory see it: views, worked out with nothing computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphnn.compiler.unit import Buffer, View
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.ops.broadcasting import RESHAPE

__all__ = ["contiguous", "look"]


def contiguous(buffer: Buffer, spec: TensorSpec) -> View:
    """The whole buffer as a row-major array."""
    shape = tuple(int(size) for size in spec.shape)
    strides, stride = [], spec.dtype.itemsize
    for size in reversed(shape):
        strides.append(stride)
        stride *= size
    return View(buffer, 0, shape, tuple(reversed(strides)), spec.dtype)


def look(node: Node, view: View) -> View | None:
    """The strided view that a view operator makes; None if a reshape cannot be one.

    NumPy itself says what the view is: the operator's kernel is asked on memory that is never
    touched.
    """
    ghost = as_strided(np.empty(1, view.dtype), view.shape, view.strides, writeable=False)
    try:
        if node.op is RESHAPE:
            seen = np.reshape(ghost, node.attrs["shape"], copy=False)
        else:
            seen = node.op.evaluate(ghost, **node.attrs)
    except ValueError:
        if node.op is RESHAPE:
            return None
        raise
    if seen.size == 0:
        return replace(view, shape=seen.shape, strides=seen.strides)
    offset = seen.__array_interface__["data"][0] - ghost.__array_interface__["data"][0]
    return replace(view, offset=view.offset + offset, shape=seen.shape, strides=seen.strides)
