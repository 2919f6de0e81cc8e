"""A numeric check of derivatives, for users and for our own tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphnn.compiler.autodiff.derivatives import jvp, vjp
from graphnn.compiler.compilation import compile
from graphnn.core.dtypes import FLOAT64, is_complex, is_inexact, real_dtype
from graphnn.core.errors import GradientError
from graphnn.core.node import Node
from graphnn.core.op import Array

__all__ = ["check_grads"]

STEP = {"float64": 6e-6, "float32": 5e-3}
"""Step of the central difference: the cube root of the unit roundoff, to a round number."""


def check_grads(
    output: Node,
    feeds: Mapping[Node, Any],
    *,
    order: int = 2,
    modes: Sequence[str] = ("forward", "reverse"),
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> None:
    """Compare derivatives with central differences in a random direction, up to an order.

    Directions of complex inputs are complex; the two modes are compared by the real inner
    product ``real(sum(conj(u) * v))``.

    Parameters
    ----------
    output : Node
        Floating or complex, of any shape.
    feeds : mapping of input Node to array_like
        The point; derivatives are taken with respect to its floating and complex
        inputs.
    order : int, default 2
        Also check the derivative of the derivative, and so on.
    modes : sequence of {"forward", "reverse"}
        At every order, each of these is checked.
    rtol, atol : float, optional
        Defaults: 1e-5 for float64 inputs, 2e-2 for float32, whose differences are coarse.
    seed : int
        Of the random directions.

    Raises
    ------
    GradientError
        Saying which mode, at which order, and by how much it differs.

    Examples
    --------
    >>> import graphnn as gn
    >>> import numpy as np
    >>> x = gn.input("x", shape=(3,), dtype="float64")
    >>> gn.check_grads(gn.sin(x) * x, {x: np.array([0.1, 0.2, 0.3])})
    """
    rng = np.random.default_rng(seed)
    points = {node: np.asarray(value, dtype=node.dtype) for node, value in feeds.items()}
    leaves = [node for node in points if is_inexact(node.dtype)]
    exact = all(real_dtype(node.dtype) == FLOAT64 for node in (*leaves, output))
    tolerance = 1e-5 if exact else 2e-2
    rtol, atol = rtol if rtol is not None else tolerance, atol if atol is not None else tolerance
    step = STEP["float64" if exact else "float32"]
    _check(output, points, leaves, order, modes, rtol, atol, step, rng, "")


def _check(
    output: Node,
    points: Mapping[Node, Array],
    leaves: Sequence[Node],
    order: int,
    modes: Sequence[str],
    rtol: float,
    atol: float,
    step: float,
    rng: np.random.Generator,
    path: str,
) -> None:
    """Check the derivatives of one output, then of these derivatives."""
    run = compile(tuple(points), output, backend="reference")
    directions = [_unit(rng, node) for node in leaves]

    def moved(sign: int) -> Array:
        by = dict(zip(leaves, directions, strict=True))
        fed = [
            value + (sign * step * by[node]).astype(node.dtype) if node in by else value
            for node, value in points.items()
        ]
        return _wide(run(*fed))

    numeric = (moved(1) - moved(-1)) / (2 * step)
    weights = _unit(rng, output)
    for mode in modes:
        if mode == "forward":
            derivative: Node = jvp(output, leaves, directions)
            symbolic = _value(derivative, points)
            _compare(symbolic, numeric, rtol, atol, f"{path}{mode}")
            derivatives = [derivative]
        elif mode == "reverse":
            derivatives = vjp(output, leaves, weights, allow_unused=True)
            along = sum(
                _inner(_value(each, points), direction)
                for each, direction in zip(derivatives, directions, strict=True)
            )
            expected = np.asarray(_inner(weights, numeric))
            _compare(np.asarray(along), expected, rtol, atol, f"{path}{mode}")
        else:
            raise GradientError(f"no mode {mode!r}", hint="forward or reverse")
        if order > 1:
            for each in derivatives:
                _check(
                    each,
                    points,
                    leaves,
                    order - 1,
                    modes,
                    rtol,
                    atol,
                    step,
                    rng,
                    f"{path}{mode} of ",
                )


def _unit(rng: np.random.Generator, node: Node) -> Array:
    """A random direction of the shape of a node."""
    shape = tuple(int(size) for size in node.shape)
    direction = rng.standard_normal(shape)
    if is_complex(node.dtype):
        direction = direction + 1j * rng.standard_normal(shape)
    return np.asarray(direction, node.dtype)


def _inner(left: Array, right: Array) -> float:
    """The real inner product, under which reverse mode is the adjoint of forward mode."""
    return float(np.sum(np.conj(left) * right).real)


def _wide(array: Any) -> Array:
    """In double precision, real or complex."""
    return np.asarray(array, np.result_type(array, np.float64))


def _value(node: Node, points: Mapping[Node, Array]) -> Array:
    run = compile(tuple(points), node, backend="reference")
    return _wide(run(*points.values()))


def _compare(symbolic: Array, numeric: Array, rtol: float, atol: float, where: str) -> None:
    if np.allclose(symbolic, numeric, rtol=rtol, atol=atol, equal_nan=True):
        return
    gap = float(np.max(np.abs(symbolic - numeric)))
    raise GradientError(
        f"{where} derivative differs from central differences by {gap:.3g} "
        f"(largest value {float(np.max(np.abs(numeric))):.3g})",
        hint="check the derivative rule, or move away from a kink",
        where="",
    )
