"""Recurrences under memory budgets: cut into segments, told beforehand, and right."""

from functools import cache

import numpy as np
import pytest
from looping import ops_of, scans_of

import graphnn as gn
from graphnn.compiler import compilation, pipeline
from graphnn.compiler.passes import rematerialize
from graphnn.compiler.scans.schedules import Recurrence, cheapest, extra_steps, smallest
from graphnn.compiler.scans.segments import find_pairs, in_segments
from graphnn.compiler.scans.sink import sink
from graphnn.core.graph import Graph

SIZE, BATCH = 8, 2


def weights(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [
        gn.parameter(rng.normal(size=shape) / shape[0] ** 0.5, dtype="float64") for shape in shapes
    ]


def zeros():
    return gn.zeros((BATCH, SIZE), "float64")


def rnn(x, w, u, **options):
    return gn.scan(lambda h, x: (gn.tanh(x @ w + h @ u),) * 2, zeros(), x, **options)


def feed(node, seed=1):
    return np.random.default_rng(seed).normal(size=node.shape).astype(node.dtype)


# ------------------------------------------------------------------------------------------ nets


def of_the_last_state(x):
    parameters = weights((SIZE, SIZE), (SIZE, SIZE))
    return gn.mean(rnn(x, *parameters)[0] ** 2), parameters


def backwards(x):
    parameters = weights((SIZE, SIZE), (SIZE, SIZE))
    return gn.mean(rnn(x, *parameters, reverse=True)[0] ** 2), parameters


def of_all_states(x):
    w, u, v = parameters = weights((SIZE, SIZE), (SIZE, SIZE), (SIZE, 20))
    logits = rnn(x, w, u)[1] @ v
    labels = gn.arange(x.shape[0])[:, None] % 20 + gn.zeros((1, BATCH), "int64")
    return gn.losses.cross_entropy(logits, labels), parameters


def lstm(x):
    w, u, b = parameters = weights((SIZE, 4 * SIZE), (SIZE, 4 * SIZE), (4 * SIZE,))

    def step(carry, x):
        h, c = carry
        i, f, o, g = gn.split(x @ w + h @ u + b, 4, axis=1)
        c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
        return (gn.sigmoid(o) * gn.tanh(c), c), None

    (h, _), _ = gn.scan(step, (zeros(), zeros()), x)
    return gn.mean(h**2), parameters


def stacked(x):
    parameters = weights(*[(SIZE, SIZE)] * 4)
    ys = gn.sin(rnn(x, *parameters[:2])[1])
    return gn.mean(rnn(ys, *parameters[2:])[1] ** 2), parameters


def bidirectional(x):
    parameters = weights(*[(SIZE, SIZE)] * 4)
    forward, backward = rnn(x, *parameters[:2]), rnn(x, *parameters[2:], reverse=True)
    return gn.mean((forward[0] * backward[0]) ** 2), parameters


def nested(x):
    parameters = weights((SIZE, SIZE), (SIZE, SIZE))

    def step(h, rows):
        h, _ = gn.scan(lambda h, x: (gn.tanh(x @ parameters[0] + h @ parameters[1]), None), h, rows)
        return gn.sin(h), None

    rows = gn.reshape(x, (x.shape[0] // 4, 4, BATCH, SIZE))
    return gn.mean(gn.scan(step, zeros(), rows)[0] ** 2), parameters


def with_noise(x):
    (u,) = parameters = weights((SIZE, SIZE))
    keys = gn.random.split(gn.random.key(3), x.shape[0])

    def step(h, given):
        x, key = given
        return gn.tanh((x + h @ u) * gn.random.normal(key, (BATCH, SIZE), dtype="float64")), None

    return gn.mean(gn.scan(step, zeros(), (x, keys))[0] ** 2), parameters


def beside_layers(x):
    """A recurrence, and a deep net whose values take as much."""
    parameters = weights(*[(SIZE, SIZE)] * 8)
    h, _ = rnn(x, *parameters[:2])
    y = (
        gn.broadcast_to(h[:1], (x.shape[0], SIZE))
        * gn.arange(float(x.shape[0]), dtype="float64")[:, None]
    )
    for each in parameters[2:]:
        y = gn.tanh(y @ each)
    return gn.mean(y**2), parameters


def nested_loops(x):
    """A loop of few rounds in every step, as many as the numbers say."""
    w, u = parameters = weights((SIZE, SIZE), (SIZE, SIZE))

    def step(h, x):
        h = gn.while_loop(
            lambda h: gn.sum(h * h) < 9.0, lambda h: gn.tanh(x @ w + h @ u), gn.sin(h), bound=3
        )
        return h, h

    return gn.mean(gn.scan(step, zeros(), x)[1] ** 2), parameters


NETS = {
    each.__name__: each
    for each in (
        of_the_last_state,
        backwards,
        of_all_states,
        lstm,
        stacked,
        bidirectional,
        nested,
        nested_loops,
        with_noise,
        beside_layers,
    )
}


def problem(net, steps):
    x = gn.input("x", (steps, BATCH, SIZE), "float64")
    loss, parameters = net(x)
    return x, [loss, *gn.grad(loss, parameters)]


def least_arena(x, outputs, **options):
    with pytest.raises(gn.ArgumentError, match="the smallest arena found takes") as caught:
        gn.compile(x, outputs, memory_budget=1, native="never", **options)
    return int(str(caught.value).rpartition("memory_budget=")[2].split()[0])


def assert_close(found, expected, tolerance):
    for got, wanted in zip(found, expected, strict=True):
        scale = max(float(np.abs(wanted).max()), 1e-30)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale)


# --------------------------------------------------------------------------------------- budgets


@pytest.mark.parametrize("name", NETS)
def test_gradients_under_a_budget(name):
    """A fifth of the memory is enough for all, at the cost that the program tells."""
    x, outputs = problem(NETS[name], 200)
    plain = gn.compile(x, outputs)
    part = 0.6 if name == "beside_layers" else 0.2
    budget = int(plain.arena_nbytes * part)
    program = gn.compile(x, outputs, memory_budget=budget, verify=True)
    memory = program.memory
    assert program.arena_nbytes == memory.predicted_peak <= budget
    assert memory.extra_flops == program.flops - plain.flops > 0
    assert memory.recomputed
    assert_close(program(feed(x)), plain(feed(x)), 1e-12)


def test_ten_thousand_steps_in_a_hundredth_of_the_memory():
    x, outputs = problem(lstm, 10_000)
    plain = gn.compile(x, outputs)
    expected = plain(feed(x))
    for part, most in ((20, 1.45), (200, 2.2)):
        program = gn.compile(x, outputs, memory_budget=plain.arena_nbytes // part)
        assert program.arena_nbytes <= plain.arena_nbytes // part
        assert program.flops <= most * plain.flops
        assert len(program.instructions) < 150  # whatever the number of steps
        assert_close(program(feed(x)), expected, 1e-12)


@pytest.mark.parametrize("net", [nested, nested_loops], ids=lambda net: net.__name__)
def test_ten_thousand_steps_that_have_steps_inside(net):
    x, outputs = problem(net, 10_000)
    plain = gn.compile(x, outputs)
    budget = plain.arena_nbytes // 50
    program = gn.compile(x, outputs, memory_budget=budget)
    assert program.arena_nbytes <= budget
    assert program.flops <= 1.5 * plain.flops
    assert_close(program(feed(x)), plain(feed(x)), 1e-12)


def test_states_that_a_scan_back_reads_one_by_one_and_whole_are_kept():
    """Attention: they cannot be made again by segment, for a step reads those of all segments."""
    x = gn.input("x", (40, BATCH, SIZE), "float64")
    _, ys = rnn(x, *weights((SIZE, SIZE), (SIZE, SIZE)))

    def over(states):
        def step(h, y):
            scores = gn.softmax(gn.sum(states * h, axis=2), axis=0)
            return gn.tanh(y * h + gn.sum(scores[:, :, None] * states, axis=0)), None

        return gn.scan(step, gn.ones((BATCH, SIZE), "float64"), ys, reverse=True)[0]

    attended, apart = over(ys), over(x)
    assert [len(find_pairs(Graph((x,), (each,)))) for each in (attended, apart)] == [0, 1]
    plain = gn.compile(x, attended, native="never")
    least = least_arena(x, attended)
    program = gn.compile(x, attended, memory_budget=least, native="never")
    assert_close([program(feed(x))], [plain(feed(x))], 1e-12)


def test_a_budget_that_is_large_enough_changes_nothing():
    x, outputs = problem(of_all_states, 50)
    plain = gn.compile(x, outputs, native="never")
    same = gn.compile(x, outputs, memory_budget=plain.arena_nbytes, native="never")
    assert str(same.unit.graph) == str(plain.unit.graph)
    assert (same.memory.extra_flops, same.memory.recomputed) == (0, ())


def test_less_memory_costs_more():
    x, outputs = problem(of_the_last_state, 1000)
    plain = gn.compile(x, outputs, native="never")
    extra = [
        gn.compile(x, outputs, memory_budget=part, native="never").memory.extra_flops
        for part in (plain.arena_nbytes * np.array([0.9, 0.5, 0.2, 0.06])).astype(int).tolist()
    ]
    assert 0 < extra[0] < extra[1] < extra[2] < extra[3] < plain.flops


def test_an_impossible_budget_names_one_that_is_enough():
    x, outputs = problem(of_all_states, 60)
    least = least_arena(x, outputs)
    program = gn.compile(x, outputs, memory_budget=least, native="never")
    assert program.arena_nbytes <= least < gn.compile(x, outputs, native="never").arena_nbytes / 3


def test_what_is_met_while_aiming_at_one_budget_is_not_named(monkeypatch):
    """Another budget is aimed at otherwise, here not at all."""
    aim = rematerialize._Search._aim
    monkeypatch.setattr(rematerialize, "DESCENT_TRIALS", 0)
    monkeypatch.setattr(
        rematerialize._Search,
        "_aim",
        lambda search, *given: aim(search, *given) if given[-1] == 1 else None,
    )
    x, outputs = problem(beside_layers, 8)
    least = least_arena(x, outputs)
    assert gn.compile(x, outputs, memory_budget=least, native="never").arena_nbytes <= least


def test_without_reassociation_results_are_the_same_to_the_last_bit():
    """Sums over time are made in the order of steps then, with segments or without."""
    x, outputs = problem(lstm, 60)
    for level in ("O0", "O1"):
        plain = gn.compile(x, outputs, optimize=level, native="never")
        budget = plain.arena_nbytes // 3
        program = gn.compile(x, outputs, optimize=level, memory_budget=budget, native="never")
        assert program.memory.extra_flops > 0
        for got, wanted in zip(program(feed(x)), plain(feed(x)), strict=True):
            assert got.tobytes() == wanted.tobytes()


def test_training_and_named_steps():
    """Updates, and a number of steps that is bound when the program is called."""
    ends = []
    for budget in (None, "24 KiB"):
        x = gn.input("x", ("time", BATCH, SIZE), "float64")
        loss, parameters = of_all_states(x)
        updates = gn.optim.SGD(0.1).minimize(loss, parameters)
        step = gn.compile(x, loss, updates, memory_budget=budget, native="never")
        step(np.ones((200, BATCH, SIZE)))
        assert (step.memory.extra_flops > 0) == (budget is not None)
        ends.append([each.value for each in parameters])
    assert_close(*ends, 1e-12)


def test_gradients_of_sequences_are_whole():
    """A result of all steps takes its memory; what is kept for it does not."""
    x = gn.input("x", (400, BATCH, SIZE), "float64")
    loss, parameters = of_the_last_state(x)
    outputs = gn.grad(loss, [x, *parameters])
    plain = gn.compile(x, outputs)
    budget = int(2.5 * x.tensor.nbytes)
    assert budget < plain.arena_nbytes * 0.8
    program = gn.compile(x, outputs, memory_budget=budget)
    assert_close(program(feed(x)), plain(feed(x)), 1e-12)


def test_products_stay_in_their_segment():
    """Nothing in the program is as long as the recurrence, but what is fed."""
    x, outputs = problem(lstm, 1000)
    plain = gn.compile(x, outputs, native="never")
    program = gn.compile(x, outputs, memory_budget=plain.arena_nbytes // 10, native="never")
    assert max(buffer.nbytes for buffer in program.memory.buffers) < plain.arena_nbytes // 10
    outer = [each for each in scans_of(program) if "scan" in ops_of(each.attrs["body"])]
    assert len(outer) == 2
    for each in outer:
        assert ops_of(each.attrs["body"])["dot_general"] >= 1


# --------------------------------------------------------------------------------------- rewrites


SCHEDULES = [
    ((3, 3),),
    ((2, 5),),
    ((11, 1),),
    ((1, 11),),
    ((1, 2),),
    ((1, 6), (2, 2)),
    ((2, 3), (1, 1)),
    ((1, 6), (1, 3), (2, 1)),
]


def compiled_with(rewrite, x, outputs, monkeypatch):
    """A program whose graph is rewritten where budgets are looked at."""

    def rewritten(unit, driver):
        return driver.with_graph(unit, rewrite(unit.graph))

    passes = list(pipeline.O2)
    place = [each.__name__ for each in passes].index("segment_scans")
    passes[place] = rewritten
    monkeypatch.setitem(compilation.LEVELS, "O2", tuple(passes))
    return gn.compile(x, outputs, verify=True, native="never")


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_any_schedule_is_right(schedule, reverse, monkeypatch):
    """With states and gradients of sequences as results, in double precision."""
    x, w, u = (
        gn.input(name, shape, "float64")
        for name, shape in (
            ("x", (12, BATCH, SIZE)),
            ("w", (SIZE, SIZE)),
            ("u", (SIZE, SIZE)),
        )
    )
    last, ys = rnn(x, w, u, reverse=reverse)
    loss = gn.sum(gn.sin(ys)) + gn.sum(last**2)
    inputs, outputs = [x, w, u], [ys, last, *gn.grad(loss, [x, w, u])]
    fed = [feed(each) for each in inputs]
    expected = gn.compile(inputs, outputs, native="never")(*fed)

    def cut(graph):
        (pair,) = find_pairs(graph)
        return in_segments(graph, {pair: schedule})

    program = compiled_with(cut, inputs, outputs, monkeypatch)
    assert any("scan" in ops_of(each.attrs["body"]) for each in scans_of(program))
    assert_close(program(*fed), expected, 1e-13)


def all_kinds_of_steps(x):
    """Whatever may stand between states and a loss."""
    w, u, v = parameters = weights((SIZE, SIZE), (SIZE, SIZE), (SIZE, 6))
    _, ys = rnn(x, w, u)
    a = gn.transpose(ys @ v, (0, 2, 1))[:, 1:5]
    b = gn.softmax(gn.concatenate([a, gn.flip(a, 1)], axis=1), axis=1) * gn.arange(
        2.0, dtype="float64"
    )
    c = gn.matmul(b, gn.transpose(a, (0, 2, 1))[:, :, ::2]) + gn.cumsum(gn.max(b, 2), 1)[:, :, None]
    d = gn.sort(gn.reshape(c, (x.shape[0], -1)), axis=1) * gn.exp(x[:, 0, :1])
    labels = gn.argmax(x[:, 0], axis=1)
    return gn.losses.cross_entropy(d, labels) + gn.sum(d, 0)[1] ** 2, parameters


@pytest.mark.parametrize(
    "net", [all_kinds_of_steps, of_all_states, stacked], ids=lambda net: net.__name__
)
def test_what_is_computed_of_all_steps_goes_into_the_loop(net, monkeypatch):
    """Values are the same, and less is there for all steps at once."""
    x, outputs = problem(net, 30)
    plain = gn.compile(x, outputs, native="never")
    program = compiled_with(sink, x, outputs, monkeypatch)
    assert_close(program(feed(x)), plain(feed(x)), 1e-12)


def test_layers_become_one_scan(monkeypatch):
    x, outputs = problem(stacked, 30)
    there, back = scans_of(compiled_with(sink, x, outputs, monkeypatch))
    assert (there.attrs["n_carry"], back.attrs["n_carry"]) == (2, 2)


def test_what_a_scan_needs_before_it_begins_stays_before_it(monkeypatch):
    """The scan back reads the norm of all states: it cannot be a total of that scan."""

    def normed(x):
        w, u = parameters = weights((SIZE, SIZE), (SIZE, SIZE))
        _, ys = rnn(x, w, u)
        return gn.sum(gn.sin(ys / gn.sqrt(gn.sum(ys**2)))), parameters

    x, outputs = problem(normed, 30)
    program = compiled_with(sink, x, outputs, monkeypatch)
    assert_close(program(feed(x)), gn.compile(x, outputs, native="never")(feed(x)), 1e-12)


def test_what_is_made_of_the_last_carry_is_no_element(monkeypatch):
    """It is there after all steps: a step that read it would have to be gone twice."""
    x = gn.input("x", (30, BATCH, SIZE), "float64")
    last, ys = rnn(x, *weights((SIZE, SIZE), (SIZE, SIZE)))
    loss = gn.sum(gn.sin(ys * (x * gn.exp(last))))
    program = compiled_with(sink, x, [loss], monkeypatch)
    assert len(scans_of(program)) == 1
    assert_close(program(feed(x)), gn.compile(x, [loss], native="never")(feed(x)), 1e-12)


# --------------------------------------------------------------------------------------- schedules


def simulated(recurrence, schedule):
    """Steps computed again and most bytes, by going through a schedule."""
    peak = extra = 0

    def there(steps, schedule, held):
        """What is held when the first way through some steps is done."""
        if not schedule:
            return held + steps * recurrence.kept_nbytes
        (count, length), *_ = schedule
        last = steps - count * length
        assert last > 0
        return held + count * recurrence.carry_nbytes + last * recurrence.kept_nbytes

    def back(steps, schedule, held):
        nonlocal peak, extra
        peak = max(peak, there(steps, schedule, held))
        if schedule:
            (count, length), *inner = schedule
            held += count * recurrence.carry_nbytes
            for _ in range(count):
                extra += length
                back(length, inner, held)

    back(recurrence.steps, schedule, 0)
    return extra, peak


@pytest.mark.parametrize("steps", [2, 3, 10, 97, 1000])
@pytest.mark.parametrize("carry", [1, 4])
def test_schedules_keep_to_their_bytes(steps, carry):
    recurrence = Recurrence(steps, carry, 3)
    costs = []
    for nbytes in sorted({*range(4, 60, 5), steps, 3 * steps - 1, 3 * steps}):
        schedule = cheapest(recurrence, nbytes)
        if schedule is None:
            assert not costs, "with more memory there is a schedule too"
            continue
        extra, peak = simulated(recurrence, schedule)
        assert (extra, peak) == (extra_steps(schedule), recurrence.nbytes(schedule))
        assert peak <= nbytes
        costs.append(extra)
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == 0


def test_schedules_are_not_far_from_the_best_of_any_shape():
    """Segments may have any lengths there, all different: a dynamic program over steps."""

    @cache
    def best(steps, places):
        if steps <= places:
            return 0
        if places < 2:
            return float("inf") if places < 1 else steps * (steps - 1) // 2
        return min(
            first + best(first, places) + best(steps - first, places - 1)
            for first in range(1, steps)
        )

    for places, worst in ((30, 1.05), (24, 1.1), (18, 1.3)):
        found = cheapest(Recurrence(100, 1, 1), places)
        assert extra_steps(found) <= worst * best(100, places)


def test_the_smallest_schedule_of_each_number_of_levels():
    recurrence = Recurrence(10_000, 1, 1)
    nbytes = [recurrence.nbytes(smallest(recurrence, levels)) for levels in range(1, 5)]
    assert nbytes == sorted(nbytes, reverse=True)
    assert nbytes[0] <= 200
    assert nbytes[1] <= 66
    assert nbytes[3] <= 40
