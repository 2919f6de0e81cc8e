"""Evaluating a kernel's values at several points at once.

For code generators that have found an address for each operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphnn.compiler.kernel import Apply, Index, Kernel, Literal, Load, Product
from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.memory import Strip, load_strip, store_strip
from graphnn.compiler.native.scalars import apply, literal

__all__ = ["evaluate", "values_at"]


def evaluate(
    b: Builder,
    kernel: Kernel,
    strip: Strip,
    addresses: Sequence[V],
    strides: Sequence[int],
    index: Callable[[int], V],
    product: V | None = None,
) -> None:
    """Compute a kernel without reductions at a strip of points, and store what it gives.

    The parameters are those of `values_at`.
    """
    values = values_at(b, kernel, strip, addresses, strides, index, product)
    for operand, number in kernel.stores:
        dtype = kernel.operands[operand].dtype
        store_strip(b, dtype, values[number], addresses[operand], strides[operand], strip)


def values_at(
    b: Builder,
    kernel: Kernel,
    strip: Strip,
    addresses: Sequence[V],
    strides: Sequence[int],
    index: Callable[[int], V] | None = None,
    product: V | None = None,
) -> list[V]:
    """Compute all values of a kernel without reductions at a strip of points.

    Parameters
    ----------
    addresses : sequence of V
        Of every operand that is read or written, at the first point.
    strides : sequence of int
        Bytes from one point to the next, for every operand.
    index : callable, optional
        The positions along an axis of the domain, an int64 for each lane.
    product : V, optional
        What a contraction has summed up at these points.
    """
    values: list[V] = []
    dtypes: list[str] = []
    for each in kernel.values:
        match each:
            case Load(operand):
                dtype = kernel.operands[operand].dtype
                value = load_strip(b, dtype, addresses[operand], strides[operand], strip)
            case Literal(dtype, text):
                value = literal(b, dtype, text, strip.lanes)
            case Index(axis):
                assert index is not None, "what is packed does not count positions"
                dtype, value = "int64", b.splat(index(axis), strip.lanes)
            case Product(dtype):
                assert product is not None, "only a contraction's epilogue has a product"
                value = product
            case Apply(op, dtype, args):
                picked = [values[arg] for arg in args]
                value = apply(b, op, dtype, picked, [dtypes[arg] for arg in args])
            case _:
                raise AssertionError(f"{type(each).__name__} has no place in a strip")
        values.append(value)
        dtypes.append(dtype)
    for operand, number in kernel.stores:
        assert kernel.operands[operand].dtype == dtypes[number], "a store does not convert"
    return values
