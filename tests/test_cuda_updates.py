"""How many launches a step of training takes on a GPU, and how sums are divided among blocks."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from cuda_shim import ShimDevice
from device_oracle import TwiceExecutable

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.cuda.code import Part
from graphnn.compiler.cuda.launches import Launch, Step
from graphnn.compiler.cuda.layout import ENOUGH_BLOCKS
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.kernel import Kernel
from graphnn.compiler.unit import Storage


@pytest.fixture(autouse=True)
def shim(monkeypatch: pytest.MonkeyPatch) -> None:
    device = ShimDevice()
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, device))


def launched(program: gn.Program) -> list[tuple[Step, Launch]]:
    steps, _ = steps_of(program.unit)
    return [(step, each) for step in steps for each in step.launches]


# -------------------------------------------------------------------------------------- updates


def perceptron() -> tuple[Any, gn.Node]:
    x = gn.input("x", (128, 784))
    nn = gn.nn
    model = nn.Sequential(nn.Dense(784, 512), nn.ReLU(), nn.Dense(512, 512), nn.Dense(512, 10))
    return model, gn.mean(gn.square(model(x)))


def convolutional() -> tuple[Any, gn.Node]:
    x, nn = gn.input("x", (32, 1, 28, 28)), gn.nn
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.MaxPool(2), nn.Conv2d(6, 16, 5), nn.MaxPool(2), nn.Flatten(),
        nn.Dense(256, 120), nn.Tanh(), nn.Dense(120, 10),
    )  # fmt: skip
    return model, gn.mean(gn.square(model(x)))


def recurrent() -> tuple[Any, gn.Node]:
    x, model = gn.input("x", (32, 6, 64)), gn.nn.LSTM(64, 256)
    return model, gn.mean(gn.square(model(x)))


def deep() -> tuple[Any, gn.Node]:
    x = gn.input("x", (8, 64))
    model = gn.nn.Sequential(*(gn.nn.Dense(64, 64) for _ in range(12)))
    return model, gn.mean(gn.square(model(x)))


OPTIMIZERS = {
    "sgd": lambda: gn.optim.SGD(0.1),
    "momentum": lambda: gn.optim.SGD(0.1, momentum=0.9),
    "adam": lambda: gn.optim.Adam(1e-3),
}


def updating(program: gn.Program, parameters: set[gn.Parameter]) -> list[Launch]:
    """Launches that write parameters, but for sums that write what they have summed up at once."""
    states = program.unit.states
    return [
        launch
        for step, launch in launched(program)
        if any(
            isinstance(each.kernel, Kernel)
            and not each.kernel.reduced
            and any(
                view.buffer.storage is Storage.STATE and states[view.buffer.index] in parameters
                for view in each.outputs
            )
            for each in step.does
        )
    ]


def step_of(make: Callable[[], Any], optimizer: gn.optim.Optimizer, **options: Any) -> Any:
    model, loss = make()
    parameters = model.parameters()
    inputs = [each for each in gn.Graph([], [loss]).nodes if each.op.name == "input"]
    updates = optimizer.minimize(loss, parameters, **options)
    return gn.compile(inputs, loss, updates, backend="cupy"), set(parameters)


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        *((perceptron, each) for each in OPTIMIZERS),
        (convolutional, "momentum"),
        (recurrent, "adam"),
    ],
)
def test_all_updates_are_one_launch(make: Callable[[], Any], optimizer: str) -> None:
    program, parameters = step_of(make, OPTIMIZERS[optimizer]())
    assert len(updating(program, parameters)) == 1


def test_equal_updates_are_one_function() -> None:
    program, parameters = step_of(deep, gn.optim.SGD(0.1))
    (launch,) = updating(program, parameters)
    (code,) = (each for each in steps_of(program.unit)[1] if launch.does in each.parts)
    assert code.source.count("case ") > 9
    assert code.source.count("static __device__") < 6


def test_lengths_of_gradients_take_few_launches() -> None:
    plain, _ = step_of(perceptron, gn.optim.Adam())
    clipped, parameters = step_of(perceptron, gn.optim.Adam(), max_norm=1.0)
    assert len(updating(clipped, parameters)) == 1
    assert len(launched(clipped)) <= len(launched(plain)) + 6


def test_what_reads_much_is_not_kept_for_the_end() -> None:
    """The sum over a large gradient stays where that is made; a memory budget keeps all there."""
    model, _ = deep()
    x = gn.input("x", (4096, 64))
    loss = gn.mean(gn.square(model(x)))
    updates = gn.optim.SGD(0.1).minimize(loss, model.parameters())

    def compiled(**options: Any) -> gn.Program:
        return gn.compile(x, loss, updates, backend="cupy", **options)

    late, early = compiled(), compiled(skip=("postpone_updates",))
    gradients = sum(each.value.nbytes for each in model.parameters())
    assert late.unit.plan.nbytes <= early.unit.plan.nbytes + gradients
    bounded = compiled(memory_budget=1 << 30)
    orders = [[each.node.op for each in program.unit.instructions] for program in (late, bounded)]
    assert orders[0] != orders[1]


# ----------------------------------------------------------------------------------------- sums

SUMS: dict[str, tuple[tuple[int, ...], Callable[[gn.Node], gn.Node]]] = {
    "all of them": ((1 << 26,), gn.sum),
    "of which no number is a factor": (((1 << 26) + 1,), gn.sum),
    "along two axes": ((1 << 16, 1 << 10), gn.sum),
    "of few long rows": ((8, 1 << 23), lambda x: gn.max(x, 1)),
    "of few columns": ((1 << 23, 3), lambda x: gn.sum(x, 0)),
    "of columns": ((1 << 16, 1 << 10), lambda x: gn.sum(x, 0)),
    "of channels": ((256, 64, 56, 56), lambda x: gn.mean(x, (0, 2, 3))),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SUMS)
def test_much_is_summed_up_by_all_processors(name: str, dtype: str) -> None:
    shape, build = SUMS[name]
    x = gn.input("x", shape, dtype)
    found = [launch.does for _, launch in launched(gn.compile(x, build(x), backend="cupy"))]
    assert found[0].blocks >= ENOUGH_BLOCKS
    for before, after in pairwise(found):
        assert after.blocks < before.blocks
    assert len(found) <= 4


def test_sums_in_stages_are_those_of_the_reference() -> None:
    """Equal parts and what is left of them, rows, columns, rows in several axes, half floats."""
    shapes = [(200_003,), (2, 131_072), (70_001, 3), (40, 2, 2_000), (140_000,)]
    inputs = [gn.input(f"x{n}", shape) for n, shape in enumerate(shapes[:-1])]
    half = gn.input("half", shapes[-1], "float16")
    outputs = [gn.sum(inputs[0]), gn.max(inputs[1], 1), gn.mean(inputs[2], 0)]
    outputs += [gn.sum(inputs[3], (0, 2)), gn.sum(half), gn.max(half)]
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=shape).astype("float32") for shape in shapes[:-1]]
    feeds.append(rng.integers(-3, 4, shapes[-1]).astype("float16"))
    program = gn.compile([*inputs, half], outputs, backend="cupy")
    assert sum(isinstance(launch.does, Part) for _, launch in launched(program)) > len(outputs)
    exact = [each.astype("float64") for each in feeds]
    expected = [exact[0].sum(), exact[1].max(1), exact[2].mean(0), exact[3].sum((0, 2))]
    expected += [exact[4].sum(), exact[4].max()]
    for one, other in zip(program(*feeds), expected, strict=True):
        np.testing.assert_allclose(one.astype("float64"), other, rtol=1e-5, atol=1e-4)
