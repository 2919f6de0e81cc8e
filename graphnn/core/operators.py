"""Python's operators and NumPy's methods on nodes, handed on to the functions of graphnn.ops.

The core lies below the ops and cannot import them; ``graphnn.ops`` binds itself here when it
is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from graphnn.core.errors import SymbolicError

if TYPE_CHECKING:
    from graphnn.core.dtypes import DTypeLike
    from graphnn.core.node import Node

__all__ = ["Operators", "bind_functions"]

_functions: list[ModuleType] = []

_OPERATOR_UFUNCS = frozenset(
    {
        *("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "matmul"),
        *("less", "less_equal", "greater", "greater_equal"),
        *("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"),
    }
)
"""NumPy's ufuncs that stand for Python's binary operators."""


def bind_functions(module: ModuleType) -> None:
    """Let nodes find ``module.add`` and the like. Called once, by graphnn.ops."""
    _functions[:] = [module]


def _call(name: str, *args: Any, **kwargs: Any) -> Node:
    result: Node = getattr(_functions[0], name)(*args, **kwargs)
    return result


class Operators:
    """Operators and methods that build nodes; each is the function of the same name."""

    __slots__ = ()

    def __add__(self, other: Any) -> Node:
        return _call("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return _call("add", other, self)

    def __sub__(self, other: Any) -> Node:
        return _call("subtract", self, other)

    def __rsub__(self, other: Any) -> Node:
        return _call("subtract", other, self)

    def __mul__(self, other: Any) -> Node:
        return _call("multiply", self, other)

    def __rmul__(self, other: Any) -> Node:
        return _call("multiply", other, self)

    def __truediv__(self, other: Any) -> Node:
        return _call("divide", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return _call("divide", other, self)

    def __floordiv__(self, other: Any) -> Node:
        return _call("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Node:
        return _call("floor_divide", other, self)

    def __mod__(self, other: Any) -> Node:
        return _call("mod", self, other)

    def __rmod__(self, other: Any) -> Node:
        return _call("mod", other, self)

    def __pow__(self, other: Any) -> Node:
        return _call("power", self, other)

    def __rpow__(self, other: Any) -> Node:
        return _call("power", other, self)

    def __matmul__(self, other: Any) -> Node:
        if getattr(other, "__array_ufunc__", True) is None and not isinstance(other, Operators):
            return NotImplemented  # NumPy's convention: it multiplies in a way of its own
        return _call("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Node:
        return _call("matmul", other, self)

    def __neg__(self) -> Node:
        return _call("negative", self)

    def __pos__(self) -> Node:
        return _call("positive", self)

    def __abs__(self) -> Node:
        return _call("abs", self)

    def __invert__(self) -> Node:
        return _call("bitwise_not", self)

    def __and__(self, other: Any) -> Node:
        return _call("bitwise_and", self, other)

    def __rand__(self, other: Any) -> Node:
        return _call("bitwise_and", other, self)

    def __or__(self, other: Any) -> Node:
        return _call("bitwise_or", self, other)

    def __ror__(self, other: Any) -> Node:
        return _call("bitwise_or", other, self)

    def __xor__(self, other: Any) -> Node:
        return _call("bitwise_xor", self, other)

    def __rxor__(self, other: Any) -> Node:
        return _call("bitwise_xor", other, self)

    def __lshift__(self, other: Any) -> Node:
        return _call("left_shift", self, other)

    def __rshift__(self, other: Any) -> Node:
        return _call("right_shift", self, other)

    def __lt__(self, other: Any) -> Node:
        return _call("less", self, other)

    def __le__(self, other: Any) -> Node:
        return _call("less_equal", self, other)

    def __gt__(self, other: Any) -> Node:
        return _call("greater", self, other)

    def __ge__(self, other: Any) -> Node:
        return _call("greater_equal", self, other)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Node:
        # NumPy asks this for ``array + node``, too.
        name = ufunc.__name__
        if name not in _OPERATOR_UFUNCS or method != "__call__" or options:
            raise SymbolicError(
                f"np.{name} does not build graphs, and {self!r} is symbolic",
                hint=f"gn.{name} does, if graphnn has it",
            )
        return _call("mod" if name == "remainder" else name, *operands)

    def __getitem__(self, index: Any) -> Node:
        return _call("getitem", self, index)

    def __iter__(self) -> Iterator[Node]:
        steps: list[Node] = _functions[0].unstack(self)
        return iter(steps)

    @property
    def T(self) -> Node:
        """The node with its axes reversed."""
        return _call("transpose", self)

    def transpose(self, *axes: Any) -> Node:
        """See :func:`graphnn.transpose`; axes may be given one by one."""
        if len(axes) == 1 and not isinstance(axes[0], int):
            return _call("transpose", self, axes[0])
        return _call("transpose", self, axes or None)

    def reshape(self, *shape: Any) -> Node:
        """See :func:`graphnn.reshape`; sizes may be given one by one."""
        given = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return _call("reshape", self, given)

    def astype(self, dtype: DTypeLike) -> Node:
        """See :func:`graphnn.cast`."""
        return _call("cast", self, dtype)

    def squeeze(self, axis: Any = None) -> Node:
        """See :func:`graphnn.squeeze`."""
        return _call("squeeze", self, axis)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.sum`."""
        return _call("sum", self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.mean`."""
        return _call("mean", self, axis, keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.prod`."""
        return _call("prod", self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.max`."""
        return _call("max", self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.min`."""
        return _call("min", self, axis, keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.any`."""
        return _call("any", self, axis, keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.all`."""
        return _call("all", self, axis, keepdims)

    def var(self, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Node:
        """See :func:`graphnn.var`."""
        return _call("var", self, axis, keepdims, ddof)

    def std(self, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Node:
        """See :func:`graphnn.std`."""
        return _call("std", self, axis, keepdims, ddof)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.argmax`."""
        return _call("argmax", self, axis, keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> Node:
        """See :func:`graphnn.argmin`."""
        return _call("argmin", self, axis, keepdims)
