"""Parameters and other state: leaves of a graph whose value outlives every program.

The value lives with the parameter, not with a program: a training step and an evaluation
program see the same memory, and updates happen in place.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from graphnn.core.arrays import as_array, require_fit, require_on_host
from graphnn.core.dtypes import DTypeLike, is_integer
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array, Op, register
from graphnn.core.provenance import note_creation, set_name
from graphnn.core.spec import Spec, TensorSpec, shape_text

__all__ = ["Home", "Parameter", "aligned", "aligned_empty", "bring_home", "parameter"]

ALIGNMENT = 64
"""Bytes: one cache line, and the widest vector there is."""

_numbers = itertools.count()


def aligned(nbytes: int) -> int:
    """Bytes that so many take up where everything is aligned."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def aligned_empty(spec: TensorSpec) -> Array:
    """Uninitialised contiguous memory for a spec, aligned for vector loads."""
    raw = np.empty(spec.nbytes + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    shape = tuple(int(size) for size in spec.shape)
    return raw[start : start + spec.nbytes].view(spec.dtype).reshape(shape)


class ParameterOp(Op):
    """The leaf that reads a parameter's memory."""

    name = "parameter"
    is_source = True

    def infer(self, *inputs: Spec, **attrs: Any) -> Spec:
        """Parameters are made by :func:`parameter` alone, which knows the spec."""
        return TensorSpec(attrs["shape"], attrs["dtype"])


PARAMETER = ParameterOp()
register(PARAMETER)


class Home(Protocol):
    """Where the value of a parameter is while it is not in the host's memory."""

    def fetch(self, into: Array) -> None:
        """Copy the value to the host."""
        ...


_away: weakref.WeakSet[Parameter] = weakref.WeakSet()
"""Parameters whose values are not in the host's memory."""


class Parameter(Node):
    """A node with a value that programs read, and update in place.

    Attributes
    ----------
    trainable : bool
        Whether an optimizer should change it; optimizer slots and counters are not trainable.
    home : Home or None
        Where the value is, if it is not in the host's memory.
    """

    __slots__ = ("_memory", "home", "trainable")

    _memory: Array
    trainable: bool
    home: Home | None

    def __init__(self, array: Array, *, trainable: bool) -> None:
        spec = TensorSpec(array.shape, array.dtype)
        attrs: Mapping[str, Any] = MappingProxyType(
            {"shape": array.shape, "dtype": array.dtype, "number": next(_numbers)}
        )
        super().__init__(PARAMETER, (), attrs, spec)
        memory = aligned_empty(spec)
        memory[...] = array
        object.__setattr__(self, "_memory", memory)
        object.__setattr__(self, "trainable", trainable)
        object.__setattr__(self, "home", None)
        note_creation(self, is_new=True)

    def __setattr__(self, name: str, value: Any) -> None:
        # Python sends property setters here too; the value alone may be set.
        if name == "value":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def array(self) -> Array:
        """The host's memory that programs work on: the value comes there from wherever it is.

        Reading it is fine; to write, set :attr:`value`.
        """
        if self.home is not None:
            self.home.fetch(self._memory)
            self.move_to(None)
        return self._memory

    def move_to(self, home: Home | None) -> None:
        """Note where the value is from now on; None for the host's memory."""
        object.__setattr__(self, "home", home)
        (_away.discard if home is None else _away.add)(self)

    @property
    def value(self) -> Array:
        """A copy of the current value; setting it writes in place, for every program."""
        copy = self._memory.copy()
        if self.home is not None:
            self.home.fetch(copy)
        return copy

    @value.setter
    def value(self, value: Any) -> None:
        require_on_host(value)
        given = np.asarray(value)
        if given.shape != self._memory.shape:
            raise ShapeError(
                f"parameter {self.name or '?'} has shape {shape_text(self._memory.shape)}, "
                f"the value {shape_text(given.shape)}",
                hint="a parameter keeps its shape for life",
            )
        are_integers = is_integer(given.dtype) and is_integer(self.dtype)
        if not are_integers and not np.can_cast(given.dtype, self.dtype, casting="same_kind"):
            raise DTypeError(
                f"parameter {self.name or '?'} is {self.dtype.name}, the value {given.dtype.name}",
                hint="convert the value first",
            )
        require_fit(given, self.dtype)
        self._memory[...] = given
        self.move_to(None)  # whatever lies elsewhere is out of date


def bring_home(parameters: Iterable[Parameter]) -> None:
    """Bring values to the host's memory, for programs that have its address."""
    if _away:
        for each in _away.intersection(parameters):
            _ = each.array


def parameter(
    value: Any, name: str | None = None, *, dtype: DTypeLike | None = None, trainable: bool = True
) -> Parameter:
    """A leaf with a value of its own, such as a weight.

    Parameters
    ----------
    value : array_like
        Initial value; it is copied. Its shape is the parameter's for life.
    name : str, optional
        For dumps, pictures and checkpoints.
    dtype : optional
        Default: that of an array; float32 for Python floats.
    trainable : bool, default True
        Whether optimizers should update it.

    Returns
    -------
    Parameter

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([[1.0, 2.0]], name="w")
    >>> w
    <Node w = parameter (1, 2) float32>
    >>> w.value = [[3.0, 4.0]]
    >>> w.value
    array([[3., 4.]], dtype=float32)
    """
    made = Parameter(as_array(value, dtype), trainable=trainable)
    if name is not None:
        set_name(made, name)
    return made
