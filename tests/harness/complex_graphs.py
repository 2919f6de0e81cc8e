"""Random graphs of complex numbers, on which a rewrite rule that assumes real ones would be wrong.

A recipe is a few numbers; `build` turns it into a graph of complex128 arrays of one shape.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
from drawing import Array

import graphnn as gn
from graphnn.core.node import Node

SHAPE = (2, 3)
TURNED = 0.6 + 0.8j
"""A factor that brings numbers on an axis off it: there, the sign of a zero decides between the
sides of a cut, and rules may change that."""

NUDGE, SENSITIVE, TOLERANCE = 1e-9, 1e-5, 1e-8
"""Relative: how far inputs are moved, a change of the result that shows a cut or a pole nearby,
and how much programs may differ elsewhere."""


class Step(NamedTuple):
    """An operator of the pool on earlier nodes; the numbers are taken modulo what there is."""

    operator: int
    first: int
    second: int


class Recipe(NamedTuple):
    """A graph of complex numbers, and whether it is differentiated."""

    seed: int
    steps: tuple[Step, ...]
    with_gradient: bool


def _as_complex(x: Node) -> Node:
    return gn.cast(x, "complex128")


ONE: tuple[Callable[[Node], Node], ...] = (
    gn.conj,
    gn.negative,
    gn.square,
    gn.tanh,
    gn.sin,
    lambda z: gn.conj(gn.conj(z)),
    lambda z: gn.complex(gn.abs(z), gn.imag(z)),
    lambda z: gn.complex(gn.angle(z * TURNED), gn.real(z)),
    lambda z: z * 1.0,
    lambda z: z * -1.0,
    lambda z: 0.0 + z,
    lambda z: 0.0 - z,
    lambda z: z / 1.0,
    lambda z: z / 4.0,
    lambda z: z / 3.0,
    lambda z: z**2,
    lambda z: (z + 2.0) ** -1.0,
    lambda z: gn.negative(gn.negative(z)),
    lambda z: -(z - gn.conj(z)),
    lambda z: z / (3.0 + 4.0j),
    lambda z: z / 4.0j,
    lambda z: (z + 1.0j) + 2.0,
    lambda z: (z * (0.25 - 1.0j)) * (3.0 + 0.5j),
    lambda z: gn.reciprocal(gn.reciprocal(z + 2.0)),
    lambda z: gn.sqrt(gn.square(z * TURNED)),
    lambda z: gn.reciprocal(gn.sqrt(z * TURNED)),
    lambda z: gn.exp(z * TURNED) ** 0.5,
    lambda z: _as_complex(gn.abs(gn.square(z))) * TURNED,
    lambda z: _as_complex(gn.square(gn.abs(z))) * TURNED,
    lambda z: _as_complex(gn.abs(-z) ** 0.5) * TURNED,
    lambda z: _as_complex(gn.abs(gn.abs(z))) * TURNED,
    lambda z: gn.log(gn.exp(4.0 * z * TURNED)),
    lambda z: gn.exp(gn.log(z * TURNED)),
    lambda z: gn.log(1.0 + z * TURNED),
    lambda z: gn.log(1.0 - z * TURNED),
    lambda z: gn.log(gn.exp(z * TURNED) + gn.exp(1.0 - z)),
    lambda z: gn.exp(z) - 1.0,
    lambda z: 1.0 / gn.exp(z),
    lambda z: 1.0 / (1.0 + gn.exp(-z * TURNED)),
    lambda z: gn.exp(z * TURNED) / gn.sum(gn.exp(z * TURNED), -1, keepdims=True),
    lambda z: (gn.exp(z) - gn.exp(-z)) / (3.0 + gn.exp(z) + gn.exp(-z)),
    lambda z: gn.cast(gn.cast(gn.imag(z), "float64"), "complex128") * TURNED,
    lambda z: gn.flip(gn.flip(z, 0), 1),
    lambda z: gn.reshape(gn.reshape(z, (3, 2)), SHAPE),
    lambda z: z + gn.sum(gn.broadcast_to(gn.sum(z), SHAPE), 0),
    lambda z: z - gn.mean(z, 1, keepdims=True),
    lambda z: gn.cumsum(z, 1),
    lambda z: gn.roll(z, 1, 1),
    lambda z: gn.fft(z),
    lambda z: gn.ifft(z, axis=0),
    lambda z: gn.irfft(z, 3, norm="ortho") + 1j * gn.imag(z),
)
"""What rules look for, and what surrounds it; every result is complex and of the same shape."""

TWO: tuple[Callable[[Node, Node], Node], ...] = (
    gn.add,
    gn.subtract,
    gn.multiply,
    lambda x, y: x + -y,
    lambda x, y: x - -y,
    lambda x, y: -x * -y,
    lambda x, y: -x / -(y + 3.0),
    lambda x, y: gn.where(gn.abs(x) > gn.abs(y), x, y),
    lambda x, y: gn.complex(gn.real(x), gn.imag(y)),
    lambda x, y: gn.matmul(x, gn.matmul(gn.conj(x).T, y)),
)

OPERATORS = len(ONE) + len(TWO)


def _apply(step: Step, nodes: Sequence[Node]) -> Node:
    x, y = nodes[step.first % len(nodes)], nodes[step.second % len(nodes)]
    number = step.operator % OPERATORS
    return ONE[number](x) if number < len(ONE) else TWO[number - len(ONE)](x, y)


def build(recipe: Recipe) -> tuple[list[Node], list[Node]]:
    """The inputs and the outputs of a recipe."""
    leaves = [gn.input(name, SHAPE, "complex128") for name in "ab"]
    nodes = list(leaves)
    for step in recipe.steps:
        nodes.append(_apply(step, nodes))
    outputs = nodes[-2:]
    if recipe.with_gradient:
        loss = gn.mean(gn.square(gn.abs(nodes[-1]))) + gn.real(gn.mean(nodes[-2]))
        outputs = [*outputs, *gn.grad(loss, leaves, allow_unused=True)]
    return leaves, outputs


def feeds(recipe: Recipe) -> list[Array]:
    """Values for the inputs."""
    generator = np.random.default_rng(recipe.seed)
    return [np.asarray(generator.normal(size=(*SHAPE, 2)) @ [1.0, 1.0j]) for _ in range(2)]


def check_compilation(recipe: Recipe) -> bool:
    """Optimised programs give what the interpreter gives; False near poles and cuts."""
    inputs, outputs = build(recipe)
    arrays = feeds(recipe)
    plain = gn.compile(inputs, outputs, backend="reference", optimize="O0", verify=True)
    expected, nudged = plain(*arrays), plain(*(array * (1.0 + NUDGE) for array in arrays))
    for one, other in zip(expected, nudged, strict=True):
        if not _distance(one, other) <= SENSITIVE:  # also where it is NaN
            return False
    for optimize in ("O0", "O1", "O2"):
        found = gn.compile(inputs, outputs, optimize=optimize, verify=True)(*arrays)
        for one, other in zip(expected, found, strict=True):
            assert _distance(one, other) <= TOLERANCE, f"{optimize}: {one} and {other}"
    return True


def _distance(one: Array, other: Any) -> float:
    """The largest difference, relative to the largest value."""
    with np.errstate(invalid="ignore"):
        return float(np.abs(one - other).max() / max(1.0, np.abs(one).max()))


_steps = st.builds(Step, st.integers(0, OPERATORS - 1), st.integers(0, 9), st.integers(0, 9))

recipes = st.builds(
    Recipe,
    st.integers(0, 99),
    st.lists(_steps, min_size=1, max_size=5).map(tuple),
    st.booleans(),
)
"""Recipes of up to five steps on two arrays."""
