"""A factor that several products read is packed once; what products give stays what it was."""

from dataclasses import replace

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.kernel import Contraction, Kernel, Operand, Product
from graphnn.compiler.native.contraction.sharing import is_worth_it, offer
from graphnn.compiler.native.target import host_target

STEPS, BATCH, WIDTH = 5, 8, 40


@pytest.fixture
def always(monkeypatch):
    """Whatever the cost model says about this processor."""
    monkeypatch.setattr(
        "graphnn.compiler.passes.pack_once.is_worth_it", lambda offers: len(offers) > 1
    )


def recurrence(steps=STEPS):
    """A net that multiplies by one weight at every step, and its input and parameter."""
    random = np.random.default_rng(0)
    x = gn.input("x", (steps, BATCH, WIDTH))
    u = gn.parameter(random.normal(size=(WIDTH, WIDTH)).astype("float32") * 0.1, "u")
    h = gn.zeros((BATCH, WIDTH))
    for step in range(steps):
        h = gn.tanh(h @ u + x[step])
    return x, u, h


def fed(steps=STEPS):
    return np.random.default_rng(1).normal(size=(steps, BATCH, WIDTH)).astype("float32")


def packs(program):
    return [each for each in program.instructions if each.kind == "pack"]


def readers(program):
    return [each for each in program.instructions if each.panels]


@pytest.mark.usefixtures("always")
def test_a_recurrent_weight_is_packed_once_forwards_and_once_backwards():
    x, u, h = recurrence()
    loss = gn.mean(h * h)
    program = gn.compile(x, loss, gn.optim.SGD(0.1).minimize(loss, [u]))
    assert [str(each.inputs[0].buffer) for each in packs(program)] == ["state0", "state0"]
    # The first state is zero: its product is another one, and its gradient is not asked for.
    assert len(readers(program)) >= 2 * (STEPS - 2)
    start = u.value
    reference = gn.compile(
        x, loss, gn.optim.SGD(0.1).minimize(loss, [u]), backend="reference", optimize="O0"
    )
    losses = [float(program(fed())) for _ in range(3)]
    updated = u.value
    u.value = start
    np.testing.assert_allclose(losses, [float(reference(fed())) for _ in range(3)], rtol=1e-5)
    np.testing.assert_allclose(updated, u.value, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("setting", [{"debug": "verify"}, {"native": "never"}])
def test_panels_do_not_disturb_other_executors(setting):
    x, _, h = recurrence()
    program = gn.compile(x, h, **setting)
    assert packs(program)
    expected = gn.compile(x, h, backend="reference", optimize="O0")(fed())
    np.testing.assert_allclose(program(fed()), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("always")
def test_results_are_the_same_with_any_number_of_threads():
    x, _, h = recurrence()
    threads = gn.get_num_threads()
    made = []
    try:
        for count in (1, 2, 3):
            gn.set_num_threads(count)
            made.append(gn.compile(x, h)(fed()).tobytes())
    finally:
        gn.set_num_threads(threads)
    assert len(set(made)) == 1


@pytest.mark.usefixtures("always")
def test_a_factor_of_one_product_is_packed_by_it():
    x = gn.input("x", (BATCH, WIDTH))
    w = gn.parameter(np.ones((WIDTH, WIDTH), "float32"))
    assert not packs(gn.compile(x, x @ w))


def product(m, k, n):
    """A contraction of row-major matrices."""
    out = Kernel((m, n), (), (Operand("float32", (4 * n, 4)),), (Product("float32"),), ((0, 0),))
    left, right = Operand("float32", (4 * k, 0, 4)), Operand("float32", (0, 4, 4 * n))
    return Contraction((m, n, k), (2,), "float32", left, right, out)


def test_the_cost_model_packs_a_large_weight_once_and_a_small_one_never():
    target = replace(
        host_target(), vector_bytes=32, n_registers=16, has_fma=True, l1_bytes=1 << 15,
        l2_bytes=1 << 19,
    )  # fmt: skip
    large, small = (offer(product(32, n, 4 * n), 1, target) for n in (256, 3))
    assert large.saved > 0
    assert is_worth_it([large] * 16)
    assert not is_worth_it([large])
    assert not is_worth_it([small] * 16)


@pytest.mark.usefixtures("always")
def test_what_is_computed_is_packed_after_it_is_computed():
    x, _, h = recurrence()
    w = gn.input("w", (WIDTH, WIDTH))
    u = gn.exp(w) * 0.01
    state = h
    for _ in range(4):
        state = gn.tanh(state @ u)
    program = gn.compile([x, w], state)
    weights = np.random.default_rng(2).normal(size=(WIDTH, WIDTH)).astype("float32")
    expected = gn.compile([x, w], state, backend="reference", optimize="O0")(fed(), weights)
    assert len(packs(program)) == 2
    for _ in range(2):
        np.testing.assert_allclose(program(fed(), weights), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("always")
def test_panels_are_drawn_and_accounted_for():
    x, _, h = recurrence()
    program = gn.compile(x, h)
    (pack,) = packs(program)
    number = program.instructions.index(pack)
    (report,) = (
        each for each in program.memory.buffers if each.number == pack.outputs[0].buffer.index
    )
    last = max(program.instructions.index(each) for each in readers(program))
    assert (report.first, report.last) == (number, last)
    assert report.nbytes >= 4 * WIDTH * WIDTH
    assert "pack" in str(program)
    gn.render(program)


def scanned(step, *inputs, **options):
    """The program of a scan, once its values are seen to be those of the reference."""
    x = gn.input("x", (STEPS, BATCH, WIDTH))
    last, ys = gn.scan(step, gn.zeros((BATCH, WIDTH)), x)
    arrays = [fed()]
    for each in inputs:
        random = np.random.default_rng(len(arrays))
        arrays.append(random.normal(size=each.shape).astype("float32") * 0.1)
    program = gn.compile([x, *inputs], [last, ys], **options)
    reference = gn.compile([x, *inputs], [last, ys], backend="reference")
    for got, wanted in zip(program(*arrays), reference(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    return program


def weight(name="u"):
    return gn.input(name, (WIDTH, WIDTH))


def around(program, instruction):
    """How many loops an instruction is in."""
    number = next(n for n, each in enumerate(program.instructions) if each is instruction)
    return len(program.unit.loops_around(number))


@pytest.mark.usefixtures("always")
def test_the_weight_of_a_loop_is_packed_before_it():
    u = weight()
    program = scanned(lambda h, x: (gn.tanh(h @ u + x),) * 2, u)
    (pack,), (product,) = packs(program), readers(program)
    assert (around(program, pack), around(program, product)) == (0, 1)
    assert program.instructions.index(pack) < program.loops[0].begin
    assert program.unit.runs[program.instructions.index(pack)] == 1


@pytest.mark.usefixtures("always")
def test_a_weight_that_a_step_computes_is_not_packed_before_the_loop():
    u = weight()
    program = scanned(lambda h, x: (gn.tanh(h @ (u * h[0]) + x), h[0, 0]), u)
    assert not packs(program)

    def both(h, x):
        return gn.tanh(h @ (u * h[0]) + x @ (u * h[0])), h[0, 0]

    program = scanned(both, u, skip="merge_products")
    assert [around(program, each) for each in packs(program)] == [1]


@pytest.mark.usefixtures("always")
def test_a_weight_that_moves_is_not_packed_before_the_loop():
    weights = gn.input("weights", (STEPS, WIDTH, WIDTH))
    x = gn.input("x", (BATCH, WIDTH))
    last, _ = gn.scan(lambda h, w: (gn.tanh(h @ w), None), x, weights)
    program = gn.compile([x, weights], last)
    assert not packs(program)
    arrays = [fed()[0], np.random.default_rng(2).normal(size=weights.shape).astype("float32") * 0.1]
    wanted = gn.compile([x, weights], last, backend="reference")(*arrays)
    np.testing.assert_allclose(program(*arrays), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("always")
def test_a_weight_that_is_the_carry_is_not_packed_before_the_loop():
    """It is another one in every round, though it lies in the same place."""
    u = weight()
    powers, _ = gn.scan(lambda p, _: (gn.sin(p @ u), None), u, length=STEPS)
    program = gn.compile(u, powers)
    given = np.random.default_rng(0).normal(size=u.shape).astype("float32") * 0.1
    wanted = gn.compile(u, powers, backend="reference")(given)
    np.testing.assert_allclose(program(given), wanted, rtol=1e-4, atol=1e-6)
    turned, _ = gn.scan(lambda p, _: (gn.sin(u @ p), None), u, length=STEPS)
    program = gn.compile(u, turned)
    assert not any(
        each.inputs[0].buffer in {view.buffer for view in program.instructions[-1].outputs}
        for each in packs(program)
    )
    wanted = gn.compile(u, turned, backend="reference")(given)
    np.testing.assert_allclose(program(given), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("always")
def test_a_weight_of_an_inner_loop_is_packed_before_the_loops_that_leave_it_alone():
    """One stays in both loops, one is made anew by every round of the outer one; a state of both
    products is packed in every round of the inner one.
    """
    u = weight()

    def step(h, x):
        made = u * gn.mean(h)

        def inner(g, _):
            return gn.tanh(g @ u + g @ made + x), None

        h, _ = gn.scan(inner, h, length=4)
        return h, None

    x = gn.input("x", (STEPS, BATCH, WIDTH))
    last, _ = gn.scan(step, gn.ones((BATCH, WIDTH)), x)
    program = gn.compile([x, u], last)
    assert sorted(around(program, each) for each in packs(program)) == [0, 1, 2]
    given = np.random.default_rng(3).normal(size=u.shape).astype("float32") * 0.02
    wanted = gn.compile([x, u], last, backend="reference")(fed(), given)
    np.testing.assert_allclose(program(fed(), given), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("always")
def test_two_loops_share_panels():
    u = weight()
    x = gn.input("x", (STEPS, BATCH, WIDTH))
    h = gn.zeros((BATCH, WIDTH))
    one, _ = gn.scan(lambda h, x: (gn.tanh(h @ u + x), None), h, x)
    other, _ = gn.scan(lambda h, x: (gn.sin(h @ u - x), None), one, x, reverse=True)
    program = gn.compile([x, u], other)
    assert len(packs(program)) == 1
    assert len(readers(program)) == 2
    given = np.random.default_rng(3).normal(size=u.shape).astype("float32") * 0.1
    wanted = gn.compile([x, u], other, backend="reference")(fed(), given)
    np.testing.assert_allclose(program(fed(), given), wanted, rtol=1e-4, atol=1e-6)
