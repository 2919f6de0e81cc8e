"""Random programs of conds, while loops and scans within each other, on every executor."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from drawing import Array
from looping import EXECUTORS

import graphnn as gn
from graphnn.compiler.native import partition
from graphnn.core.errors import UnsupportedOpError
from graphnn.core.node import Node

SIZE = 4
ELEMENTWISE: tuple[Callable[[Node, Node], Node], ...] = (
    lambda a, b: gn.tanh(a + b),
    lambda a, b: gn.sin(a * b),
    lambda a, b: a * 0.5 - b,
    gn.maximum,
    lambda a, b: gn.tanh(a[::-1]) * b[0],
    lambda a, b: gn.tanh(gn.outer(a, b) @ a),
)


class Writer:
    """Writes an expression of some vectors; the same one again for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def among(self, values: Sequence[Any]) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def seed(self) -> int:
        return int(self.rng.integers(1 << 30))

    def formula(self, vectors: Sequence[Node], length: int = 2) -> Node:
        """Without control flow."""
        found = list(vectors)
        for _ in range(length):
            found.append(self.among(ELEMENTWISE)(self.among(found), self.among(found)))
        return found[-1]

    def flag(self, vectors: Sequence[Node]) -> Node:
        v = self.among(vectors)
        flag: Node = self.among([v[0] > 0.0, gn.sum(v) > 0.1, gn.any(v > 0.5), v[1] < v[0]])
        return flag

    def vector(self, vectors: Sequence[Node], depth: int) -> Node:
        """With control flow of some depth."""
        if depth == 0:
            return self.formula(vectors)
        x = self.formula(vectors, 1)
        kind = self.among([self.cond, self.loop, self.bounded, self.scan])
        made: Node = kind(x, [*vectors, x], depth - 1)
        return made

    def cond(self, x: Node, vectors: Sequence[Node], depth: int) -> Node:
        seeds = self.seed(), self.seed()

        def branch(seed: int) -> Callable[..., Any]:
            def side(a: Node, b: Node) -> Any:
                writer = Writer(seed)
                made = writer.vector([*vectors, a, b], depth)
                return made, writer.among([a, b, made, writer.formula([a, made])])

            return side

        results = gn.cond(self.flag(vectors), *map(branch, seeds), x, vectors[0])
        one: Node = self.among([*results, gn.tanh(results[0] + results[1])])
        return one

    def loop(self, x: Node, vectors: Sequence[Node], depth: int, bound: int | None = None) -> Node:
        seed, most, limit = self.seed(), self.among([0, 1, 3]), self.among([0.5, 2.0, 100.0])

        def body(state: Any) -> Any:
            number, a, b = state
            writer = Writer(seed)
            made = writer.vector([a, b, vectors[0]], depth)
            return number + 1, made, writer.among([a, b, gn.sin(b)])

        number, a, b = gn.while_loop(
            lambda s: gn.logical_and(s[0] < most, gn.sum(s[1]) < limit),
            body,
            (0, x, vectors[0]),
            bound=bound,
        )
        return gn.tanh(a - b * gn.cast(number, "float64"))

    def bounded(self, x: Node, vectors: Sequence[Node], depth: int) -> Node:
        return self.loop(x, vectors, depth, bound=self.among([1, 2, 4]))

    def scan(self, x: Node, vectors: Sequence[Node], depth: int) -> Node:
        seed = self.seed()

        def step(carry: Node, element: Node) -> Any:
            writer = Writer(seed)
            made = writer.vector([carry, element, vectors[0]], depth)
            return made, writer.among([made, carry, gn.sin(made)])

        elements = gn.stack([vectors[0] * 0.3, x * 0.7, vectors[-1]])
        last, ys = gn.scan(step, x, elements, reverse=self.among([True, False]))
        made: Node = self.among([last, last + gn.sum(ys, 0)])
        return made


def program_of(seed: int) -> tuple[list[Node], list[Node], list[Array]]:
    """Inputs; values, tangents and, where all loops have a bound, gradients; what to feed."""
    x, w = (gn.input(name, (SIZE,), "float64") for name in "xw")
    y = Writer(seed).vector([x, w], 2)
    loss = gn.sum(gn.sin(y))
    directions = [gn.constant(np.linspace(-1, 1, SIZE)), gn.ones(SIZE, "float64")]
    outputs = [y, gn.jvp(loss, [x, w], directions)]
    with suppress(UnsupportedOpError):
        outputs += gn.grad(loss, [x, w], allow_unused=True)
    rng = np.random.default_rng(seed)
    return [x, w], outputs, [rng.normal(size=SIZE) for _ in range(2)]


@pytest.mark.parametrize("seed", range(8))
def test_executors_agree(seed: int) -> None:
    inputs, outputs, arrays = program_of(seed)
    expected: Any = None
    for options in EXECUTORS.values():
        program = gn.compile(inputs, outputs, verify=True, **options)
        for _ in range(2):
            found = program(*arrays)
            expected = expected or found
            for got, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9, err_msg=str(options))


@pytest.mark.parametrize("seed", range(20, 24))
def test_threads_go_the_same_way(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three threads, between which even the smallest call is divided."""
    monkeypatch.setattr(partition, "SPLIT_NS", 0.2)
    monkeypatch.setattr(partition, "ALONE_NS", 0.0)
    monkeypatch.setattr(partition, "LEAST_GAIN", 1e9)
    before = gn.get_num_threads()
    gn.set_num_threads(3)
    try:
        inputs, outputs, arrays = program_of(seed)
        expected = gn.compile(inputs, outputs, backend="reference")(*arrays)
        program = gn.compile(inputs, outputs, verify=True)
        for _ in range(50):
            for got, wanted in zip(program(*arrays), expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
    finally:
        gn.set_num_threads(before)
