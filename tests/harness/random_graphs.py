"""Random graphs: recipes that hypothesis draws and shrinks, and what every compilation must keep.

A recipe is a few numbers; `build` turns it into a graph in any float dtype, so that the same
graph runs in float64 as the truth, unoptimised on the reference interpreter, and optimised.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
from checks import ULPS
from drawing import Array

import graphnn as gn
from graphnn.core.node import Node

RUNS = 2
"""Calls of a program in a row: the second sees what the first wrote."""

SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan)


class Step(NamedTuple):
    """An operator of the pool on earlier nodes; the numbers are taken modulo what there is."""

    operator: int
    first: int
    second: int
    choice: int


class Leaf(NamedTuple):
    """An array that is fed, or the state of a parameter."""

    shape: tuple[int, ...]
    seed: int
    special: tuple[tuple[int, float], ...]
    is_state: bool


@dataclass(frozen=True)
class Recipe:
    """A graph, what it is fed, and whether it is differentiated."""

    leaves: tuple[Leaf, ...]
    steps: tuple[Step, ...]
    updates: tuple[int, ...]
    with_gradient: bool


@dataclass(frozen=True)
class Built:
    """The graph of a recipe in some dtype."""

    inputs: list[Node]
    feeds: list[Array]
    outputs: list[Node]
    updates: dict[Any, Node]


# ------------------------------------------------------------------------------------ the pool


def _axis(x: Node, choice: int) -> int:
    return choice % x.ndim


def _part(x: Node, choice: int) -> Node:
    size = int(x.shape[_axis(x, choice)])
    index: list[Any] = [slice(None)] * x.ndim
    index[_axis(x, choice)] = slice(choice % size, None, 1 + choice % 2)
    return x[tuple(index)]


def _product(x: Node, y: Node) -> Node:
    return gn.inner(x, y) if x.shape[-1] == y.shape[-1] else gn.inner(x, x)


def _joined(x: Node, y: Node, choice: int) -> Node:
    axis = _axis(x, choice)
    same = x.ndim == y.ndim and all(
        a == b for i, (a, b) in enumerate(zip(x.shape, y.shape, strict=True)) if i != axis
    )
    return gn.concatenate([x, y if same else x], axis)


SMOOTH: tuple[Callable[[Node], Node], ...] = (
    gn.tanh,
    gn.sigmoid,
    gn.sin,
    gn.softplus,
    gn.relu,
    gn.abs,
    gn.negative,
    lambda x: gn.square(gn.tanh(x)),
    lambda x: gn.exp(-gn.abs(x)),
    lambda x: gn.sqrt(gn.square(x) + 1.0),
    gn.stop_gradient,
)
"""Functions that keep their argument about as large as it was."""

REWRITTEN: tuple[Callable[[Node], Node], ...] = (
    lambda x: x * 1.0,
    lambda x: 0.0 + x,
    lambda x: x - 0.0,
    lambda x: gn.negative(gn.negative(x)),
    lambda x: x / 4.0,
    lambda x: x / 3.0,
    lambda x: x**2.0 / (1.0 + x * x),
    lambda x: gn.log(1.0 + gn.abs(x)),
    lambda x: gn.log(gn.sigmoid(x)),
    lambda x: gn.exp(gn.tanh(x)) - 1.0,
    lambda x: gn.sqrt(gn.square(x)),
    lambda x: gn.maximum(x, x),
    lambda x: gn.log(gn.softmax(x, -1)),
    lambda x: gn.log(gn.sum(gn.exp(gn.tanh(x)), -1, keepdims=True)),
    lambda x: gn.where(gn.zeros(x.shape, "bool"), 1.0 / x, x),
    lambda x: (x + 1.0) + 2.0,
    lambda x: (x * 0.25) * 3.0,
)
"""What rewrite rules look for."""

PAIRED: tuple[Callable[[Node, Node], Node], ...] = (
    gn.add,
    gn.subtract,
    lambda x, y: gn.tanh(x) * y,
    lambda x, y: x / (1.0 + gn.square(y)),
    gn.maximum,
    gn.minimum,
    lambda x, y: x + -y,
    lambda x, y: gn.where(x > y, x, y),
)

SHAPED: tuple[Callable[[Node, Node, int], Node], ...] = (
    lambda x, y, c: gn.sum(x, _axis(x, c), keepdims=True),
    lambda x, y, c: gn.mean(x, _axis(x, c), keepdims=True),
    lambda x, y, c: gn.max(x, _axis(x, c), keepdims=True),
    lambda x, y, c: gn.logsumexp(x, _axis(x, c), keepdims=True),
    lambda x, y, c: gn.softmax(x, _axis(x, c)),
    lambda x, y, c: gn.cumsum(x, _axis(x, c), reverse=bool(c % 2)),
    lambda x, y, c: gn.transpose(x),
    lambda x, y, c: gn.transpose(gn.transpose(x)),
    lambda x, y, c: gn.reshape(x, (-1,)),
    lambda x, y, c: gn.flip(x, _axis(x, c)),
    lambda x, y, c: gn.expand_dims(x, 0) if x.ndim < 3 else x[0],
    lambda x, y, c: _part(x, c),
    lambda x, y, c: gn.pad(x, ((c % 2, 1),) + ((0, 0),) * (x.ndim - 1)),
    lambda x, y, c: _joined(x, y, c),
    lambda x, y, c: _product(x, y),
    lambda x, y, c: gn.roll(x, c, _axis(x, c)),
    lambda x, y, c: gn.take(x, np.arange(4) * c % int(x.shape[_axis(x, c)]), _axis(x, c)),
    lambda x, y, c: gn.cast(gn.cast(x, "float64"), x.dtype),
)

OPERATORS = len(SMOOTH) + len(REWRITTEN) + len(PAIRED) + len(SHAPED)
LARGEST = 64  # elements; a step that would make more is left out


def _fits(x: Node, y: Node) -> bool:
    """Whether two nodes broadcast to something small."""
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return int(np.prod(shape)) <= LARGEST


def _apply(step: Step, nodes: Sequence[Node]) -> Node:
    x = nodes[step.first % len(nodes)]
    y = nodes[step.second % len(nodes)]
    number = step.operator % OPERATORS
    for group in (SMOOTH, REWRITTEN):
        if number < len(group):
            return group[number](x)
        number -= len(group)
    if number < len(PAIRED):
        return PAIRED[number](x, y if _fits(x, y) else x)
    return SHAPED[number - len(PAIRED)](x, y, step.choice)


# ------------------------------------------------------------------------------------ building


def values(leaf: Leaf, narrow: Any) -> Array:
    """The values of a leaf, as a narrow dtype can hold them, in float64."""
    array = np.random.default_rng(leaf.seed).uniform(-2.0, 2.0, leaf.shape)
    array = np.asarray(array).astype(narrow).astype(np.float64)
    for place, value in leaf.special:
        array.flat[place % array.size] = value
    return array


def build(recipe: Recipe, dtype: Any, narrow: Any) -> Built:
    """The graph of a recipe in ``dtype``, with values that ``narrow`` holds exactly."""
    leaves: list[Node] = []
    inputs, feeds = [], []
    for number, leaf in enumerate(recipe.leaves):
        array = values(leaf, narrow).astype(dtype)
        if leaf.is_state:
            leaves.append(gn.parameter(array, f"p{number}"))
        else:
            leaves.append(gn.input(f"x{number}", leaf.shape, dtype))
            inputs.append(leaves[-1])
            feeds.append(array)
    nodes = list(leaves)
    for step in recipe.steps:
        made = _apply(step, nodes)
        if 0 < int(made.size) <= LARGEST and made.ndim <= 3:
            nodes.append(gn.reshape(made, (1,)) if made.ndim == 0 else made)
    outputs = nodes[-2:]
    if recipe.with_gradient:
        loss = gn.mean(nodes[-1]) + gn.mean(nodes[-2 % len(nodes)])
        outputs = [*outputs, *gn.grad(loss, leaves, allow_unused=True)]
    updates = {}
    states = [leaf for leaf in leaves if isinstance(leaf, gn.Parameter)]
    for state, choice in zip(states, recipe.updates, strict=False):
        fitting = [each for each in [*nodes, *outputs] if each.shape == state.shape]
        updates[state] = fitting[choice % len(fitting)]
    return Built(inputs, feeds, outputs, updates)


def run(
    recipe: Recipe, narrow: Any, dtype: Any = None, *, backend: str, optimize: str
) -> list[Array]:
    """The results of some calls in a row, and the state that they leave."""
    built = build(recipe, narrow if dtype is None else dtype, narrow)
    program = gn.compile(
        built.inputs,
        built.outputs,
        built.updates,
        backend=backend,
        optimize=optimize,
        verify=True,
    )
    found = [each for _ in range(RUNS) for each in program(*built.feeds)]
    return found + [state.value for state in built.updates]


# ------------------------------------------------------------------------------------ checking


def _classes(array: Array) -> Array:
    """0 where a value is finite, 1 and -1 where it is infinite, 2 where it is NaN."""
    wide = array.astype(np.float64)
    return np.where(np.isnan(wide), 2, np.where(np.isinf(wide), np.sign(wide), 0))


def _rmse(truth: Array, given: Array, where: Array) -> float:
    if not where.any():
        return 0.0
    return float(np.sqrt(np.mean((truth[where] - given[where].astype(np.float64)) ** 2)))


def check_compilation(
    recipe: Recipe, narrow: str, backend: str = "numpy", levels: Sequence[str] = ("O0", "O1", "O2")
) -> None:
    """Optimised programs give what the unoptimised one gives, as nearly as its dtype allows.

    The oracle: ``rmse(fp64, optimised) <= 2 * rmse(fp64, unoptimised) + tol / 10``. NaN and
    infinities stay where they are, except where rounding alone made them.
    """
    truth = run(recipe, narrow, "float64", backend="reference", optimize="O0")
    plain = run(recipe, narrow, backend="reference", optimize="O0")
    for level in levels:
        found = run(recipe, narrow, backend=backend, optimize=level)
        for place, (exact, simple, fast) in enumerate(zip(truth, plain, found, strict=True)):
            what = f"result {place} in {narrow} at {level}"
            arrays = exact, simple, fast  # slow to print: where something is wrong alone
            assert (fast.shape, fast.dtype) == (simple.shape, simple.dtype), (what, arrays)
            certain = _classes(exact) == _classes(simple)
            same = _classes(fast)[certain] == _classes(simple)[certain]
            assert same.all(), (what, arrays)
            finite = certain & np.isfinite(exact)
            largest = float(np.abs(exact[finite]).max(initial=1.0))
            tolerance = ULPS[narrow] * 10.0 * float(ml_dtypes.finfo(narrow).eps) * largest
            allowed = 2.0 * _rmse(exact, simple, finite) + tolerance / 10.0
            assert _rmse(exact, fast, finite) <= allowed, (what, arrays)


# ------------------------------------------------------------------------------------- drawing

_shapes = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)
_special = st.lists(st.tuples(st.integers(0, 26), st.sampled_from(SPECIAL)), max_size=2).map(tuple)
_leaves = st.builds(Leaf, _shapes, st.integers(0, 99), _special, st.booleans())
_steps = st.builds(
    Step,
    st.integers(0, OPERATORS - 1),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 5),
)

recipes = st.builds(
    Recipe,
    st.lists(_leaves, min_size=1, max_size=3).map(tuple),
    st.lists(_steps, min_size=1, max_size=8).map(tuple),
    st.lists(st.integers(0, 20), max_size=3).map(tuple),
    st.booleans(),
)
"""Recipes of up to eight steps on up to three arrays."""
