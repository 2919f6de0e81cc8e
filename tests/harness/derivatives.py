"""What every derivative must satisfy; each check raises AssertionError.

Everything is in double precision, real or complex, and in random directions: ``v`` and ``w`` at
the inputs, ``u`` at the outputs. Central differences are the judge of values, and the two modes
judge each other: reverse mode is the adjoint of forward mode under the real inner product.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from checks import as_list, main_dtype, raised_by
from drawing import Array, Case, cases_of, draw, is_drawable

import graphnn as gn
from graphnn.core.dtypes import DType, is_complex, is_inexact
from graphnn.core.errors import DTypeError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.ops.contract import Operation

STEP = 2.0**-9
DIFFERENCE_TOLERANCE = 1e-7
"""Relative to the largest value. Richardson's error is about ``STEP**4 / 20`` times a fifth
derivative, 1e-12, and rounding adds ``eps / STEP``, 1e-13 times the value; both grow by some
orders of magnitude where a function is steep. A wrong term of any kind is far larger."""

MODE_TOLERANCE = 2.0**12
"""Between the two modes, in units in the last place: they differ in the order of operations."""

FLAT = {"ceil", "floor", "round", "sign", "step", "trunc"}
"""Operations whose derivative is 0 wherever it exists; they are checked like all others."""

BY_DEFINITION = {"stop_gradient", "straight_through"}
"""Operations whose derivative is not that of their value."""


@dataclass(frozen=True)
class Point:
    """A sample's graph, where it is evaluated, and the directions.

    Attributes
    ----------
    inputs, outputs
        All of them; ``wrt`` and ``results`` are those that derivatives flow through.
    """

    inputs: list[Node]
    outputs: list[Node]
    arrays: tuple[Array, ...]
    v: list[Array]
    w: list[Array]
    u: list[Array]

    @property
    def wrt(self) -> list[Node]:
        return [node for node in self.inputs if is_inexact(node.dtype)]

    @property
    def results(self) -> list[Node]:
        return [node for node in self.outputs if is_inexact(node.dtype)]

    def along(self, direction: Sequence[Array], distance: float) -> list[Array]:
        """The feeds, moved along a direction."""
        remaining = iter(direction)
        return [
            array + distance * next(remaining) if is_inexact(array.dtype) else array
            for array in self.arrays
        ]


def precise_dtypes(operation: Operation) -> list[str]:
    """The dtypes that derivatives are checked in: float64, and complex128 if it is taken."""
    real = "float64" if "f" in operation.dtypes else main_dtype(operation)
    return [real] + ["complex128"] * ("c" in operation.dtypes)


def point(case: Case, dtype: str) -> Point:
    """The graph of a sample in a precise dtype, its values, and random directions."""
    generator = case.generator()
    drawn = draw(case.sample, dtype, generator)
    inputs = drawn.inputs()
    outputs = as_list(drawn.call(case.operation.function, inputs))
    moving = [node for node in inputs if is_inexact(node.dtype)]
    results = [node for node in outputs if is_inexact(node.dtype)]
    v, w, u = (
        [_direction(generator, node.shape, node.dtype) for node in nodes]
        for nodes in (moving, moving, results)
    )
    return Point(inputs, outputs, drawn.arrays, v, w, u)


def _direction(generator: np.random.Generator, shape: Any, dtype: DType) -> Array:
    direction = generator.uniform(-1.0, 1.0, shape)
    if is_complex(dtype):
        direction = direction + 1j * generator.uniform(-1.0, 1.0, shape)
    return np.asarray(direction, dtype)


def has_derivative(case: Case, dtype: str) -> bool:
    """Whether floats or complex numbers go in and come out."""
    if not is_drawable(case.sample, dtype):
        return False
    at = point(case, dtype)
    return bool(at.wrt and at.results)


def central_difference(
    function: Callable[..., Any], at: Point, direction: Sequence[Array]
) -> list[Array]:
    """The change of some results along a direction, by Richardson's extrapolation."""

    def slope(step: float) -> list[Array]:
        ahead, behind = (function(*at.along(direction, each)) for each in (step, -step))
        return [(a - b) / (2.0 * step) for a, b in zip(ahead, behind, strict=True)]

    with np.errstate(invalid="ignore"):
        pairs = zip(slope(STEP), slope(STEP / 2.0), strict=True)
        return [(4.0 * fine - coarse) / 3.0 for coarse, fine in pairs]


def assert_agree(actual: Sequence[Array], expected: Sequence[Array], what: str) -> None:
    """Arrays agree with central differences, wherever those exist."""
    for given, wanted in zip(actual, expected, strict=True):
        # The difference of values that are rounded to a narrower dtype is that much coarser.
        rtol = max(DIFFERENCE_TOLERANCE, 4.0 * float(np.finfo(given.dtype).eps) / STEP)
        exists = np.isfinite(wanted)
        scale = max(1.0, float(np.abs(wanted[exists]).max(initial=0.0)))
        np.testing.assert_allclose(
            given[exists], wanted[exists], rtol=0.0, atol=rtol * scale, err_msg=what
        )


def inner(left: Iterable[Array], right: Iterable[Array]) -> float:
    """The real inner product of two lists of arrays."""
    return float(sum(np.sum(np.conj(a) * b).real for a, b in zip(left, right, strict=True)))


def check_first_order(case: Case, dtype: str, backend: str) -> None:
    """Forward mode agrees with differences, and reverse mode is forward mode transposed."""
    at = point(case, dtype)
    forward = gn.jvp(at.results, at.wrt, at.v)
    backward = gn.vjp(at.results, at.wrt, at.u, allow_unused=True)
    outputs = {"value": at.results, "forward": forward, "backward": backward}
    program = gn.compile(at.inputs, outputs, backend=backend, verify=True)
    found = program(*at.arrays)
    expected = central_difference(lambda *feeds: program(*feeds)["value"], at, at.v)
    what = f"{case} in {dtype} on {backend}"
    assert_agree(found["forward"], expected, f"{what}: forward mode")
    for node, array in zip(forward + backward, found["forward"] + found["backward"], strict=True):
        assert (array.shape, array.dtype) == (node.shape, node.dtype), what
    one, other = inner(at.u, found["forward"]), inner(at.v, found["backward"])
    if np.isfinite(one):
        scale = max(1.0, inner(map(np.abs, at.u), map(np.abs, found["forward"])))
        eps = max(float(np.finfo(each.dtype).eps) for each in found["forward"])
        assert abs(one - other) <= MODE_TOLERANCE * eps * scale, (
            f"{what}: <u, Jv> = {one}, but <J'u, v> = {other}"
        )
    else:
        assert not np.isfinite(other), f"{what}: <u, Jv> = {one}, but <J'u, v> = {other}"


def check_second_order(case: Case, dtype: str) -> None:
    """All four nestings of the two modes agree with differences of the first derivative."""
    at = point(case, dtype)
    forward = gn.jvp(at.results, at.wrt, at.v)
    backward = gn.vjp(at.results, at.wrt, at.u, allow_unused=True)
    first = gn.compile(at.inputs, [*forward, *backward], backend="reference")
    second = gn.compile(
        at.inputs,
        {
            "jvp of jvp": gn.jvp(forward, at.wrt, at.w),
            "jvp of vjp": gn.jvp(backward, at.wrt, at.w),
            "vjp of jvp": gn.vjp(forward, at.wrt, at.u, allow_unused=True),
            "vjp of vjp": gn.vjp(backward, at.wrt, at.v, allow_unused=True),
        },
        backend="reference",
        verify=True,
    )
    found = second(*at.arrays)
    change = central_difference(first, at, at.w)
    of_forward, of_backward = change[: len(forward)], change[len(forward) :]
    assert_agree(found["jvp of jvp"], of_forward, f"{case}: forward over forward")
    assert_agree(found["jvp of vjp"], of_backward, f"{case}: forward over reverse")
    # A gradient of <u, Jv> is compared along w: the same number for both.
    for nesting, expected in (
        ("vjp of jvp", inner(at.u, of_forward)),
        ("vjp of vjp", inner(at.v, of_backward)),
    ):
        given = np.array(inner(at.w, found[nesting]))
        assert_agree([given], [np.array(expected)], f"{case}: {nesting}")


def gradients(case: Case, dtype: str) -> list[Array]:
    """The vector-Jacobian product by every input that has one."""
    at = point(case, dtype)
    backward = gn.vjp(at.results, at.wrt, at.u, allow_unused=True)
    found: list[Array] = gn.compile(at.inputs, backward, backend="reference")(*at.arrays)
    return found


def check_not_vacuous(operation: Operation) -> None:
    """Some sample has a derivative that is not zero, so that the checks above can fail."""
    found = [
        gradients(case, dtype)
        for case in cases_of(operation)
        for dtype in precise_dtypes(operation)
        if has_derivative(case, dtype)
    ]
    is_flat = not any(np.any(each != 0.0) for arrays in found for each in arrays)
    assert found, f"{operation.name}: no sample has a derivative"
    assert is_flat == (operation.name in FLAT), f"{operation.name}: every derivative is zero"


def check_no_wrong_derivative(case: Case, dtype: str) -> None:
    """What is not declared differentiable refuses in words, or its derivative is right."""
    at = point(case, dtype)
    if not at.wrt:
        return
    if at.results:
        check_first_order(case, dtype, "reference")
        return
    cotangents = [np.ones(node.shape) for node in at.outputs]
    error = raised_by(lambda: gn.vjp(at.outputs, at.wrt, cotangents))
    assert isinstance(error, DTypeError), f"{case}: a derivative of {at.outputs}"
    assert "derivatives are of floats" in str(error)


def operators_of(case: Case) -> set[str]:
    """The operators in the graph of a sample, in its derivatives, and in what those expand to."""
    dtypes = [each for each in precise_dtypes(case.operation) if is_drawable(case.sample, each)]
    return set().union(*(_operators_at(case, dtype) for dtype in dtypes))


def _operators_at(case: Case, dtype: str) -> set[str]:
    at = point(case, dtype)
    waiting = list(at.outputs)
    if at.wrt and at.results:
        forward = gn.jvp(at.results, at.wrt, at.v)
        backward = gn.vjp(at.results, at.wrt, at.u, allow_unused=True)
        waiting += [*forward, *backward, *gn.vjp(backward, at.wrt, at.v, allow_unused=True)]
    seen = set(topological_order(waiting))
    waiting = list(seen)
    while waiting:
        node = waiting.pop()
        expansion = node.op.expand(*node.inputs, **node.attrs)
        if expansion is not None:
            fresh = [each for each in topological_order([expansion]) if each not in seen]
            seen.update(fresh)
            waiting += fresh
    return {node.op.name for node in seen}
