"""Complex numbers: their parts, conjugates and angles, and how they are made of real ones.

What these ops do to derivatives is explained in ``docs/complex.md``. In short: inside the sweeps
nothing is conjugated, so that the rules of holomorphic functions are those of real ones; `conj`
and the parts are linear over the real numbers, and have rules of their own.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphnn.core.dtypes import is_complex, real_dtype
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, output_size, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import multiply
from graphnn.ops.constants import constant, zeros_like
from graphnn.ops.contract import Arg, Sample, operation
from graphnn.ops.elementwise import Partial, elementwise
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.operands import as_node, cast_to
from graphnn.ops.trigonometric import arctan2

__all__ = ["angle", "complex", "conj", "imag", "real"]


class ConjOp(LinearOp):
    """The complex conjugate, which is its own transpose."""

    name = "conj"
    axis_attrs = ()
    is_elementwise = True
    instruction = "kernel"

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x

    def evaluate(self, x: Array) -> Array:
        return np.conjugate(x)

    def evaluate_into(self, out: Array, x: Array) -> None:
        np.conjugate(x, out=out)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return conj(cotangent)

    def flops(self, node: Node) -> int:
        return output_size(node)


class PartOp(LinearOp):
    """A part of a complex number: the real part of its product with ``factor``."""

    axis_attrs = ()
    is_elementwise = True
    instruction = "kernel"

    def __init__(self, name: str, kernel: Callable[[Array], Array], factor: Any) -> None:
        self.name = name
        self.kernel = kernel
        self.factor = factor

    def infer(self, x: TensorSpec) -> TensorSpec:
        return TensorSpec(x.shape, real_dtype(x.dtype))

    def evaluate(self, x: Array) -> Array:
        return np.array(self.kernel(x))

    def evaluate_into(self, out: Array, x: Array) -> None:
        out[...] = self.kernel(x)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        whole = cast_to(cotangent, node.inputs[0].dtype)
        return whole if self.factor == 1 else multiply(whole, constant(self.factor, whole.dtype))

    def flops(self, node: Node) -> int:
        return output_size(node)


CONJ, REAL, IMAG = ConjOp(), PartOp("real", np.real, 1), PartOp("imag", np.imag, -1j)
for _op in (CONJ, REAL, IMAG):
    register(_op)


_SAMPLES = [Sample(Arg((3, 4))), Sample(Arg()), Sample(Arg((2, 0)))]


@operation(reference=np.conj, samples=_SAMPLES, dtypes="ifc")
def conj(x: Any) -> Node:
    """The complex conjugate, ``real(x) - 1j * imag(x)``.

    Parameters
    ----------
    x : array_like or Node

    Returns
    -------
    Node
        The node itself if it is real.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.conj([1.0 + 2.0j, 3.0j]), {})
    array([1.-2.j, 0.-3.j], dtype=complex64)
    """
    x = as_node(x)
    return make_node(CONJ, (x,)) if is_complex(x.dtype) else x


@operation(reference=np.real, samples=_SAMPLES, dtypes="bifc")
def real(x: Any) -> Node:
    """The real part.

    Parameters
    ----------
    x : array_like or Node

    Returns
    -------
    Node
        Of the real dtype of the same precision; the node itself if it is real.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.real(gn.input("z", shape=(3,), dtype="complex64"))
    <Node real (3,) float32>
    """
    x = as_node(x)
    return make_node(REAL, (x,)) if is_complex(x.dtype) else x


@operation(reference=np.imag, samples=_SAMPLES, dtypes="bifc")
def imag(x: Any) -> Node:
    """The imaginary part; zeros if it is real.

    Parameters
    ----------
    x : array_like or Node

    Returns
    -------
    Node
        Of the real dtype of the same precision.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.imag([1.0 + 2.0j, 3.0j]), {})
    array([2., 3.], dtype=float32)
    """
    x = as_node(x)
    return make_node(IMAG, (x,)) if is_complex(x.dtype) else zeros_like(x)


@elementwise(
    reference=np.angle,
    accepts="fc",
    result="real",
    domain=(0.3, 2.0),
    special=(0.0, 1.0, -1.0, np.inf, -np.inf, np.nan),
    corner="derivative 0 at 0, as in PyTorch; pi for negative real numbers",
)
def angle(x: Node) -> Node:
    """Angle of a complex number, in ``[-pi, pi]``: 0 along the positive real axis."""
    return arctan2(imag(x), real(x))


def _complex(real: Array, imag: Array) -> Array:
    made = np.empty(np.broadcast_shapes(real.shape, imag.shape), np.result_type(real, 1j))
    made.real, made.imag = real, imag
    return made


@elementwise(
    kernel=_complex,
    reference=np.vectorize(builtins.complex, otypes=["complex128"]),
    result="complex",
    special=(),
    corner="half floats make complex64",
    keeps_float32=True,
)
def complex(real: Node, imag: Node) -> None:
    """Complex numbers from their parts, ``real + 1j * imag``."""


@complex.partials
def _(real: Node, imag: Node, result: Node) -> Sequence[Partial]:
    return 1, constant(1j, result.dtype)
