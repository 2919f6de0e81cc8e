"""Programs to hold against the oracle, on their own or in a process of their own.

``python native_oracle.py`` checks a sample of everything, for a processor that the environment
names.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # as pytest does
    sys.path[:0] = [str(Path(__file__).parent)]

import numpy as np
from checks import check_forward, check_special
from drawing import Array, cases, is_drawable
from hypothesis import HealthCheck, given, settings
from random_graphs import Recipe, check_compilation, recipes

import graphnn as gn
from graphnn.ops.contract import OPERATIONS
from graphnn.ops.elementwise import ElementwiseOp


def some_recipes(count: int) -> list[Recipe]:
    """The same random recipes every time, with a gradient and state updates or without."""
    found: list[Recipe] = []

    @settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=count,
        suppress_health_check=list(HealthCheck),
    )
    @given(recipes)
    def draw(recipe: Recipe) -> None:
        found.append(recipe)

    draw()
    return found


def weights(dtype: str, *shapes: tuple[int, ...]) -> list[gn.Parameter]:
    """Parameters whose values every dtype has."""
    rng = np.random.default_rng(7)
    drawn = [rng.normal(size=shape, scale=0.3).astype("float32") for shape in shapes]
    return [gn.parameter(each, dtype=dtype) for each in drawn]


def perceptron(dtype: str, backend: str = "numpy") -> gn.Program:
    """A step of training a perceptron on integer labels."""
    x, label = gn.input("x", (24, 20), dtype), gn.input("label", (24,), "int64")
    first, bias, second, scale = parameters = weights(dtype, (20, 33), (33,), (33, 7), (33,))
    hidden = gn.layer_norm(gn.relu(x @ first + bias)) * scale
    return _step(hidden @ second, parameters, x, label, backend)


def convolutional(dtype: str, backend: str = "numpy") -> gn.Program:
    """A step of training a convolutional net on integer labels."""
    x, label = gn.input("x", (6, 2, 12, 12), dtype), gn.input("label", (6,), "int64")
    kernel, bias, last = parameters = weights(dtype, (5, 2, 3, 3), (5, 1, 1), (180, 7))
    seen = gn.tanh(gn.conv(x, kernel, padding="same") + bias)
    pooled = gn.reshape(gn.max_pool(seen, 2), (6, 180))
    return _step(pooled @ last, parameters, x, label, backend)


def _step(
    scores: gn.Node,
    parameters: list[gn.Parameter],
    x: gn.Node,
    label: gn.Node,
    backend: str,
) -> gn.Program:
    loss = gn.losses.cross_entropy(scores, label)
    updates = gn.optim.Adam(1e-2).minimize(loss, parameters)
    return gn.compile([x, label], loss, updates, backend=backend)


def feeds_of(program: gn.Program, seed: int = 0) -> list[Array]:
    """Values for the inputs of a step."""
    rng = np.random.default_rng(seed)
    x, label = program.inputs
    labels = rng.integers(0, 7, label.shape)
    if x.dtype == label.dtype:
        return [rng.integers(0, 7, x.shape), labels]
    return [rng.normal(size=x.shape).astype("float32").astype(x.dtype), labels]


def train(program: gn.Program, steps: int = 3) -> list[Array]:
    """The losses of some steps and the parameters after them."""
    losses = [program(*feeds_of(program, seed)) for seed in range(steps)]
    return losses + [each.value for each in program.updates]


def rmse(truth: Array, given: Array) -> float:
    """The root of the mean square error."""
    return float(np.sqrt(np.mean((truth - given.astype("float64")) ** 2)))


def check_training(make, backend="numpy") -> None:
    """``rmse(fp64, fused) <= 2 * rmse(fp64, unfused) + tol / 10`` for all that a step gives."""
    truth = train(make("float64", "reference"))
    plain = train(make("float32", "reference"))
    found = train(make("float32", backend))
    assert len(truth) == len(found) > 8
    for exact, simple, fast in zip(truth, plain, found, strict=True):
        tolerance = 64 * 2.0**-23 * max(1.0, float(np.abs(exact).max()))
        assert rmse(exact, fast) <= 2.0 * rmse(exact, simple) + tolerance / 10


def check_sample() -> None:
    """Every thirtieth case of the table, special values, random graphs and both nets."""
    numbered = [case for case in cases() if is_drawable(case.sample, "float32")]
    chosen = [case for case in numbered[::30] if "f" in case.operation.dtypes]
    check_forward(chosen, "float32", "numpy")
    elementwise = [
        each
        for each in OPERATIONS.values()
        if isinstance(each.function, ElementwiseOp) and "f" in each.dtypes
    ]
    for operation in elementwise[::6]:
        check_special(operation, "float32", "numpy")
    for recipe in some_recipes(15):
        check_compilation(recipe, "float32")
    for make in (perceptron, convolutional):
        check_training(make)


if __name__ == "__main__":
    from graphnn.compiler.native.target import host_target

    check_sample()
    print(host_target().cpu, "is right")
