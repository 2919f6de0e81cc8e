"""Loops that were written out: which become scans, and that results stay the same."""

import numpy as np
import pytest

import graphnn as gn

T, B, N = 10, 3, 4


def rng():
    return np.random.default_rng(0)


def weight(*shape):
    return gn.parameter(rng().normal(size=shape) / 2, dtype="float64")


def sequence(name="x", length=T):
    return gn.input(name, shape=(length, B, N), dtype="float64")


def scans(program):
    """What became a scan: the number of rounds of each."""
    return sorted(
        node.attrs["length"] for node in program.unit.graph.nodes if node.op.name == "scan"
    )


def rerolled(program):
    return [
        each.rule
        for record in program.report.passes
        for each in record.rewrites
        if record.name == "reroll" and each.rule == "reroll"
    ]


def check(inputs, outputs, expected_loops, **options):
    """Results are those of what was written out, and there are so many loops."""
    fed = [rng().normal(size=each.shape) for each in inputs]
    program = gn.compile(inputs, outputs, native="never", **options)
    plain = gn.compile(inputs, outputs, optimize="O0", backend="reference")
    for value, expected in zip(program(*fed), plain(*fed), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    assert len(rerolled(program)) == expected_loops, program.report
    return program


# ---------------------------------------------------------------------------------------- cells


def simple():
    w, u, b = weight(N, N), weight(N, N), weight(N)

    def step(h, x):
        h = gn.tanh(x @ w + h @ u + b)
        return h, h

    return step, gn.zeros((B, N), dtype="float64"), [w, u, b]


def gru():
    w, u = weight(N, 3 * N), weight(N, 3 * N)

    def step(h, x):
        of_x, of_h = gn.split(x @ w, 3, axis=-1), gn.split(h @ u, 3, axis=-1)
        r, z = (gn.sigmoid(of_x[k] + of_h[k]) for k in range(2))
        n = gn.tanh(of_x[2] + r * of_h[2])
        h = (1 - z) * n + z * h
        return h, h

    return step, gn.zeros((B, N), dtype="float64"), [w, u]


def lstm():
    w, u = weight(N, 4 * N), weight(N, 4 * N)

    def step(carry, x):
        h, c = carry
        z = x @ w + h @ u
        i, f, o, g = (z[:, k * N : (k + 1) * N] for k in range(4))
        c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
        h = gn.sigmoid(o) * gn.tanh(c)
        return (h, c), h

    return step, (gn.zeros((B, N), dtype="float64"),) * 2, [w, u]


CELLS = {"simple": simple, "gru": gru, "lstm": lstm}


@pytest.mark.parametrize("cell", CELLS)
def test_a_net_is_one_loop_there_and_one_back(cell):
    step, carry, weights = CELLS[cell]()
    x = sequence()
    _, ys = gn.unroll(step, carry, x)
    check([x], [ys], 1)
    loss = gn.mean(gn.square(ys))
    program = check([x], [loss, *gn.grad(loss, weights)], 2)
    assert scans(program) == [T, T], "no step stays outside"


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_inputs_and_second_derivatives(cell):
    step, carry, weights = CELLS[cell]()
    x = sequence()
    _, ys = gn.unroll(step, carry, x)
    (slope,) = gn.grad(gn.sum(gn.square(ys)), [x])
    check([x], [slope], 2)
    second = gn.grad(gn.sum(gn.square(slope)), weights)
    check([x], second, 4)


def test_forward_mode():
    step, carry, weights = lstm()
    x = sequence()
    _, ys = gn.unroll(step, carry, x)
    tangent = gn.jvp(ys, weights, [gn.ones(each.shape, dtype="float64") for each in weights])
    check([x], [tangent], 2)


def test_gradients_of_weights_leave_the_loop_as_one_product():
    step, carry, weights = simple()
    x = sequence()
    _, ys = gn.unroll(step, carry, x)
    program = check([x], gn.grad(gn.mean(gn.square(ys)), weights), 2)
    loops = [node for node in program.unit.graph.nodes if node.op.name == "scan"]
    inside = [each.op.name for loop in loops for each in loop.attrs["body"].nodes]
    assert inside.count("dot_general") == 2, "h @ u, and its cotangent"


# ------------------------------------------------------------------------------- ways to write it


def test_the_last_step_alone_and_a_loss_at_every_step():
    step, h, weights = simple()
    v = weight(N, 2)
    x = sequence()
    total = 0.0
    for t in range(T):
        h, _ = step(h, x[t])
        total = total + gn.sum(gn.square(h @ v))
    check([x], [gn.sum(h), *gn.grad(gn.sum(h), weights)], 2)
    check([x], [total, *gn.grad(total, [*weights, v])], 2)


@pytest.mark.parametrize("time_is_outer", [True, False])
def test_layers_are_loops_of_their_own(time_is_outer):
    x = sequence()
    (first, h, weights), (second, g, more) = simple(), gru()
    weights = [*weights, *more]
    if time_is_outer:
        ys = []
        for t in range(T):
            h, y = first(h, x[t])
            g, y = second(g, y)
            ys.append(y)
        ys = gn.stack(ys)
    else:
        _, ys = gn.unroll(first, h, x)
        _, ys = gn.unroll(second, g, ys)
    loss = gn.mean(gn.square(ys))
    program = check([x], [loss, *gn.grad(loss, weights)], 4)
    assert len(program.unit.graph.nodes) < 150


def test_both_directions_at_once():
    x = sequence()
    (first, h, weights), (second, g, more) = simple(), gru()
    _, there = gn.unroll(first, h, x)
    _, back = gn.unroll(second, g, x, reverse=True)
    loss = gn.mean(gn.square(gn.concatenate([there, back], -1)))
    program = check([x], [loss, *gn.grad(loss, [*weights, *more])], 4)
    assert scans(program) == [T] * 4


def test_batch_first_and_a_list_of_inputs():
    step, h, weights = simple()
    x = gn.input("x", shape=(B, T, N), dtype="float64")
    _, ys = gn.unroll(step, h, x, axis=1)
    check([x], [ys, *gn.grad(gn.sum(ys), weights)], 2)
    xs = [gn.input(f"x{t}", shape=(B, N), dtype="float64") for t in range(T)]
    ys, state = [], h
    for each in xs:
        state, y = step(state, each)
        ys.append(y)
    loss = gn.sum(gn.square(gn.stack(ys)))
    check(xs, [loss, *gn.grad(loss, weights)], 2)


def test_named_dimensions_and_another_first_step():
    step, _, weights = simple()
    x = gn.input("x", shape=(16, "batch", N), dtype="float64")
    h = gn.tanh(x[0] @ weights[0])
    for t in range(1, 16):
        h, _ = step(h, x[t])
    outputs = [h, *gn.grad(gn.sum(h), weights)]
    program = gn.compile([x], outputs, native="never")
    fed = rng().normal(size=(16, B, N))
    expected = gn.compile([x], outputs, optimize="O1", native="never")(fed)
    for value, other in zip(program(fed), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-9)
    assert len(program.specialize({"batch": B}).unit.graph.nodes) < 120


def test_iterations_without_inputs():
    a = gn.constant(rng().normal(size=(N, N)))
    v = gn.input("v", shape=(N,), dtype="float64")
    u = v
    for _ in range(30):
        u = a @ u
        u = u / gn.sqrt(gn.sum(gn.square(u)))
    program = check([v], [u], 1)
    assert scans(program) == [30]


def test_runge_kutta_uses_its_function_four_times_in_a_step():
    w = weight(N, N)
    y = start = gn.input("y", shape=(N,), dtype="float64")

    def slope(y):
        return gn.tanh(w @ y)

    for _ in range(12):
        k1 = slope(y)
        k2 = slope(y + 0.05 * k1)
        k3 = slope(y + 0.05 * k2)
        k4 = slope(y + 0.1 * k3)
        y = y + (0.1 / 6) * (k1 + 2 * k2 + 2 * k3 + k4)
    check([start], [y], 1)
    check([start], [y, *gn.grad(gn.sum(y), [w])], 3)  # the sum of four terms is one of its own


def test_numbers_that_differ_from_step_to_step_are_elements():
    w = weight(N, N)
    h = start = gn.input("h", shape=(B, N), dtype="float64")
    for t in range(T):
        h = gn.tanh(h @ w) * (1.0 / (t + 1.5))
    check([start], [h, *gn.grad(gn.sum(h), [w])], 2)


def test_every_state_may_be_read():
    step, h, _ = simple()
    x = sequence()
    read = []
    for t in range(T):
        h, _ = step(h, x[t])
        read.append(gn.exp(h) if t in (0, 3, T - 1) else h)
    check([x], [*read, read[2] * read[7]], 1)


# ------------------------------------------------------------------------------ what stays as it is


def stays(inputs, outputs, **options):
    check(inputs, outputs, 0, **options)


def test_few_steps_and_chains_of_elementwise_operators_stay():
    step, h, _ = simple()
    x = sequence(length=7)
    stays([x], [gn.unroll(step, h, x)[1]])
    z = y = gn.input("y", shape=(N,), dtype="float64")
    for _ in range(50):
        z = gn.tanh(z) * 2.0
    stays([y], [z])
    assert "50 repetitions of 2 nodes" in gn.compile([y], [z], native="never").explain()


def test_steps_with_weights_of_their_own_stay():
    x = y = gn.input("x", shape=(B, N), dtype="float64")
    for _ in range(T):
        y = gn.tanh(y @ gn.parameter(rng().normal(size=(N, N)), dtype="float64"))
    stays([x], [y])


def test_steps_of_different_shapes_stay():
    w = weight(N, N)
    x = y = gn.input("x", shape=(20, N), dtype="float64")
    for _ in range(T):
        y = gn.tanh(y[1:] @ w)
    stays([x], [y])


def test_random_numbers_of_each_step_are_stacked_or_the_loop_stays():
    w, key = weight(N, N), gn.random.key(3)
    x = y = gn.input("x", shape=(B, N), dtype="float64")
    for t in range(T):
        noise = gn.random.normal(gn.random.fold_in(key, t), (B, N), dtype="float64")
        y = gn.tanh((y + noise) @ w)
    fed = rng().normal(size=(B, N))
    plain = gn.compile([x], [y], optimize="O1", native="never")(fed)
    np.testing.assert_allclose(gn.compile([x], [y], native="never")(fed), plain, rtol=1e-9)


def test_what_needs_all_steps_cannot_be_read_by_one():
    """The steps read the mean of a loop that is made after them: two loops, one after the other."""
    step, h, _ = simple()
    x = sequence()
    ys = []
    for t in range(T):
        h, y = step(h, x[t])
        ys.append(y)
    mean = gn.mean(gn.stack(ys))
    rest = [gn.exp(y * mean) @ weight(N, N) for y in ys]
    check([x], [gn.sum(gn.stack(rest))], 1)


@pytest.mark.parametrize(
    "options",
    [{"optimize": "O1"}, {"debug": "nan"}, {"memory_budget": "1 MiB"}, {"skip": "reroll"}],
    ids=lambda each: next(iter(each)),
)
def test_where_it_is_not_wanted(options):
    step, h, _ = simple()
    x = sequence()
    stays([x], [gn.unroll(step, h, x)[1]], **options)


def test_a_step_in_the_middle_that_differs_parts_a_loop_in_two():
    step, h, _ = simple()
    x = sequence(length=21)
    for t in range(21):
        h, _ = step(h if t != 10 else gn.sort(h), x[t])
    check([x], [h], 1)


# ---------------------------------------------------------------------------------------- records


def test_the_report_says_what_became_of_which_line():
    step, h, weights = simple()
    x = sequence()
    _, ys = gn.unroll(step, h, x)
    program = gn.compile([x], gn.grad(gn.sum(gn.square(ys)), weights), native="never")
    told = program.explain().splitlines()
    assert any(f"{T} repetitions of 6 nodes (test_reroll.py:" in line for line in told)
    assert sum(line.endswith("became a scan") for line in told) == 2
    fed = rng().normal(size=x.shape)
    for fuel in range(3):
        fueled = gn.compile([x], [ys], native="never", fuel=fuel)
        np.testing.assert_allclose(fueled(fed)[0], gn.evaluate(ys, {x: fed}), rtol=1e-9)
    assert rerolled(gn.compile([x], [ys], native="never", fuel=0)) == []


def test_native_code_and_training_agree_with_what_was_written_out():
    step, carry, weights = lstm()
    x = sequence()
    _, ys = gn.unroll(step, carry, x)
    loss = gn.mean(gn.square(ys))
    updates = {w: w - 0.1 * g for w, g in zip(weights, gn.grad(loss, weights), strict=True)}
    fed = rng().normal(size=x.shape)
    before = [w.value.copy() for w in weights]
    seen = []
    for skip in ((), "reroll"):
        for w, value in zip(weights, before, strict=True):
            w.value = value
        train = gn.compile([x], loss, updates, skip=skip)
        losses = [train(fed) for _ in range(3)]
        seen.append([*losses, *(w.value.copy() for w in weights)])
    for value, expected in zip(*seen, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("steps", [20, 200])
def test_what_is_compiled_does_not_grow_with_the_steps(steps):
    step, h, weights = simple()
    x = sequence(length=steps)
    _, ys = gn.unroll(step, h, x)
    program = gn.compile([x], gn.grad(gn.mean(gn.square(ys)), weights), native="never")
    assert len(program.unit.graph.nodes) < 60


# --------------------------------------------------------------------------------- random loops


def random_loop(seed):
    """A loop of random operators on a few states, and its gradients."""
    random = np.random.default_rng(seed)
    steps, n_states = int(random.integers(8, 14)), int(random.integers(1, 4))
    weights = [weight(N, N) for _ in range(2)]
    x = sequence(length=steps)
    rules = (
        lambda a, c, w: gn.tanh(a),
        lambda a, c, w: a @ w,
        lambda a, c, w: a + c,
        lambda a, c, w: a * c,
        lambda a, c, w: gn.tanh(a @ w + c),
        lambda a, c, w: gn.concatenate([a, c], -1)[:, 2 : 2 + N],
        lambda a, c, w: gn.softmax(a),
        lambda a, c, w: (1 - gn.sigmoid(a)) * c,
    )
    plan = random.integers(0, 1000, size=(int(random.integers(3, 9)), 4))
    state = [gn.constant(random.normal(size=(B, N))) for _ in range(n_states)]
    older, ys = state[0], []
    for t in range(steps):
        values = [*state, x[t], *([older] if seed % 3 == 0 else [])]
        older = state[0]
        for rule, left, right, w in plan:
            a, c = values[-1 - left % min(4, len(values))], values[right % len(values)]
            values.append(rules[rule % len(rules)](a, c, weights[w % 2]))
        state = [gn.tanh(values[-1 - number % len(values)]) for number in range(n_states)]
        ys.append(values[-1])
    loss = gn.mean(gn.square(gn.stack(ys))) + gn.sum(gn.sin(state[0]))
    slopes = gn.grad(loss, [*weights, x], allow_unused=True)
    return x, [gn.stack(ys), loss, *(each for each in slopes if each is not None)]


@pytest.mark.parametrize("seed", range(6))
def test_random_loops(seed):
    x, outputs = random_loop(seed)
    fed = rng().normal(size=x.shape)
    expected = gn.compile([x], outputs, optimize="O1", native="never")(fed)
    for value, other in zip(gn.compile([x], outputs, native="never")(fed), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-8, atol=1e-10)
