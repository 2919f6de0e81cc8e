"""The default stream within loops: every step draws numbers of its own, the same in all forms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.graph import topological_order
from graphnn.ops.scan_primitive import SCAN
from graphnn.ops.while_loops import WHILE

STEPS = 5


def built(build: Callable[[], Any], *, feeds: Any = None, **options: Any) -> Any:
    """What is drawn by a graph that is built and called as the first one."""
    gn.seed(3)
    results = build()
    inputs = list(feeds or {})
    return gn.compile(inputs, results, **options)(*(feeds or {}).values())


def drawing(carry: Any, _: Any) -> tuple[Any, gn.Node]:
    return carry, gn.random.uniform(shape=(2,))


def dropping(h: gn.Node, x: gn.Node) -> tuple[gn.Node, gn.Node]:
    h = gn.tanh(x + h * 0.5) * gn.random.dropout_mask(None, 0.5, h.shape, "float64")
    return h, h


def nested(total: gn.Node, x: gn.Node, loop: Any) -> tuple[gn.Node, gn.Node]:
    noise = gn.random.normal(shape=(2,))
    total, inner = loop(lambda c, _: (c + gn.random.uniform(shape=(2,)), c * x), total, length=3)
    return total + noise, inner


def nested_in(loop: Any) -> Callable[[], Any]:
    x = gn.constant(np.arange(1.0, 1.0 + STEPS), "float32")
    return lambda: list(loop(lambda c, e: nested(c, e, loop), gn.zeros(2), x))


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"truncate": (2, 3)}], ids=str)
def test_every_step_draws_its_own_and_scan_draws_what_unroll_does(options: Any) -> None:
    as_scan, written_out = (
        built(lambda loop=loop: loop(drawing, gn.zeros(()), length=STEPS, **options)[1])
        for loop in (gn.scan, gn.unroll)
    )
    assert len(np.unique(as_scan)) == 2 * STEPS
    np.testing.assert_array_equal(as_scan, written_out)


def test_the_number_of_a_step_is_that_of_its_element() -> None:
    forward, backward = (
        built(lambda way=way: gn.scan(drawing, 0.0, length=STEPS, reverse=way)[1])
        for way in (False, True)
    )
    np.testing.assert_array_equal(forward, backward)


def test_nested_loops_draw_in_every_step_of_both() -> None:
    as_scan, written_out = (built(nested_in(loop)) for loop in (gn.scan, gn.unroll))
    for one, other in zip(as_scan, written_out, strict=True):
        np.testing.assert_array_equal(one, other)
    drawn = built(
        lambda: gn.scan(lambda c, _: (c, gn.scan(drawing, 0.0, length=3)[1]), 0.0, length=STEPS)[1]
    )
    assert len(np.unique(drawn)) == drawn.size == STEPS * 3 * 2


def test_places_differ_within_a_step_and_around_it() -> None:
    def several() -> list[gn.Node]:
        def step(c: gn.Node, _: Any) -> tuple[gn.Node, Any]:
            return c, (gn.random.uniform(shape=(2,)), gn.random.uniform(shape=(2,)))

        before = gn.random.uniform(shape=(2,))
        _, (one, other) = gn.scan(step, 0.0, length=STEPS)
        _, inner = gn.scan(lambda c, _: (c, gn.scan(drawing, 0.0, length=2)[1]), 0.0, length=3)
        return [before, one, other, inner, gn.random.uniform(shape=(2,))]

    drawn = np.concatenate([each.ravel() for each in built(several)])
    assert len(np.unique(drawn)) == drawn.size


def test_calls_differ_and_a_seed_begins_anew() -> None:
    gn.seed(3)
    program = gn.compile([], gn.scan(drawing, 0.0, length=STEPS)[1])
    first, second = program(), program()
    assert len(np.unique([first, second])) == first.size * 2
    gn.seed(3)
    np.testing.assert_array_equal(program(), first)


def test_explicit_keys_are_left_alone() -> None:
    key = gn.random.key(7)

    def step(c, _):
        return c, gn.random.uniform(key, (2,))

    (drawn,) = {row.tobytes() for row in built(lambda: gn.scan(step, 0.0, length=STEPS)[1])}
    assert drawn == gn.evaluate(gn.random.uniform(key, (2,))).tobytes()
    kept = gn.random.default_key()

    def with_kept_key(c, _):
        return c, gn.random.uniform(kept, (2,))

    assert len(np.unique(gn.evaluate(gn.scan(with_kept_key, 0.0, length=STEPS)[1]), axis=0)) == 1


def test_a_loop_without_random_numbers_is_as_before() -> None:
    def after(build: Callable[[], Any]) -> Any:
        def both() -> gn.Node:
            build()
            return gn.random.uniform(shape=(3,))

        return built(both)

    def loops() -> None:
        total, _ = gn.scan(lambda c, _: (c + 1.0, None), gn.zeros(2), length=STEPS)
        (scan,) = (each for each in topological_order([total]) if each.op is SCAN)
        assert scan.attrs["n_xs"] == 0
        rounds = gn.while_loop(lambda c: c < 3, lambda c: c + 1, 0)
        (loop,) = (each for each in topological_order([rounds]) if each.op is WHILE)
        assert loop.attrs["n_carry"] == 1
        gn.unroll(lambda c, _: (c + 1.0, None), gn.zeros(2), length=STEPS)

    np.testing.assert_array_equal(after(loops), after(lambda: None))


def test_a_function_that_runs_while_a_step_is_traced_has_its_own_graph() -> None:
    noisy = gn.function(lambda x: x + gn.random.uniform(shape=(2,)))
    fixed = np.zeros(2, "float32")
    drawn = built(lambda: gn.scan(lambda c, _: (c, noisy(fixed)), 0.0, length=STEPS)[1])
    assert len(np.unique(drawn, axis=0)) == 1
    x = gn.constant(fixed)  # of nodes it is a part of the step
    drawn = built(lambda: gn.scan(lambda c, _: (c, noisy(x)), 0.0, length=STEPS)[1])
    assert len(np.unique(drawn, axis=0)) == STEPS


# ------------------------------------------------------------------------------------ derivatives

X = np.random.default_rng(0).normal(size=(12, 4))


def dropped(loop: Any, x: gn.Node, **options: Any) -> list[gn.Node]:
    h0 = gn.constant(np.ones(4))
    _, ys = loop(dropping, h0, x, **options)
    (tangent,) = gn.jvp([ys], [x], [gn.ones_like(x)])
    return [ys, gn.grad(gn.sum(ys**2), x), tangent]


@pytest.mark.parametrize("skip", [(), ("reroll",)], ids=["rerolled", "written out"])
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"truncate": (3, 4)}], ids=str)
def test_ways_back_and_tangents_see_the_masks_of_the_way_there(options: Any, skip: Any) -> None:
    x = gn.input("x", shape=X.shape, dtype="float64")
    as_scan, written_out = (
        built(lambda loop=loop: dropped(loop, x, **options), feeds={x: X}, skip=skip)
        for loop in (gn.scan, gn.unroll)
    )
    ys, dx, tangent = as_scan
    for one, other in zip(as_scan, written_out, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    masks = ys != 0
    assert len(np.unique(masks, axis=0)) > 6
    assert 0.3 < masks.mean() < 0.7
    if not options:
        _check_against_formulas(masks, ys, dx, tangent)


def _check_against_formulas(masks: Any, ys: Any, dx: Any, tangent: Any) -> None:
    """The recurrence and both derivatives in NumPy, with the masks that were drawn."""
    factors = 2.0 * masks
    h, dh = np.ones(4), np.zeros(4)
    slopes = []
    for x, factor, y, dy in zip(X, factors, ys, tangent, strict=True):
        value = np.tanh(x + 0.5 * h)
        slopes.append(factor * (1 - value**2))
        h, dh = factor * value, slopes[-1] * (1 + 0.5 * dh)
        np.testing.assert_allclose(y, h, rtol=1e-12)
        np.testing.assert_allclose(dy, dh, rtol=1e-12)
    back = np.zeros(4)
    for t in reversed(range(len(X))):
        cotangent = (2 * ys[t] + back) * slopes[t]
        np.testing.assert_allclose(dx[t], cotangent, rtol=1e-12)
        back = 0.5 * cotangent


def test_an_unrolled_loop_with_dropout_becomes_a_scan() -> None:
    x = gn.input("x", shape=(40, 4), dtype="float64")
    w = gn.constant(np.full((4, 4), 0.3))

    def step(h: gn.Node, e: gn.Node) -> tuple[gn.Node, gn.Node]:
        h = gn.tanh(e + h @ w) * gn.random.dropout_mask(None, 0.5, (4,), "float64")
        return h, h

    gn.seed(3)
    program = gn.compile(x, gn.unroll(step, gn.constant(np.ones(4)), x)[1])
    assert [loop.count for loop in program.loops] == [40]
    values = np.random.default_rng(1).normal(size=(40, 4))
    scanned = built(lambda: gn.scan(step, gn.constant(np.ones(4)), x)[1], feeds={x: values})
    gn.seed(3)
    np.testing.assert_allclose(program(values), scanned, rtol=1e-12)


# ------------------------------------------------------------------------- loops of unknown length


def rolling(limit: int, bound: int | None) -> gn.Node:
    """The numbers that the rounds draw, the last one in front."""
    last, _ = gn.while_loop(
        lambda c: c[1] < limit,
        lambda c: (gn.concatenate([gn.random.uniform(shape=(1,)), c[0][:-1]]), c[1] + 1),
        (gn.zeros(STEPS), 0),
        bound=bound,
    )
    return last


def test_every_round_draws_its_own_with_and_without_bound() -> None:
    free, bounded, short = (
        built(lambda given=given: rolling(*given))
        for given in ((STEPS, None), (STEPS, STEPS + 3), (STEPS, STEPS - 2))
    )

    def step(c, _):
        return c, gn.random.uniform(shape=(1,))

    as_scan = built(lambda: gn.scan(step, 0.0, length=STEPS)[1])
    np.testing.assert_array_equal(free, as_scan[::-1, 0])
    np.testing.assert_array_equal(bounded, free)
    np.testing.assert_array_equal(short[: STEPS - 2], free[2:])
    assert len(np.unique(free)) == STEPS


@pytest.mark.parametrize("bound", [None, 200])
def test_a_condition_may_draw(bound: int | None) -> None:
    def rounds() -> gn.Node:
        return gn.while_loop(
            lambda n: gn.random.uniform(shape=()) > 0.1, lambda n: n + 1, 0, bound=bound
        )

    def step(c, _):
        return c, gn.random.uniform(shape=())

    drawn = built(lambda: gn.scan(step, 0.0, length=200)[1])
    assert built(rounds) == np.argmax(drawn <= 0.1) > 0


def test_a_bounded_loop_goes_back_through_what_it_drew() -> None:
    x = gn.input("x", shape=(), dtype="float64")

    def power() -> list[gn.Node]:
        last, _ = gn.while_loop(
            lambda c: c[1] < 4,
            lambda c: (c[0] * gn.random.uniform(shape=(), dtype="float64"), c[1] + 1),
            (x, 0),
            bound=6,
        )
        return [last, gn.grad(last, x)]

    value, slope = built(power, feeds={x: np.array(3.0)})
    np.testing.assert_allclose(value, 3.0 * slope, rtol=1e-12)


def test_a_branch_in_a_step_draws_the_numbers_of_the_step() -> None:
    flags = gn.constant([True, False, True, True, False])

    def step(c: gn.Node, flag: gn.Node) -> tuple[gn.Node, gn.Node]:
        return c, gn.cond(flag, lambda: gn.random.uniform(shape=(2,)), lambda: gn.zeros(2))

    drawn = built(lambda: gn.scan(step, 0.0, flags)[1])
    assert not drawn[[1, 4]].any()
    assert len(np.unique(drawn[[0, 2, 3]])) == 6


# ---------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("loop", ["scan", "while_loop", "bounded"])
def test_examples_of_a_batch_draw_the_same(loop: str) -> None:
    def noisy(x: gn.Node) -> gn.Node:
        if loop == "scan":

            def step(c, _):
                return c, x + gn.random.uniform(shape=(), dtype="float64")

            return gn.scan(step, 0.0, length=STEPS)[1]

        def body(c):
            return c + gn.random.uniform(shape=(), dtype="float64")

        return gn.while_loop(lambda c: c < 2.5, body, x, bound=9 if loop == "bounded" else None)

    given = np.array([0.0, 0.5, 1.5, 3.0])
    x = gn.input("x", shape=(4,), dtype="float64")
    single = gn.input("single", shape=(), dtype="float64")
    together = built(lambda: gn.vmap(noisy)(x), feeds={x: given})
    alone = [built(lambda: noisy(single), feeds={single: each}) for each in given]
    np.testing.assert_allclose(together, alone, rtol=1e-14)


# ----------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("unroll", [False, True])
def test_dropout_in_a_cell_drops_others_in_every_step(unroll: bool) -> None:
    class Dropping(gn.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = gn.nn.Dropout(0.5)

        def zero_state(self, batch: Any) -> gn.Node:
            return gn.zeros((batch, 8))

        def forward(self, carry: gn.Node, x: gn.Node) -> tuple[gn.Node, gn.Node]:
            return carry + 0.0 * x, self.dropout(x)

    layer = gn.nn.Recurrent(Dropping(), return_sequences=True, unroll=unroll)
    masks = built(lambda: layer(gn.ones((STEPS, 2, 8)))) != 0
    assert len(np.unique(masks.reshape(STEPS, -1), axis=0)) == STEPS
