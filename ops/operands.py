"""Operands: what a user mixes, nodes, arrays and numbers, as nodes of the dtypes that ops take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from graphnn.core.errors import ArgumentError, DTypeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import REGISTRY
from graphnn.ops.constants import constant, constant_number

__all__ = [
    "as_node",
    "as_real",
    "cast_to",
    "dtype_kind",
    "is_number",
    "is_weak",
    "operands",
    "require_floating",
    "require_inexact",
    "widened",
]


def as_node(value: Any, dtype: DTypeLike | None = None) -> Node:
    """A node from a node, an array or a number; ``dtype`` is for Python numbers."""
    if isinstance(value, Node):
        return value
    if isinstance(value, tuple | list) and any(isinstance(each, Node) for each in value):
        raise ArgumentError(
            f"one array is needed, not a {type(value).__name__} of {len(value)} with nodes in it",
            hint="take one of them (a layer with return_state=True gives two), or join them by "
            "gn.stack or gn.concatenate",
        )
    return constant(value, dtype)


def dtype_kind(dtype: DType) -> str:
    """The letter of a dtype's kind: ``"b"``, ``"i"``, ``"f"`` or ``"c"``."""
    if is_complex(dtype):
        return "c"
    return "b" if is_bool(dtype) else "i" if is_integer(dtype) else "f"


def is_weak(value: Any) -> bool:
    """Whether it is a Python scalar (NumPy's float64 and complex128 scalars are such too)."""
    return isinstance(value, bool | int | float | complex)


def is_number(value: Any) -> bool:
    """Whether a value is a Python number: known now, and of no dtype yet."""
    return isinstance(value, int | float)


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
    return cast_to(value, dtype) if isinstance(value, Node) else constant_number(value, dtype)


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
