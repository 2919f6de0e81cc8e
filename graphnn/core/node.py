"""The node: one immutable, interned application of an operator. The heart of everything.

The same operator on the same inputs with the same attributes is the same object, so common
subexpressions never exist twice and equality is ``is``. The one exception is what belongs to a
branch of a cond while that is built, see :func:`apart`.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from graphnn.core.dims import Shape, Size
from graphnn.core.dtypes import BOOL, COMPLEX128, FLOAT64, INT64, DType, name_of
from graphnn.core.errors import ShapeError, SymbolicError, UnsupportedOpError
from graphnn.core.op import Op
from graphnn.core.operators import Operators
from graphnn.core.provenance import NOTHING, Provenance, note_creation, set_name
from graphnn.core.spec import Spec, TensorSpec, TupleSpec

__all__ = ["Node", "apart", "freeze", "in_common", "make_node"]

_serials = itertools.count()
_NO_ATTRS: Mapping[str, Any] = MappingProxyType({})
_VALUES = (int, float, np.ndarray, np.generic)


class Node(Operators):
    """A symbolic value: an operator applied to other nodes.

    Nodes are made by the functions of :mod:`graphnn.ops` and by Python's operators, never
    directly. They are immutable; ``==`` and ``hash`` are those of object identity (use
    :func:`graphnn.equal` to compare values).

    Attributes
    ----------
    op : Op
    inputs : tuple of Node
    attrs : mapping of str to a hashable value
    spec : TensorSpec or TupleSpec
        Shape and dtype, computed by ``op.infer``.
    serial : int
        Grows with every node that is made: no node depends on one with a larger number.
    record : Provenance
        Names, lines and the like, see :func:`graphnn.provenance`; the one thing that changes.
    """

    __slots__ = ("__weakref__", "attrs", "inputs", "op", "record", "serial", "spec")

    op: Op
    inputs: tuple[Node, ...]
    attrs: Mapping[str, Any]
    spec: Spec
    record: Provenance
    serial: int

    def __init__(
        self, op: Op, inputs: tuple[Node, ...], attrs: Mapping[str, Any], spec: Spec
    ) -> None:
        write = object.__setattr__
        write(self, "op", op)
        write(self, "inputs", inputs)
        write(self, "attrs", attrs)
        write(self, "spec", spec)
        write(self, "record", NOTHING)
        write(self, "serial", next(_serials))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"nodes are immutable; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"nodes are immutable; cannot delete {name!r}")

    @property
    def tensor(self) -> TensorSpec:
        """The spec of a node that is one array; raises for a tuple of results."""
        if isinstance(self.spec, TupleSpec):
            raise ShapeError(
                f"{self.op.name} gives {len(self.spec.elements)} results, not one array",
                hint="take one with gn.project(node, index)",
            )
        return self.spec

    @property
    def shape(self) -> Shape:
        """Sizes along each axis; a named dimension stays a name until a program is called."""
        spec = self.spec
        return spec.shape if type(spec) is TensorSpec else self.tensor.shape

    @property
    def dtype(self) -> DType:
        """NumPy dtype of the elements."""
        spec = self.spec
        return spec.dtype if type(spec) is TensorSpec else self.tensor.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.tensor.shape)

    @property
    def size(self) -> Size:
        """Number of elements."""
        return self.tensor.size

    @property
    def name(self) -> str | None:
        """The name given with :meth:`named`, if any."""
        return self.record.name

    def named(self, name: str) -> Node:
        """Give the node a name for dumps, pictures and errors, and return it."""
        set_name(self, name)
        return self

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d node")
        return int(self.shape[0])

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, _VALUES):
            raise SymbolicError(
                f"{self!r} == {other!r} would compare identities",
                hint="gn.equal(a, b) compares values",
            )
        return False

    def __ne__(self, other: object) -> bool:
        if isinstance(other, _VALUES):
            raise SymbolicError(
                f"{self!r} != {other!r} would compare identities",
                hint="gn.not_equal(a, b) compares values",
            )
        return self is not other

    __hash__ = object.__hash__

    def __contains__(self, value: object) -> bool:
        raise SymbolicError(
            f"whether {self!r} contains something is not known while the graph is built",
            hint="gn.any(gn.equal(x, value))",
        )

    def __bool__(self) -> bool:
        raise SymbolicError(
            f"the truth value of {self!r} is not known while the graph is built",
            hint="gn.where(condition, a, b) chooses between values, gn.cond between what is "
            "computed, and gn.while_loop repeats it; gn.logical_and and gn.logical_or combine "
            "conditions",
        )

    def __array__(self, *args: object, **kwargs: object) -> Any:
        raise SymbolicError(
            f"{self!r} is symbolic and has no value to convert to an array",
            hint="use graphnn's function of the same name (gn.exp, not np.exp), "
            "or run it: gn.compile(inputs, node)(...)",
        )

    def __array_function__(self, function: Any, *args: object) -> Any:
        name = function.__name__
        ours = "matrix_trace" if name == "trace" else name
        raise SymbolicError(
            f"np.{name} does not build graphs", hint=f"gn.{ours} does, if graphnn has it"
        )

    def __float__(self) -> float:
        raise SymbolicError(
            f"{self!r} is symbolic and has no value to convert to a number",
            hint="use graphnn's function (gn.sqrt, not math.sqrt), "
            "or run it: gn.compile(inputs, node)(...)",
        )

    __complex__ = __float__

    def __index__(self) -> int:
        raise SymbolicError(
            f"{self!r} is symbolic, and a number is needed here",
            hint="give a Python integer; gn.function(f, static_argnames=...) hands the arguments "
            "that it names on as they are",
        )

    __int__ = __index__

    def __setitem__(self, index: object, value: object) -> None:
        raise SymbolicError(
            f"{self!r} cannot be written to: nodes are immutable",
            hint="build a new one, for example with gn.where(mask, value, x)",
        )

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: object) -> Node:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise UnsupportedOpError(
            "nodes are not pickled", hint="save parameters; rebuild the graph from its code"
        )

    def __repr__(self) -> str:
        name = self.name
        if name is not None:
            name = shortened(name)
        label = f"{name} = {self.op.label(self)}" if name else self.op.label(self)
        if isinstance(self.spec, TupleSpec):
            return f"<Node {label} {self.spec}>"
        shape = ", ".join(str(size) for size in self.shape)
        comma = "," if len(self.shape) == 1 else ""
        return f"<Node {label} ({shape}{comma}) {name_of(self.dtype)}>"


_Table = weakref.WeakValueDictionary[Any, Node]
_common: _Table = weakref.WeakValueDictionary()
_table: ContextVar[_Table] = ContextVar("table", default=_common)
_lock = threading.Lock()


@contextmanager
def apart() -> Iterator[int]:
    """Make nodes that are new, and interned among themselves, whatever equal ones there are.

    So what is made here can be told from what was there before by its number: it is larger than
    the one that is given. Sources belong to nobody, and a projection to what it is taken from:
    these are interned as ever.
    """
    before = _table.set(weakref.WeakValueDictionary())
    try:
        yield next(_serials)
    finally:
        _table.reset(before)


@contextmanager
def in_common() -> Iterator[None]:
    """Make nodes as outside of any :func:`apart`: for bodies, which are equal wherever made."""
    before = _table.set(_common)
    try:
        yield
    finally:
        _table.reset(before)


def shortened(name: str, most: int = 60) -> str:
    """A name on one line and not too long."""
    line = name.replace("\n", "\\n")
    return line if len(line) <= most else line[: most - 3] + "..."


def freeze(value: Any) -> object:
    """A key under which equal attribute values meet and unequal ones never do.

    Python thinks that ``1 == True == 1.0`` and ``0.0 == -0.0``; here they differ.
    """
    if isinstance(value, tuple):
        return tuple(map(freeze, value))
    if isinstance(value, float):
        return (float, value.hex(), np.signbit(value))
    if isinstance(value, bool):
        return (bool, value)
    return value


_WEAK_DTYPES = (BOOL, INT64, FLOAT64, COMPLEX128)
"""The dtypes that Python computes in."""


def _of_numbers(spec: Spec, inputs: Sequence[Node]) -> Spec:
    """The spec, weak if only Python numbers went into the result: traced ones and constants."""
    are_numbers = all(
        each.spec.weak or (each.op.name == "constant" and each.shape == ()) for each in inputs
    )
    if are_numbers and isinstance(spec, TensorSpec) and spec.dtype in _WEAK_DTYPES:
        return replace(spec, weak=True)
    return spec


def make_node(op: Op, inputs: Sequence[Node], attrs: Mapping[str, Any] | None = None) -> Node:
    """The node for ``op`` on ``inputs``: the existing one, or a new one with an inferred spec."""
    inputs = tuple(inputs)
    if attrs:
        frozen = tuple((name, freeze(attrs[name])) for name in sorted(attrs))
    else:
        attrs, frozen = _NO_ATTRS, ()
    # Identities are safe as keys: a live node keeps its inputs alive.
    key = (op, tuple(map(id, inputs)), frozen)
    table = _table.get()
    if table is not _common and (op.is_source or op.is_projection):
        table = _common
    node = table.get(key)
    is_new = node is None
    if node is None:
        spec = op.infer(*(each.spec for each in inputs), **attrs)
        for each in inputs:
            if each.spec.weak:
                spec = _of_numbers(spec, inputs)
                break
        if attrs is not _NO_ATTRS:
            attrs = MappingProxyType(dict(attrs))
        with _lock:
            node = table.get(key)
            if node is None:
                node = Node(op, inputs, attrs, spec)
                table[key] = node
    note_creation(node, is_new=is_new)
    return node
