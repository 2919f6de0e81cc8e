"""The op contract: the facts every operation is tested by, operands, axes and the linear tier.

An *operation* is what a user calls (``gn.mean``); an *op* is what a node holds (``sum``). An
operation carries its test facts; an op its shape rule, kernel and derivatives. Three tiers of ops:

1. elementwise (:mod:`graphnn.ops.elementwise`): a kernel or a body, and partial derivatives;
2. linear (:class:`LinearOp`): shape rule, kernel and ``transpose``; both derivatives follow;
3. general (:class:`graphnn.core.op.Op`): shape rule, kernel, ``jvp`` and ``vjp``.

Any of them may give ``expand`` instead of a kernel: it is then compiled, and if it has no
derivative rules also differentiated, as what it expands to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from graphnn.core.arrays import as_array
from graphnn.core.dims import Shape, as_size
from graphnn.core.dtypes import (
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    DType,
    DTypeLike,
    is_bool,
    is_complex,
    is_half,
    is_inexact,
    is_integer,
    promote,
    weak_dtype,
)
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.literal import Literal
from graphnn.core.node import Node, make_node
from graphnn.core.op import REGISTRY, Array, Op, register
from graphnn.core.spec import TensorSpec

__all__ = [
    "OPERATIONS",
    "Arg",
    "LinearOp",
    "Operation",
    "Reject",
    "Sample",
    "as_node",
    "as_real",
    "as_shape",
    "as_weak_as",
    "cast_to",
    "constant",
    "dtype_kind",
    "fill_value",
    "is_weak",
    "listed",
    "normalize_axes",
    "normalize_axis",
    "operands",
    "operation",
    "require_floating",
    "require_inexact",
    "sum_tangents",
    "to_domain",
    "whole_number",
    "widened",
    "zeros_like",
]

F = TypeVar("F", bound=Callable[..., Any])


# --------------------------------------------------------------------------------- test facts


@dataclass(frozen=True)
class Arg:
    """An array argument of a sample: the tests draw its values, in several dtypes.

    Attributes
    ----------
    shape : tuple of int
    low, high : float
        Values are uniform between them; so are the real parts of complex numbers, whose
        imaginary parts lie between -1 and 1.
    kind : {"float", "real", "int", "bool"}
        ``float`` arguments are drawn in every dtype under test, ``real`` ones in all but the
        complex; ``int`` are int64 between ``low`` and ``high`` inclusive; ``bool`` are coin
        tosses.
    distinct : bool
        Whether values must lie apart (no ties within 0.01), for max, sort and the like.
    values : tuple, optional
        These values instead of random ones.
    """

    shape: tuple[int, ...] = ()
    low: float = -2.0
    high: float = 2.0
    kind: str = "float"
    distinct: bool = False
    values: tuple[Any, ...] | None = None


class Sample:
    """Arguments that an operation is tested with; :class:`Arg` anywhere inside is drawn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        inner = [repr(arg) for arg in self.args]
        inner += [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"Sample({', '.join(inner)})"


class Reject(Sample):
    """Arguments that must be refused, with words that the error must contain."""

    def __init__(self, error: type[Exception], words: str, /, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.error = error
        self.words = words


@dataclass(frozen=True)
class Operation:
    """A function users call to build nodes, with the facts it is tested and documented by.

    Attributes
    ----------
    name : str
    function : callable
        From nodes (or arrays, numbers) to a node.
    reference : callable
        The same in independent float64 NumPy or SciPy.
    samples : tuple of Sample
    rejects : tuple of Reject
    dtypes : str
        Kinds that :class:`Arg` of kind "float" may also be drawn in: a subset of ``"bifc"``
        (bool, integer, float, complex). What is not among them and not silently converted is
        refused: an operation without ``"c"`` takes no complex numbers.
    differentiable : bool
        Whether the derivative is checked (in both modes, to second order).
    family : str
        The module it is defined in, a heading in the op table.
    corner : str
        The convention at ties, kinks and singularities.
    special : tuple
        Special scalar values that elementwise operations are evaluated at.
    """

    name: str
    function: Callable[..., Node]
    reference: Callable[..., Any]
    samples: tuple[Sample, ...]
    rejects: tuple[Reject, ...] = ()
    dtypes: str = "f"
    differentiable: bool = True
    family: str = ""
    corner: str = ""
    special: tuple[Any, ...] = field(default=())

    @property
    def formula(self) -> str:
        """The first line of the docstring."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


OPERATIONS: dict[str, Operation] = {}
"""Every public operation by name; the tests, the op table and the docs read it."""


def operation(
    *,
    reference: Callable[..., Any],
    samples: Iterable[Sample],
    rejects: Iterable[Reject] = (),
    dtypes: str = "f",
    differentiable: bool = True,
    corner: str = "",
    name: str | None = None,
) -> Callable[[F], F]:
    """Declare a public function as an operation and give its test facts; see `Operation`.

    The name is that of the function, unless it lives in a namespace (``"random.normal"``).
    """

    def declare(function: F) -> F:
        add_operation(
            Operation(
                name=name or function.__name__,
                function=function,
                reference=reference,
                samples=tuple(samples),
                rejects=tuple(rejects),
                dtypes=dtypes,
                differentiable=differentiable,
                family=function.__module__.rpartition(".")[2],
                corner=corner,
            )
        )
        return function

    return declare


def add_operation(described: Operation) -> None:
    """Register an operation under its name."""
    if described.name in OPERATIONS:
        raise ValueError(f"operation {described.name!r} is already registered")
    OPERATIONS[described.name] = described


# ---------------------------------------------------------------------- constants and operands


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


def as_node(value: Any, dtype: DTypeLike | None = None) -> Node:
    """A node from a node, an array or a number; ``dtype`` is for Python numbers."""
    if isinstance(value, Node):
        return value
    return constant(value, dtype)


def dtype_kind(dtype: DType) -> str:
    """The letter of a dtype's kind: ``"b"``, ``"i"``, ``"f"`` or ``"c"``."""
    if is_complex(dtype):
        return "c"
    return "b" if is_bool(dtype) else "i" if is_integer(dtype) else "f"


def is_weak(value: Any) -> bool:
    """Whether it is a Python scalar (NumPy's float64 and complex128 scalars are such too)."""
    return isinstance(value, bool | int | float | complex)


def gives_way(value: Any) -> bool:
    """Whether a value takes the dtype of what it meets: a Python scalar, or a weak node."""
    return is_weak(value) or (isinstance(value, Node) and value.spec.weak)


def operands(
    what: str, values: Sequence[Any], accepts: str = "bif", masks: Sequence[int] = ()
) -> list[Node]:
    """Nodes of one dtype from what a user mixes, by the one promotion rule.

    Parameters
    ----------
    what : str
        Name of the operation, for errors.
    values : sequence
        Nodes, arrays and Python numbers.
    accepts : str
        Kinds of dtype it can compute in: a subset of ``"bifc"`` (bool, integer, float, complex).
        If it computes in floats or complex numbers alone, integers become float32.
    masks : sequence of int
        Positions that must be bool and take no part in the promotion.

    Returns
    -------
    list of Node

    Raises
    ------
    DTypeError
    """
    first = values[0]
    if (
        not masks
        and isinstance(first, Node)
        and all(isinstance(each, Node) and each.dtype is first.dtype for each in values)
        and dtype_kind(first.dtype) in accepts
    ):
        return list(values)  # nothing to convert: most calls
    strong = {
        position: as_node(value)
        for position, value in enumerate(values)
        if position not in masks and not gives_way(value)
    }
    common = promote(what, *(node.dtype for node in strong.values())) if strong else None
    for position, value in enumerate(values):
        if position not in masks and position not in strong:
            common = weak_dtype(_number_like(value), common)
    assert common is not None
    kind = dtype_kind(common)
    if kind not in accepts:
        if kind == "c":
            raise no_complex(what, common)
        if accepts not in ("f", "fc"):
            raise DTypeError(
                f"{what}: {common.name} is not supported",
                hint="cast it with gn.cast(x, dtype)",
            )
        common = FLOAT32
    if is_inexact(common) and not strong and _has_nodes(values, masks):
        # Traced Python numbers alone: as precise as Python computes.
        common = COMPLEX128 if is_complex(common) else FLOAT64
    result = []
    for position, value in enumerate(values):
        if position in masks:
            if isinstance(value, bool):
                raise DTypeError(
                    f"{what}: argument {position} is Python's {value}, not a node",
                    hint="x == y asks whether two nodes are the same; gn.equal compares values",
                )
            mask = as_node(value)
            if not is_bool(mask.dtype):
                raise DTypeError(
                    f"{what}: argument {position} must be bool, not {mask.dtype.name}",
                    hint="compare it with something, e.g. x != 0 as gn.not_equal(x, 0)",
                )
            result.append(mask)
        elif position in strong:
            result.append(cast_to(strong[position], common))
        else:
            result.append(_weak_operand(value, common))
    return result


def _has_nodes(values: Sequence[Any], masks: Sequence[int]) -> bool:
    """Whether there is a node among the operands that are no masks."""
    return any(isinstance(each, Node) for i, each in enumerate(values) if i not in masks)


def _number_like(value: Any) -> complex:
    """A Python number of the kind of a weak operand."""
    number: complex = value.dtype.type(0).item() if isinstance(value, Node) else value
    return number


def _weak_operand(value: Any, dtype: DType) -> Node:
    """A Python number, or a node that stands for one, in the dtype that it takes."""
    return cast_to(value, dtype) if isinstance(value, Node) else constant(value, dtype)


def no_complex(what: str, dtype: DType) -> DTypeError:
    """The refusal of complex numbers by an operation on real ones."""
    return DTypeError(
        f"{what}: {dtype.name} is not supported",
        hint="gn.real, gn.imag, gn.abs and gn.angle make real numbers of complex ones",
    )


def cast_to(node: Node, dtype: DType) -> Node:
    """The node in another dtype; the node itself if it has it."""
    if node.dtype == dtype:
        return node
    return make_node(REGISTRY["cast"], (node,), {"dtype": dtype})


def as_weak_as(model: Node, node: Any) -> Any:
    """The node, made weak if the model is: a derivative by a Python number is one, too."""
    if not model.spec.weak or not isinstance(node, Node) or node.spec.weak:
        return node
    return make_node(REGISTRY["cast"], (node,), {"dtype": node.dtype, "weak": True})


def as_real(what: str, value: Any) -> Node:
    """A node from a node, an array or a number that is not complex.

    Raises
    ------
    DTypeError
        If it is.
    """
    node = as_node(value)
    if is_complex(node.dtype):
        raise no_complex(what, node.dtype)
    return node


def require_floating(what: str, node: Node) -> Node:
    """The node in a float dtype: integers and bools become float32.

    Raises
    ------
    DTypeError
        If it is complex.
    """
    if is_complex(node.dtype):
        raise no_complex(what, node.dtype)
    return require_inexact(node)


def require_inexact(node: Node) -> Node:
    """The node in a float or complex dtype: integers and bools become float32."""
    return node if is_inexact(node.dtype) else cast_to(node, FLOAT32)


def widened(x: Node) -> Node:
    """Half floats as float32, in which everything is computed; others as they are."""
    return cast_to(x, FLOAT32) if is_half(x.dtype) else x


def zeros_like(node: Node) -> Node:
    """Zeros of the shape and dtype of a node."""
    zero = constant(np.zeros((), dtype=node.dtype))
    if node.shape == ():
        return zero
    return make_node(REGISTRY["broadcast_to"], (zero,), {"shape": node.shape})


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


# ----------------------------------------------------------------------------- sizes and axes


def listed(given: Any) -> tuple[Any, ...]:
    """One thing, or a tuple, list or 1-D array of several, as a tuple."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    return tuple(given) if isinstance(given, tuple | list) else (given,)


def as_shape(what: str, shape: Any) -> Shape:
    """A shape from a size or several, none of them negative.

    Raises
    ------
    ShapeError
    """
    sizes = tuple(map(as_size, listed(shape)))
    for size in sizes:
        if isinstance(size, int) and size < 0:
            raise ShapeError(f"{what}: size {size} is negative")
    return sizes


def whole_number(what: str, word: str, value: Any) -> int:
    """An integer of Python or NumPy as a Python integer.

    Raises
    ------
    ShapeError
        For anything else, also for floats that happen to be whole.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ShapeError(f"{what}: {word} must be an integer, not {value!r}")
    return int(value)


def normalize_axis(what: str, axis: Any, ndim: int) -> int:
    """A non-negative axis.

    Raises
    ------
    ShapeError
        If it is out of range.
    """
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise ShapeError(f"{what}: axis must be an integer, not {axis!r}")
    index = int(axis.__index__())
    if not -ndim <= index < ndim:
        raise ShapeError(
            f"{what}: axis {index} is out of range for {ndim} axes",
            hint=f"axes run from {-ndim} to {ndim - 1}" if ndim else "a 0-d array has no axes",
        )
    return index % ndim


def normalize_axes(what: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Non-negative, sorted axes from an axis, several, or None for all.

    Raises
    ------
    ShapeError
        If one is out of range or given twice.
    """
    if axis is None:
        return tuple(range(ndim))
    given = listed(axis)
    axes = tuple(sorted(normalize_axis(what, each, ndim) for each in given))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{what}: an axis is given twice in {given}")
    return axes


# -------------------------------------------------------------------------------- linear tier


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
