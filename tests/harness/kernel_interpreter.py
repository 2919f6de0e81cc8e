"""What kernels and contractions mean, in NumPy: an executable that runs them and nothing else.

Independent of every code generator, and of the nodes that the kernels were made from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphnn.compiler.backends.interpreted import InterpretedExecutable, bind_host
from graphnn.compiler.kernel import (
    Apply,
    Contraction,
    Index,
    Kernel,
    Literal,
    Load,
    Operand,
    Pick,
    Product,
    Reduce,
)
from graphnn.compiler.unit import Instruction, Unit
from graphnn.core.dtypes import DType, as_dtype, is_bool, is_complex, is_half, is_inexact
from graphnn.core.op import REGISTRY, Array

REDUCE = {
    "sum": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "prod": np.multiply,
    "any": np.logical_or,
    "all": np.logical_and,
}


def along(array: Array, operand: Operand, sizes: Sequence[int], *, writeable: bool) -> Array:
    """What an operand sees from the first element of an array."""
    assert len(operand.strides) == len(sizes)
    first = _first(array, operand)
    return as_strided(first, tuple(sizes), operand.strides, writeable=writeable)


def _first(array: Array, operand: Operand) -> Array:
    """An array's first element; what lies behind it is not copied."""
    flat = (array[(slice(0, 1),) * array.ndim] if array.ndim else array).reshape(1)
    flat = flat if flat.dtype == as_dtype(operand.dtype) else flat.view(as_dtype(operand.dtype))
    return flat[:1].reshape(())


def number(literal: Literal) -> Array:
    dtype = as_dtype(literal.dtype)
    if is_inexact(dtype):
        return np.asarray(float.fromhex(literal.value)).astype(dtype)
    return np.asarray(bool(int(literal.value)) if is_bool(dtype) else int(literal.value), dtype)


def run_kernel(kernel: Kernel, arrays: Sequence[Array], product: Array | None = None) -> None:
    """Compute a kernel on arrays, one per operand."""
    stored = {operand for operand, _ in kernel.stores}
    views = [
        along(array, operand, kernel.sizes, writeable=number_ in stored)
        for number_, (operand, array) in enumerate(zip(kernel.operands, arrays, strict=True))
    ]
    values: list[Array] = []
    for value in kernel.values:
        match value:
            case Load(operand):
                assert operand not in stored
                values.append(np.array(views[operand][_moving(kernel.operands[operand])]))
            case Literal():
                values.append(number(value))
            case Index(axis):
                shape = [1] * len(kernel.sizes)
                shape[axis] = kernel.sizes[axis]
                values.append(np.arange(kernel.sizes[axis]).reshape(shape))
            case Product(dtype):
                assert product is not None
                assert product.dtype == as_dtype(dtype)
                values.append(product)
            case Apply("cast", dtype, (arg,)):
                values.append(values[arg].astype(as_dtype(dtype)))
            case Apply(op, dtype, args):
                assert all(arg < len(values) for arg in args)
                made = REGISTRY[op].evaluate(*(values[arg] for arg in args))
                assert made.dtype == as_dtype(dtype)
                values.append(made)
            case Reduce(op, arg):
                given = values[arg]
                wide = np.broadcast_to(given.astype(_widest(given.dtype)), kernel.sizes)
                made = REDUCE[op].reduce(wide, kernel.reduced, wide.dtype, keepdims=True)
                with np.errstate(over="ignore"):
                    values.append(made.astype(given.dtype))
            case Pick(operand, terms):
                first = _first(arrays[operand], kernel.operands[operand])
                offsets = _offsets(kernel.operands[operand], kernel.sizes)
                values.append(_gathered(first, offsets + sum(values[n] * s for n, s in terms)))
            case _:
                raise AssertionError(value)
    for operand, index in kernel.stores:
        target = views[operand]
        value = values[index]
        where = _moving(kernel.operands[operand])
        assert value.dtype == target.dtype
        target[where] = np.broadcast_to(value, target[where].shape)


def _moving(operand: Operand) -> tuple[slice, ...]:
    """One element along axes that an operand does not move along."""
    return tuple(slice(0, 1) if stride == 0 else slice(None) for stride in operand.strides)


def _widest(dtype: DType) -> DType:
    """What sums and products are accumulated in: they are rounded once."""
    if not is_inexact(dtype):
        return dtype
    return np.dtype("complex128" if is_complex(dtype) else "float64")


def _offsets(operand: Operand, sizes: Sequence[int]) -> Array:
    """Bytes from the first element at every point."""
    steps = np.array(operand.strides, np.int64).reshape(-1, *[1] * len(sizes))
    return np.asarray((np.indices(sizes) * steps).sum(axis=0))


def _gathered(first: Array, offsets: Array) -> Array:
    """The elements at so many bytes from the first one."""
    made = np.empty(offsets.shape, first.dtype)
    for point in np.ndindex(*offsets.shape):
        made[point] = as_strided(first, (2,), (int(offsets[point]),))[1]
    return made


def run_contraction(contraction: Contraction, arrays: Sequence[Array]) -> None:
    """Compute a contraction: products of all pairs, one by one axis, then the epilogue."""
    sizes = contraction.sizes
    n_left, n_factors = len(contraction.factor(0)), contraction.n_factor_operands
    others = arrays[n_factors:]
    b = _factor(contraction, 1, arrays[n_left:n_factors])
    if contraction.bounds:
        a, valid = _bounded(contraction, arrays[0])
    else:
        a, valid = _factor(contraction, 0, arrays[:n_left]), np.ones(sizes, bool)
    dtype = as_dtype(contraction.dtype)
    wide = np.dtype("float32") if is_half(dtype) else dtype
    products = np.where(valid, a.astype(wide) * b.astype(wide), wide.type(0))
    summed = np.asarray(products.sum(axis=contraction.summed, dtype=wide)).astype(dtype)
    run_kernel(contraction.epilogue, others, summed)


def _factor(contraction: Contraction, side: int, arrays: Sequence[Array]) -> Array:
    """A factor at all points: read, or computed by a prologue."""
    prologue = contraction.prologues[side]
    if prologue is None:
        ((array,), (operand,)) = arrays, contraction.factor(side)
        return along(array, operand, contraction.sizes, writeable=False)
    made = np.empty(contraction.sizes, as_dtype(prologue.operands[-1].dtype))
    whole = Operand(made.dtype.name, made.strides)
    run_kernel(replace(prologue, operands=(*prologue.operands[:-1], whole)), [*arrays, made])
    return made


def _bounded(contraction: Contraction, left: Array) -> tuple[Array, Array]:
    """The left factor at all points, and where there is one."""
    sizes = contraction.sizes
    valid = np.ones(sizes, bool)
    offsets = _offsets(contraction.left, sizes)
    grid = np.indices(sizes)
    for bound in contraction.bounds:
        assert contraction.left.strides[bound.place] == contraction.left.strides[bound.tap] == 0
        met = bound.stride * grid[bound.place] + bound.dilation * grid[bound.tap] - bound.low
        q = met // bound.x_dilation
        valid &= (met % bound.x_dilation == 0) & (q >= 0) & (q < bound.size)
        offsets += q * bound.step
    return _gathered(_first(left, contraction.left), np.where(valid, offsets, 0)), valid


class KernelExecutable(InterpretedExecutable):
    """Runs what code is generated from."""

    def __init__(self, unit: Unit) -> None:
        super().__init__(unit)
        self._calls = [self._bind(each) for each in unit.instructions]

    def _bind(self, instruction: Instruction) -> Callable[[], None]:
        kernel = instruction.kernel
        if kernel is None:
            assert instruction.kind in ("host", "kernel", "move", "pack")
            return bind_host(instruction, self._memory)
        views = (*instruction.inputs, *instruction.outputs)
        arrays = [self._memory.array(view) for view in views]
        if isinstance(kernel, Contraction):
            return lambda: run_contraction(kernel, arrays)
        return lambda: run_kernel(kernel, arrays)
