"""What every derivative must satisfy; each check raises AssertionError.

Everything is in double precision, real or complex, and in random directions: ``v`` and ``w`` at
the inputs, ``u`` at the outputs. Central differences are the judge of values, and the two modes
judge each other: reverse mode is the adjoint of forward mode under the real inner product.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from checks import main_dtype
from drawing import Array, Case, draw, drawable, is_drawable
from together import as_list, joined, naming_failures, raised_by

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

    case: Case
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


def points(cases: Sequence[Case], dtype: str) -> list[Point]:
    """The graphs of samples in a precise dtype, their values, and random directions."""
    return [_point(case, dtype, place) for place, case in enumerate(cases)]


def _point(case: Case, dtype: str, place: int) -> Point:
    generator = case.generator()
    drawn = draw(case.sample, dtype, generator)
    inputs = drawn.inputs(f"x{place}_")
    outputs = as_list(drawn.call(case.operation.function, inputs))
    moving = [node for node in inputs if is_inexact(node.dtype)]
    results = [node for node in outputs if is_inexact(node.dtype)]
    v, w, u = (
        [_direction(generator, node.shape, node.dtype) for node in nodes]
        for nodes in (moving, moving, results)
    )
    return Point(case, inputs, outputs, drawn.arrays, v, w, u)


def _direction(generator: np.random.Generator, shape: Any, dtype: DType) -> Array:
    direction = generator.uniform(-1.0, 1.0, shape)
    if is_complex(dtype):
        direction = direction + 1j * generator.uniform(-1.0, 1.0, shape)
    return np.asarray(direction, dtype)


def differentiable(cases: Sequence[Case], dtype: str) -> list[Point]:
    """The points of samples that floats or complex numbers go into and come out of."""
    return [at for at in points(cases, dtype) if at.wrt and at.results]


def inputs_of(some: Sequence[Point]) -> list[Node]:
    """What a program of several points is fed."""
    return joined([at.inputs for at in some])


def central_difference(
    program: Callable[..., Sequence[Sequence[Array]]],
    some: Sequence[Point],
    directions: Sequence[Sequence[Array]],
) -> list[list[Array]]:
    """The change of the results of each point along its direction, by Richardson's extrapolation.

    ``program`` takes the feeds of all points and gives a list of results for each.
    """

    def along(distance: float) -> Sequence[Sequence[Array]]:
        pairs = zip(some, directions, strict=True)
        return program(*joined([at.along(direction, distance) for at, direction in pairs]))

    def combined(f: Callable[[Array, Array], Array], *sides: Any) -> list[list[Array]]:
        return [[f(a, b) for a, b in zip(*both, strict=True)] for both in zip(*sides, strict=True)]

    def slope(step: float) -> list[list[Array]]:
        return combined(lambda a, b: (a - b) / (2.0 * step), along(step), along(-step))

    with np.errstate(invalid="ignore"):
        return combined(lambda b, a: (4.0 * a - b) / 3.0, slope(STEP), slope(STEP / 2.0))


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


@naming_failures
def check_first_order(cases: Sequence[Case], dtype: str, *backends: str) -> None:
    """Forward mode agrees with differences, and reverse mode is forward mode transposed."""
    some = differentiable(cases, dtype)
    nodes = [first_derivatives(at) for at in some]
    for backend in backends:
        _check_derivatives(some, nodes, dtype, backend)


def _check_derivatives(
    some: Sequence[Point], nodes: Sequence[dict[str, list[Node]]], dtype: str, backend: str
) -> None:
    """What `check_first_order` says, on one backend."""
    program = gn.compile(inputs_of(some), nodes, backend=backend, verify=True)
    found = program(*joined([at.arrays for at in some]))
    change = central_difference(
        lambda *feeds: [each["value"] for each in program(*feeds)], some, [at.v for at in some]
    )
    for at, made, given, expected in zip(some, nodes, found, change, strict=True):
        what = f"{at.case} in {dtype} on {backend}"
        assert_agree(given["forward"], expected, f"{what}: forward mode")
        for mode in ("forward", "backward"):
            for node, array in zip(made[mode], given[mode], strict=True):
                assert (array.shape, array.dtype) == (node.shape, node.dtype), what
        _assert_adjoint(at, given, what)


def first_derivatives(at: Point) -> dict[str, list[Node]]:
    """The results at a point, their change along ``v``, and the gradient of ``u`` times them."""
    return {
        "value": at.results,
        "forward": gn.jvp(at.results, at.wrt, at.v),
        "backward": gn.vjp(at.results, at.wrt, at.u, allow_unused=True),
    }


def _assert_adjoint(at: Point, found: dict[str, list[Array]], what: str) -> None:
    """``<u, J v> = <J' u, v>``"""
    one, other = inner(at.u, found["forward"]), inner(at.v, found["backward"])
    if np.isfinite(one):
        scale = max(1.0, inner(map(np.abs, at.u), map(np.abs, found["forward"])))
        eps = max(float(np.finfo(each.dtype).eps) for each in found["forward"])
        assert abs(one - other) <= MODE_TOLERANCE * eps * scale, (
            f"{what}: <u, Jv> = {one}, but <J'u, v> = {other}"
        )
    else:
        assert not np.isfinite(other), f"{what}: <u, Jv> = {one}, but <J'u, v> = {other}"


@naming_failures
def check_second_order(cases: Sequence[Case], dtype: str) -> None:
    """All four nestings of the two modes agree with differences of the first derivative."""
    some = differentiable(cases, dtype)
    first = [first_derivatives(at) for at in some]
    once = gn.compile(
        inputs_of(some),
        [[*each["forward"], *each["backward"]] for each in first],
        backend="reference",
        optimize="O0",  # as it is written: this is the judge
    )
    nodes = [second_derivatives(at, each) for at, each in zip(some, first, strict=True)]
    twice = gn.compile(inputs_of(some), nodes, backend="reference", verify=True)
    found = twice(*joined([at.arrays for at in some]))
    changes = central_difference(once, some, [at.w for at in some])
    for at, given, change in zip(some, found, changes, strict=True):
        count = len(at.results)
        of_forward, of_backward = change[:count], change[count:]
        assert_agree(given["jvp of jvp"], of_forward, f"{at.case}: forward over forward")
        assert_agree(given["jvp of vjp"], of_backward, f"{at.case}: forward over reverse")
        # A gradient of <u, Jv> is compared along w: the same number for both.
        for nesting, expected in (
            ("vjp of jvp", inner(at.u, of_forward)),
            ("vjp of vjp", inner(at.v, of_backward)),
        ):
            slope = np.array(inner(at.w, given[nesting]))
            assert_agree([slope], [np.array(expected)], f"{at.case}: {nesting}")


def second_derivatives(at: Point, first: dict[str, list[Node]]) -> dict[str, list[Node]]:
    """The derivatives of the first ones, each of both in both modes."""
    forward, backward = first["forward"], first["backward"]
    return {
        "jvp of jvp": gn.jvp(forward, at.wrt, at.w),
        "jvp of vjp": gn.jvp(backward, at.wrt, at.w),
        "vjp of jvp": gn.vjp(forward, at.wrt, at.u, allow_unused=True),
        "vjp of vjp": gn.vjp(backward, at.wrt, at.v, allow_unused=True),
    }


def check_not_vacuous(operation: Operation) -> None:
    """Some sample has a derivative that is not zero, so that the checks above can fail."""
    found = []
    for dtype in precise_dtypes(operation):
        some = differentiable(drawable(operation, dtype), dtype)
        nodes = joined([first_derivatives(at)["backward"] for at in some])
        program = gn.compile(inputs_of(some), nodes, backend="reference", optimize="O0")
        found += program(*joined([at.arrays for at in some]))
    is_flat = not any(np.any(each != 0.0) for each in found)
    assert found, f"{operation.name}: no sample has a derivative"
    assert is_flat == (operation.name in FLAT), f"{operation.name}: every derivative is zero"


def check_no_wrong_derivative(case: Case, dtype: str) -> None:
    """What is not declared differentiable refuses in words, or its derivative is right."""
    (at,) = points([case], dtype)
    if not at.wrt:
        return
    if at.results:
        check_first_order([case], dtype, "reference")
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
    (at,) = points([case], dtype)
    waiting = list(at.outputs)
    if at.wrt and at.results:
        first = first_derivatives(at)
        backward = first["backward"]
        waiting += [*first["forward"], *backward]
        waiting += gn.vjp(backward, at.wrt, at.v, allow_unused=True)
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
