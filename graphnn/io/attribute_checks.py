"""Attributes of nodes from files that operators rely on without looking at them.

Public functions check what a user gives, and operators believe what they are told. A file is
neither: an axis that is none, or the windows of a view that reach beyond its array, would let an
operator read memory that is not the graph's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.io.files import DamagedError
from graphnn.ops.geometry import Window
from graphnn.ops.sparse import Pattern

__all__ = ["check_attributes"]

AXES = ("axis", "axes", "along", "contract", "batch")
"""Attributes that are axes: one, several, or several of every operand."""
STEPS = ("step", "stride", "dilation", "x_dilation")
"""Attributes of which every number is at least 1."""
UNPADDED = ("windows", "window_sum", "overlap_add")
"""Operators that look at an array as it is, which was padded before."""


def check_attributes(node: Node) -> None:
    """Refuse what no public function would tell an operator.

    Raises
    ------
    DamagedError
    """
    for name, value in node.attrs.items():
        if name in AXES:
            _check_axes(node, name, value)
        elif name in STEPS and any(each < 1 for each in _numbers(value)):
            raise DamagedError(f"{node.op.name}: {name}={value} goes nowhere")
        elif isinstance(value, Window):
            _check_window(node, value)
        elif isinstance(value, Pattern):
            _check_pattern(node, value)


def _check_axes(node: Node, name: str, value: Any) -> None:
    """Axes are counted from the front, and each is named once."""
    specs = (node.spec, *(each.spec for each in node.inputs))
    ndim = max((each.ndim for each in specs if isinstance(each, TensorSpec)), default=0)
    pairs = name in ("contract", "batch")
    for several in value if pairs else [value]:
        axes = list(_numbers(several))
        if len(set(axes)) != len(axes) or not all(0 <= axis < ndim for axis in axes):
            raise DamagedError(f"{node.op.name}: {name}={value} are no axes")


def _check_window(node: Node, window: Window) -> None:
    """A number for every axis in each of its tuples, and none that leads out of the array."""
    numbers = (window.size, window.stride, window.dilation, window.low, window.high)
    if len({len(each) for each in numbers}) != 1:
        raise DamagedError(f"{node.op.name}: the window {window!r} is none")
    if any(each < 1 for each in _numbers((window.size, window.stride, window.dilation))):
        raise DamagedError(f"{node.op.name}: the window {window!r} goes nowhere")
    if window.pads and node.op.name in UNPADDED:
        raise DamagedError(f"{node.op.name}: a window with padding would leave the array")


def _check_pattern(node: Node, pattern: Pattern) -> None:
    """Rows begin one after the other, and every entry is in a column that there is."""
    indices, starts = pattern.indices.array, pattern.indptr.array
    rows, columns = pattern.shape
    is_whole = (
        indices.ndim == starts.ndim == 1
        and indices.dtype.kind == starts.dtype.kind == "i"
        and starts.size == rows + 1
        and starts[0] == 0
        and starts[-1] == indices.size
        and bool(np.all(np.diff(starts) >= 0))
        and bool(np.all((indices >= 0) & (indices < columns)))
    )
    if not is_whole:
        raise DamagedError(f"{node.op.name}: {pattern!r} is no pattern of a sparse matrix")


def _numbers(value: Any) -> Iterator[int]:
    """An integer, or those in nested tuples."""
    if isinstance(value, tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
    else:
        raise DamagedError(f"{value!r} is no integer")
