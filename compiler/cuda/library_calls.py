"""Operators that a library computes on a device: those made of functions that CuPy has too.

NumPy's functions hand arrays of a device over to CuPy, so that a kernel of NumPy calls is one of
CuPy calls. They are no part of a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphnn.compiler.unit import Instruction
from graphnn.core.errors import UnsupportedOpError
from graphnn.core.op import Array
from graphnn.core.provenance import provenance
from graphnn.ops.elementwise import ElementwiseOp
from graphnn.ops.philox import philox
from graphnn.ops.sorting import ARGSORT

__all__ = ["BY_LIBRARY", "call_library", "require_library"]

BY_LIBRARY = frozenset(
    {
        "argsort",
        "cast",
        "cholesky",
        "concatenate",
        "conj",
        "dot_general",
        "eigh",
        "fft",
        "imag",
        "inv",
        "irfft",
        "lstsq",
        "pad",
        "pick",
        "pinv",
        "qr",
        "real",
        "rfft",
        "solve",
        "svd",
    }
)
"""Operators whose own kernels compute on arrays of a device, by name."""


def require_library(instruction: Instruction) -> None:
    """Refuse an operator that has neither code nor functions of a library.

    Raises
    ------
    UnsupportedOpError
        Naming it and the user's line.
    """
    op = instruction.op
    if not (isinstance(op, ElementwiseOp) or (op is not None and op.name in {*_OWN, *BY_LIBRARY})):
        node = instruction.node
        raise UnsupportedOpError(
            f"{node.op.name} has no code for GPUs",
            where=provenance(node).where,
            hint='compile with backend="numpy"',
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


def _sum(x: Array, *, axes: tuple[int, ...]) -> Any:
    return np.sum(x, axis=axes)


_OWN: dict[str, Callable[..., Any]] = {
    "complex": _complex,
    "det": _determinant,
    "random_permutation": _permutation,
    "slogdet": _sign_and_logarithm,
    "sum": _sum,
    "top_k": _first_of_order,
}
"""Operators whose own kernels use what CuPy has not."""
