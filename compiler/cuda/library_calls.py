"""Operators that a library computes on a device: those made of functions that CuPy has too.

NumPy's functions hand arrays of a device over to CuPy, so that a kernel of NumPy calls is one of
CuPy calls. They are no part of a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb, factorial
from typing import Any

import numpy as np

from graphnn.compiler.unit import Instruction
from graphnn.core.errors import UnsupportedOpError
from graphnn.core.op import Array
from graphnn.core.provenance import provenance
from graphnn.ops.elementwise import ElementwiseOp
from graphnn.ops.philox import philox
from graphnn.ops.sorting import ARGSORT

__all__ = ["BY_LIBRARY", "call_library", "has_library", "require_library"]

BY_LIBRARY = frozenset(
    {
        "argsort",
        "cast",
        "cholesky",
        "conj",
        "dot_general",
        "eigh",
        "fft",
        "imag",
        "inv",
        "irfft",
        "lstsq",
        "pinv",
        "qr",
        "real",
        "rfft",
        "solve",
        "svd",
    }
)
"""Operators whose own kernels compute on arrays of a device, by name."""


def has_library(instruction: Instruction) -> bool:
    """Whether an operator without code has functions of a library."""
    op = instruction.op
    return isinstance(op, ElementwiseOp) or (op is not None and op.name in {*_OWN, *BY_LIBRARY})


def require_library(instruction: Instruction) -> None:
    """Refuse an operator that has neither code nor functions of a library.

    Raises
    ------
    UnsupportedOpError
        Naming it and the user's line.
    """
    if not has_library(instruction):
        node = instruction.node
        dtypes = dict.fromkeys(each.dtype.name for each in instruction.outputs)
        raise UnsupportedOpError(
            f"{node.op.name} has no code for {' and '.join(dtypes)} on a GPU",
            where=provenance(node).where,
            hint='compile with backend="numpy", or build it of operations that have code',
        )


def call_library(
    instruction: Instruction, inputs: Sequence[Array], outputs: Sequence[Array]
) -> None:
    """Compute an instruction on arrays of the device.

    Real elementwise operators have code; those that arrive here are complex.
    """
    op, attrs = instruction.op, instruction.attrs
    assert op is not None
    if isinstance(op, ElementwiseOp) and op.name not in _OWN:
        assert op.kernel is not None
        outputs[0][...] = op.kernel(*inputs)
    elif op.name not in _OWN and len(outputs) == 1:
        op.evaluate_into(outputs[0], *inputs, **attrs)
    else:
        made = _OWN.get(op.name, op.evaluate)(*inputs, **attrs)
        for output, each in zip(outputs, made if len(outputs) > 1 else [made], strict=True):
            output[...] = each


def _complex(real: Array, imag: Array) -> Array:
    made = np.zeros_like(real + imag, dtype=np.result_type(real.dtype, np.complex64))
    made.real[...], made.imag[...] = real, imag
    return made


def _determinant(a: Array) -> Any:
    return np.linalg.det(a)


def _sign_and_logarithm(a: Array) -> Any:
    return np.linalg.slogdet(a)


def _exponential(a: Array) -> Array:
    """By scaling and squaring, of all matrices as often as one of them needs.

    N. Higham, "The scaling and squaring method for the matrix exponential revisited", 2005: the
    rational approximation of degree 13.
    """
    norm = np.abs(a).sum(axis=-2, keepdims=True).max(axis=-1, keepdims=True)
    is_large = np.isfinite(norm) & (norm > _NORM)
    times = np.ceil(np.log2(np.where(is_large, norm / _NORM, 1.0)))
    scaled = a * np.exp2(-times).astype(a.dtype)
    index = np.arange(a.shape[-1], dtype=np.int64, like=a)
    one = (index[:, None] == index).astype(a.dtype)
    square = scaled @ scaled
    powers = [one, square]
    for _ in range(5):
        powers.append(powers[-1] @ square)
    odd = scaled @ _weighted(_COEFFICIENTS[1::2], powers)
    even = _weighted(_COEFFICIENTS[::2], powers)
    found = np.linalg.solve(even - odd, even + odd)
    for turn in range(int(times.max())):
        found = np.where(times > turn, found @ found, found)
    return found


def _weighted(factors: Sequence[float], powers: Sequence[Array]) -> Any:
    total = powers[0] * factors[0]
    for factor, each in zip(factors[1:], powers[1:], strict=True):
        total = total + each * factor
    return total


_NORM = 4.25
"""The largest of a matrix that is not scaled; up to 5.37 is as exact as float64."""

_COEFFICIENTS = [comb(13, k) / (factorial(k) * comb(26, k)) for k in range(14)]
"""Of the numerator; those of the denominator have alternating signs."""


def _first_of_order(x: Array, *, k: int, axis: int, largest: bool) -> Array:
    """The first of all in order: on a device, to sort is quick."""
    order = ARGSORT.evaluate(x, axis=axis, descending=largest, stable=True)
    return order[(slice(None),) * axis + (slice(k),)]


def _permutation(key: Array, *, size: int) -> Array:
    """The order of random bits, as `graphnn.ops.philox` has it."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)

    def halves(word: Array) -> tuple[Array, Array]:
        return word & low, word >> half

    keys = key.view(np.uint64)
    index = np.arange(size, dtype=np.uint64, like=key)
    counter = (*halves(index), *halves(keys[..., 1:]))
    first, second, _, _ = philox(counter, halves(keys[..., :1]))
    bits = (first << half) | second
    return np.argsort(bits.view(np.int64), axis=-1, kind="stable")


def _prod(x: Array, *, axes: tuple[int, ...]) -> Any:
    return np.prod(x, axis=axes)


def _sum(x: Array, *, axes: tuple[int, ...]) -> Any:
    return np.sum(x, axis=axes)


_OWN: dict[str, Callable[..., Any]] = {
    "complex": _complex,
    "det": _determinant,
    "expm": _exponential,
    "prod": _prod,
    "random_permutation": _permutation,
    "slogdet": _sign_and_logarithm,
    "sum": _sum,
    "top_k": _first_of_order,
}
"""Operators whose own kernels use what CuPy has not."""
