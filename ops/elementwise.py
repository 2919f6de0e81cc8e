"""Tier 1: elementwise operators, each one decorated function.

A *primitive* has a ``kernel`` (a NumPy or SciPy ufunc) and an empty body; the code generators know
it by name. A *composite* has a body, an expression of primitives: NumPy evaluation, generated
code, shape and dtype rules follow from it. Both get their derivatives from ``partials``; a
composite without partials is differentiated through its body.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from graphnn.core.dtypes import (
    BOOL,
    FLOAT32,
    DType,
    complex_dtype,
    is_bool,
    is_complex,
    is_half,
    is_inexact,
    real_dtype,
)
from graphnn.core.errors import DTypeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import REGISTRY, Array, Op, output_size, register
from graphnn.core.spec import TensorSpec, broadcast_shapes
from graphnn.ops.broadcasting import behind_examples, broadcast_to, unbroadcast
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Operation, Reject, Sample, add_operation
from graphnn.ops.linear_tier import sum_tangents, to_domain
from graphnn.ops.operands import cast_to, operands

__all__ = ["ElementwiseOp", "Partial", "elementwise", "scipy_special"]

Partial: TypeAlias = "Node | int | None"
"""A partial derivative: a node, 1 or -1, or None for zero. A *bool* node is a gate: where it is
False the derivative is zero, whatever (inf, NaN) arrives from the other side.

Of a function of a complex number it is the complex derivative. Where one side alone is complex it
is the number ``p`` of which ``real(p * tangent)`` is the real tangent of the result, or
``p * tangent`` the complex one."""

_RESULTS: dict[str, Callable[[DType], DType]] = {
    "same": lambda dtype: dtype,
    "bool": lambda dtype: BOOL,
    "real": real_dtype,
    "complex": complex_dtype,
}
"""The dtype of the result from that of the operands, for each kind of result."""


class ElementwiseOp(Op):
    """An operator whose result at each position depends on its inputs there, after broadcasting.

    Calling it builds a node: ``exp(x)``. Operands may be nodes, arrays and Python numbers; they
    are promoted to one dtype (see :mod:`graphnn.core.dtypes`).
    """

    is_elementwise = True
    instruction = "kernel"

    def __init__(
        self,
        body: Callable[..., Any],
        kernel: Callable[..., Any] | None,
        accepts: str,
        result: str,
        masks: tuple[int, ...],
        commutative: bool,
        keeps_float32: bool,
    ) -> None:
        self.name = self.__name__ = body.__name__.rstrip("_")
        self.__doc__ = body.__doc__
        self.__module__ = body.__module__
        self.__wrapped__ = body
        self.arity = body.__code__.co_argcount
        self.kernel = kernel
        self.accepts = accepts
        self.result = result
        self.masks = masks
        self.is_commutative = commutative
        self.autocast = "float32" if keeps_float32 else "follow"
        self._partials: Callable[..., Sequence[Partial]] | None = None

    @cached_property
    def signature(self) -> inspect.Signature:
        """How it is called; found when it is first needed, for that is slow."""
        return inspect.signature(self.__wrapped__)

    def __call__(self, *args: Any, **kwargs: Any) -> Node:
        """Build the node for these operands."""
        if kwargs or len(args) != self.arity:
            bound = self.signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
        return make_node(self, operands(self.name, args, self.accepts, self.masks))

    def partials(self, rule: Callable[..., Sequence[Partial]]) -> ElementwiseOp:
        """Decorator: the partial derivatives, from the inputs and then the result."""
        self._partials = rule
        return self

    # ------------------------------------------------------------------------ the op contract

    @property
    def has_kernel(self) -> bool:
        """Whether it is a primitive."""
        return self.kernel is not None

    def infer(self, *inputs: TensorSpec) -> TensorSpec:
        """Broadcast shapes; the dtype that belongs to the common one."""
        first = inputs[0]
        if self.result == "same" and not (first.weak or self.masks):
            shape, dtype = first.shape, first.dtype
            if all(each.dtype is dtype and each.shape == shape for each in inputs):
                return first  # most calls
        shape = broadcast_shapes(self.name, *(spec.shape for spec in inputs))
        dtypes = {spec.dtype for index, spec in enumerate(inputs) if index not in self.masks}
        if len(dtypes) != 1:
            raise DTypeError(f"{self.name}: operands of {sorted(map(str, dtypes))} do not mix")
        return TensorSpec(shape, _RESULTS[self.result](dtypes.pop()))

    def expand(self, *inputs: Node) -> Node | None:
        """The body applied to the inputs, for a composite."""
        if self.kernel is not None:
            return None
        result: Node = self.__wrapped__(*inputs)
        return result

    def evaluate(self, *arrays: Array) -> Array:
        """The kernel; half floats are computed in float32 and rounded once."""
        assert self.kernel is not None, f"{self.name} is a composite: expand it first"
        stored = next(a.dtype for i, a in enumerate(arrays) if i not in self.masks)
        if is_half(stored):
            arrays = tuple(a.astype(FLOAT32) if a.dtype == stored else a for a in arrays)
        result = np.asarray(self.kernel(*arrays))
        return result.astype(_RESULTS[self.result](stored), copy=False)

    def evaluate_into(self, out: Array, *arrays: Array) -> None:
        """The kernel, writing straight into ``out`` where it is a ufunc of that dtype."""
        if isinstance(self.kernel, np.ufunc) and not any(is_half(a.dtype) for a in arrays):
            self.kernel(*arrays, out=out, casting="unsafe")
        else:
            out[...] = self.evaluate(*arrays)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """Sum of partial times tangent."""
        if self._partials is None:
            return NotImplemented if not self.has_kernel else None
        terms = [
            _scale(partial, tangent, node.dtype)
            for partial, tangent in zip(self._partials(*node.inputs, node), tangents, strict=True)
            if tangent is not None
        ]
        total = sum_tangents(terms)
        return None if total is None else broadcast_to(total, node.shape)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        """Partial times cotangent, summed over what was broadcast."""
        if self._partials is None:
            return NotImplemented if not self.has_kernel else [None] * len(node.inputs)
        result: list[Node | None] = []
        for partial, each in zip(self._partials(*node.inputs, node), node.inputs, strict=True):
            term = _scale(partial, cotangent, each.dtype) if is_inexact(each.dtype) else None
            result.append(None if term is None else unbroadcast(term, each.shape))
        return result

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        """The same op: what is the same for all examples broadcasts."""
        aligned = [
            behind_examples(each, node.ndim) if is_mapped else each
            for each, is_mapped in zip(inputs, mapped, strict=True)
        ]
        return make_node(self, aligned)

    def flops(self, node: Node) -> int:
        """One per element."""
        return output_size(node)


def _scale(partial: Partial, tangent: Node, dtype: DType) -> Node | None:
    """A partial derivative times a tangent or cotangent, for a value of ``dtype``.

    See `Partial` for bool partials.
    """
    if partial is None:
        return None
    if not isinstance(partial, Node):
        assert partial in (1, -1), "write other constant partials as nodes"
        scaled = tangent if partial == 1 else make_node(REGISTRY["negative"], (tangent,))
    elif is_bool(partial.dtype):
        zero = constant(0.0, tangent.dtype)
        scaled = make_node(REGISTRY["where"], (partial, tangent, zero))
    else:
        wide = cast_to(tangent, partial.dtype) if is_complex(partial.dtype) else tangent
        scaled = make_node(REGISTRY["multiply"], (partial, wide))
    return to_domain(scaled, dtype)


def scipy_special(name: str) -> Callable[..., Any]:
    """A kernel from ``scipy.special``, imported when it is first needed."""

    def kernel(*arrays: Any) -> Any:
        from scipy import special

        return getattr(special, name)(*arrays)

    kernel.__name__ = name
    return kernel


def elementwise(
    *,
    reference: Callable[..., Any],
    kernel: Callable[..., Any] | None = None,
    accepts: str = "f",
    result: str = "same",
    masks: tuple[int, ...] = (),
    domain: tuple[float, float] | tuple[tuple[float, float], ...] = (-2.0, 2.0),
    special: tuple[Any, ...] = (0.0, -0.0, 1.0, np.inf, -np.inf, np.nan),
    differentiable: bool = True,
    commutative: bool = False,
    keeps_float32: bool = False,
    rejects: Sequence[Reject] = (),
    corner: str = "",
) -> Callable[[Callable[..., Any]], ElementwiseOp]:
    """Declare an elementwise operator; the decorated function is its body and documentation.

    Parameters
    ----------
    reference : callable
        The same function in independent float64 NumPy or SciPy: the tests' oracle.
    kernel : callable, optional
        Makes it a primitive; the body is then a docstring only.
    accepts : str
        Dtype kinds it computes in, of ``"bifc"``; integers given to an op of ``"f"`` or ``"fc"``
        become float32.
    result : {"same", "bool", "real", "complex"}
        The dtype of the result: that of the operands, bool, that of their real parts, or the
        complex one whose parts they are.
    masks : tuple of int
        Operands that are conditions (bool).
    domain : (low, high), or one per operand
        Where tests draw operands.
    special : tuple
        Values (one operand) or tuples of values at which it is compared with the reference, in
        addition to NaN and infinities.
    differentiable : bool
        Whether the tests check derivatives.
    commutative : bool
        Whether the two operands may change places.
    keeps_float32 : bool
        Whether half floats may not hold its results, or not well enough: see `Op.autocast`.
    rejects, corner
        See :class:`~graphnn.ops.contract.Operation`.

    Returns
    -------
    callable
        A decorator that gives an :class:`ElementwiseOp`.
    """

    def declare(body: Callable[..., Any]) -> ElementwiseOp:
        op = ElementwiseOp(body, kernel, accepts, result, masks, commutative, keeps_float32)
        register(op)
        add_operation(
            Operation(
                name=op.name,
                function=op,
                reference=reference,
                samples=tuple(_samples(op, domain)),
                rejects=tuple(rejects),
                dtypes=accepts,
                differentiable=differentiable,
                family=body.__module__.rpartition(".")[2],
                corner=corner,
                special=special,
            )
        )
        return op

    return declare


_SHAPES = ((), (3, 4), (2, 0))
_PAIRS = (((3, 4), (4,)), ((2, 1, 3), (5, 1)), ((), (3,)), ((0, 3), (1, 3)))


def _samples(op: ElementwiseOp, domain: Any) -> list[Sample]:
    """Equal shapes (0-d and empty among them) and, for several operands, broadcast ones."""
    ranges = domain if isinstance(domain[0], tuple) else (domain,) * op.arity

    def arg(position: int, shape: tuple[int, ...]) -> Arg:
        low, high = ranges[position]
        return Arg(shape, low, high, kind="bool" if position in op.masks else "float")

    samples = [Sample(*(arg(i, shape) for i in range(op.arity))) for shape in _SHAPES]
    if op.arity > 1:
        samples += [Sample(*(arg(i, pair[i % 2]) for i in range(op.arity))) for pair in _PAIRS]
    return samples
