"""skip_padding: rounds of padding alone are not computed, and all results stay bit for bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawing import Array

import graphnn as gn
from graphnn.compiler.native.calls import Call, Fork
from graphnn.compiler.native.partition import Begin, partition
from graphnn.compiler.regions import Loop
from graphnn.compiler.unit import Branch
from graphnn.core.node import Node

STEPS, ROWS, FEATURES, HIDDEN = 9, 8, 16, 96


@pytest.fixture(autouse=True)
def seeded() -> None:
    gn.seed(0)


def inputs() -> tuple[Node, Node]:
    return gn.input("x", (STEPS, ROWS, FEATURES)), gn.input("lengths", (ROWS,), "int64")


def branches(program: gn.Program) -> list[Branch]:
    return [each for each in program.unit.regions if isinstance(each, Branch)]


def products_in(program: gn.Program, branch: Branch) -> int:
    part = program.instructions[branch.begin : branch.end]
    return sum(each.label.startswith(("gemm", "conv")) or "matmul" in each.label for each in part)


def outcomes(made: Callable[..., Any], *fed: Array) -> list[bytes]:
    return [np.asarray(each).tobytes() for each in made(*fed)]


FED = {
    "short": np.array([2, 3, 1, 0, 2, 3, 3, 1]),
    "full": np.full(ROWS, STEPS),
    "one row": np.array([0, 0, STEPS - 1, 0, 0, 0, 0, 0]),
    "none": np.zeros(ROWS, "int64"),
}

NETS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: gn.nn.LSTM(FEATURES, HIDDEN, return_sequences=True),
    "backwards": lambda: gn.nn.GRU(FEATURES, HIDDEN, reverse=True),
    "deep": lambda: gn.nn.GRU(FEATURES, HIDDEN, num_layers=2, bidirectional=True),
    "peephole": lambda: gn.nn.LSTM(FEATURES, HIDDEN, peephole=True, projection=64),
    "norm": lambda: gn.nn.LSTM(FEATURES, HIDDEN, layer_norm=True, return_sequences=True),
    "outputs": lambda: gn.nn.Jordan(FEATURES, HIDDEN, 80, return_sequences=True),
    "learned": lambda: gn.nn.SimpleRNN(FEATURES, 128, learned_state=True, return_state=True),
}


@pytest.mark.parametrize("name", NETS)
def test_results_and_gradients_are_those_without_it(name: str) -> None:
    """Whatever the lengths; both loops of training are made of rounds that can be skipped."""
    net = NETS[name]()
    x, lengths = inputs()
    results = gn.core.structure.flatten(net(x, lengths=lengths))
    loss = sum(gn.mean(gn.sin(each)) for each in results)
    outputs = [*results, *gn.grad(loss, [*net.parameters(), x], allow_unused=True)]
    program = gn.compile([x, lengths], outputs, verify=True)
    plain = gn.compile([x, lengths], outputs, skip="skip_padding")
    assert branches(plain) == []
    computing = [each for each in branches(program) if each.when]
    n_loops = len(program.loops)
    assert n_loops >= 2
    assert len(computing) == n_loops
    assert all(products_in(program, each) for each in computing)
    fed = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    for counts in FED.values():
        for one, other in zip(program(fed, counts), plain(fed, counts), strict=True):
            np.testing.assert_array_equal(one, other)


def test_masks_need_not_end_with_padding() -> None:
    """Any round of padding alone is skipped, wherever it stands."""
    net = gn.nn.LSTM(FEATURES, HIDDEN, return_sequences=True)
    x, mask = gn.input("x", (STEPS, ROWS, FEATURES)), gn.input("mask", (STEPS, ROWS), "bool")
    y = net(x, mask=mask)
    outputs = [y, *gn.grad(gn.sum(y**2), net.parameters())]
    real = np.random.default_rng(1).random((STEPS, ROWS)) < 0.3
    real[[0, 3, 4, 8]] = False
    fed = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    fed[~real] = np.nan
    program = gn.compile([x, mask], outputs)
    assert len(branches(program)) == 4
    made = outcomes(program, fed, real)
    assert made == outcomes(gn.compile([x, mask], outputs, skip="skip_padding"), fed, real)


def test_what_is_skipped_is_not_computed() -> None:
    """A step that cannot be computed from padding is none of those that are."""
    x, real = gn.input("x", (STEPS, ROWS, 96)), gn.input("real", (STEPS, ROWS), "bool")
    weight = gn.parameter(np.eye(96, dtype="float32"))

    def step(h: Node, element: Any) -> Any:
        x, real = element
        # Of a row that is 0, the number is beyond the end of what it is taken from.
        number = gn.cast(gn.where(gn.max(x) > 0, 0, 5), "int64")
        new = gn.tanh(x + h @ weight) * gn.take(gn.ones(3), number)
        return (gn.where(real[:, None], new, h),) * 2

    last, _ = gn.scan(step, gn.zeros((ROWS, 96)), (x, real))
    fed, kept = np.ones((STEPS, ROWS, 96), "float32"), np.ones((STEPS, ROWS), bool)
    fed[4:], kept[4:] = 0, False
    found = gn.compile([x, real], last)(fed, kept)
    h = np.zeros(())
    for _ in range(4):
        h = np.tanh(1 + h)
    np.testing.assert_allclose(found, np.full((ROWS, 96), h), rtol=1e-6)
    with pytest.raises(gn.FeedError, match="out of range"):
        gn.compile([x, real], last, skip="skip_padding")(fed, kept)


@pytest.mark.parametrize("change", ["carry", "result", "kept", "small", "unmasked"])
def test_what_does_not_qualify_stays(change: str) -> None:
    """Carries that padding changes, results of it that are read, steps with little to do."""
    size = 8 if change == "small" else HIDDEN
    x, real = gn.input("x", (STEPS, ROWS, size)), gn.input("real", (STEPS, ROWS), "bool")
    weight = gn.parameter(np.full((size, size), 0.01, "float32"))

    def step(carry: Any, element: Any) -> Any:
        h, count = carry
        x, real = element
        new = gn.tanh(x + h @ weight)
        after = new if change == "unmasked" else gn.where(real[:, None], new, h)
        count = count + (1 if change == "carry" else gn.sum(real))
        return (after, count), new + 1 if change == "result" else gn.sigmoid(new) * 0

    zeros = gn.zeros((ROWS, size))
    (last, count), ys = gn.scan(step, (zeros, gn.zeros((), "int64")), (x, real))
    outputs = [last, count, *([ys] if change == "result" else [])]
    if change == "kept":  # in training, and by another reader
        outputs += [gn.grad(gn.sum(last), weight), gn.max(ys)]
    program = gn.compile([x, real], outputs)
    assert bool(branches(program)) == (change == "kept")
    rng = np.random.default_rng(0)
    fed, kept = rng.normal(size=x.shape).astype("float32"), np.zeros((STEPS, ROWS), bool)
    kept[:3] = True
    made = outcomes(program, fed, kept)
    assert made == outcomes(gn.compile([x, real], outputs, skip="skip_padding"), fed, kept)


@pytest.mark.parametrize("count", [2, 4])
def test_threads(count: int) -> None:
    """They all go the same way, and results are those of one."""
    net = gn.nn.LSTM(FEATURES, 256, return_sequences=True)
    x, lengths = gn.input("x", (STEPS, 64, FEATURES)), gn.input("lengths", (64,), "int64")
    y = net(x, lengths=lengths)
    outputs = [y, *gn.grad(gn.mean(y**2), net.parameters())]
    rng = np.random.default_rng(0)
    fed, counts = rng.normal(size=x.shape).astype("float32"), rng.integers(0, 5, 64)
    wanted = outcomes(gn.compile([x, lengths], outputs, skip="skip_padding"), fed, counts)
    before = gn.get_num_threads()
    gn.set_num_threads(count)
    try:
        program = gn.compile([x, lengths], outputs)
        assert all(outcomes(program, fed, counts) == wanted for _ in range(5))
    finally:
        gn.set_num_threads(before)


def test_threads_meet_no_more_often() -> None:
    """Two forks of which one is taken, in a loop: as many barriers as without the other one."""

    def call(reads: int, writes: int, cost_ns: float) -> Call:
        return Call(1, 8, (), ((reads, reads + 8),), ((writes, writes + 8),), cost_ns)

    test = Call(0, 0, (900,), ((900, 901),))
    calls = [call(0, 100, 1e5), call(100, 0, 1e5), call(500, 0, 10.0)]
    computing = Fork(0, 2, test, when=True)

    def program(*forks: Fork) -> list[Any]:
        used = calls[: 3 if forks else 2]
        programs = partition(used, 2, regions=[Loop(0, len(used), 50), *forks])
        assert len(programs) == 2
        return programs[0]

    plain = program().count("barrier")
    assert program(computing, Fork(2, 3, test, when=False)).count("barrier") == plain
    # What reads what the first one wrote, in any case, meets it.
    other = Call(0, 0, (901,), ((901, 902),))
    assert program(computing, Fork(2, 3, other, when=False)).count("barrier") == plain + 1
    steps = program(computing, Fork(2, 3, test, when=False))
    assert sum(isinstance(each, Begin) for each in steps) >= 2
