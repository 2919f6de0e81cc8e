"""Scans as loops: every form of carry, sequence and result, on every executor."""

import numpy as np
import pytest
from looping import assert_executors_agree, drawn

import graphnn as gn
from graphnn.compiler.unit import Storage

STEPS, SIZE = 5, 4
BOTH_WAYS = pytest.mark.parametrize("reverse", [False, True])


def given(*shape, dtype="float32", name="x"):
    return gn.input(name, shape or (STEPS, SIZE), dtype)


def state_of(seed=0, *shape):
    values = np.random.default_rng(seed).normal(size=shape or (SIZE, SIZE))
    return gn.parameter(values.astype("float32") * 0.5)


def looped(inputs, outputs, updates=None, loops=1):
    """The program, once it is seen to be right and to have so many loops."""
    program = assert_executors_agree(inputs, outputs, drawn(inputs), updates)
    assert len(program.loops) == loops
    return program


def inside(program, number=0):
    """The kinds of instructions in a loop."""
    loop = program.loops[number]
    return [each.kind for each in program.instructions[loop.begin : loop.end]]


def tanh_step(h, x):
    h = gn.tanh(h * 0.5 + x)
    return h, None


# ----------------------------------------------------------------------------------------- carry


@BOTH_WAYS
def test_a_carry_is_overwritten_in_place(reverse):
    x = given()
    program = looped([x], gn.scan(tanh_step, gn.ones(SIZE), x, reverse=reverse)[0])
    assert inside(program) == ["kernel"]
    (instruction,) = program.instructions[program.loops[0].begin :]
    carry = instruction.outputs[0]
    assert carry in instruction.inputs
    assert not any(carry.moves)


@BOTH_WAYS
@pytest.mark.parametrize("is_old", [True, False])
def test_a_carry_of_which_all_steps_are_kept_is_a_row(is_old, reverse):
    """The result is a view of it: nothing is copied in a step."""
    x = given()

    def step(h, x):
        new = gn.tanh(h * 0.5 + x)
        return new, h if is_old else new

    program = looped([x], gn.scan(step, gn.ones(SIZE), x, reverse=reverse))
    assert inside(program) == ["kernel"]
    (written,) = program.instructions[program.loops[0].begin].outputs
    nbytes = SIZE * 4
    assert written.moves == (-nbytes if reverse else nbytes,)
    assert written.buffer.nbytes == (STEPS + 1) * nbytes
    last, ys = program.unit.results
    assert last.buffer is ys.buffer is written.buffer
    assert ys.offset == (nbytes if is_old == reverse else 0)
    assert last.offset == (0 if reverse else STEPS * nbytes)


@BOTH_WAYS
def test_a_carry_kept_before_and_after_the_step(reverse):
    x = given()

    def step(h, x):
        new = gn.tanh(h * 0.5 + x)
        return new, (h, new, h, gn.sin(new), h[::-1], new[1:])

    looped([x], gn.scan(step, gn.ones(SIZE), x, reverse=reverse))


@BOTH_WAYS
@pytest.mark.parametrize("kept", [0, 1, 2])
def test_carries_that_swap(kept, reverse):
    x = given()

    def step(carry, x):
        a, b = carry
        return (b, a), carry[:kept]

    looped([x], gn.scan(step, (gn.ones(SIZE), gn.zeros(SIZE)), x, reverse=reverse))


@BOTH_WAYS
def test_carries_that_swap_and_change(reverse):
    x = given()

    def step(carry, x):
        a, b = carry
        return (gn.sin(b + x), gn.cos(a)), (a, gn.exp(b))

    looped([x], gn.scan(step, (gn.ones(SIZE), gn.zeros(SIZE)), x, reverse=reverse))


@BOTH_WAYS
def test_delayed_carries(reverse):
    """What an element was one, two and three steps before."""
    x = given()

    def step(carry, x):
        one, two, three = carry
        return (x, one, two), three

    firsts = tuple(gn.full(SIZE, value) for value in (1.0, 2.0, 3.0))
    looped([x], gn.scan(step, firsts, x, reverse=reverse))
    looped([x], gn.scan(step, firsts, x, reverse=reverse)[1])


@BOTH_WAYS
def test_carries_that_are_one_node_after_a_step(reverse):
    x = given()

    def step(carry, x):
        new = gn.tanh(carry[0] - carry[1] + x)
        return (new, new), (new, new)

    looped([x], gn.scan(step, (gn.ones(SIZE), gn.zeros(SIZE)), x, reverse=reverse))


def test_a_carry_of_which_a_view_is_the_next():
    x = given(SIZE, SIZE)
    looped([x], gn.scan(lambda h, x: (h[::-1], h[:2]), gn.exp(x[0]), x))
    looped([x], gn.scan(lambda h, x: (gn.transpose(h), h[0] + x), x, x))


def test_a_carry_that_is_read_after_its_next_is_computed():
    x, w = given(), given(SIZE, SIZE, name="w")

    def step(h, x):
        new = gn.tanh(x @ gn.exp(w) + h)
        return new, gn.tanh(new @ w) @ w + h @ w

    looped([x, w], gn.scan(step, gn.ones(SIZE), x))


@pytest.mark.parametrize("first", ["spread", "strided", "fed", "element", "reshaped"])
def test_first_carries(first):
    x = given()
    carry = {
        "spread": gn.broadcast_to(x[0, :1], (SIZE,)),
        "strided": x[:SIZE, 1],
        "fed": given(SIZE, name="first"),
        "element": x[2],
        "reshaped": gn.reshape(gn.transpose(x[:2, :2]), (4,)),
    }[first]
    inputs = [x, carry] if first == "fed" else [x]
    looped(inputs, gn.scan(tanh_step, carry, x)[0])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "float16", "float64"])
def test_dtypes(dtype):
    x = given(dtype=dtype)

    def step(h, x):
        new = gn.where(x, ~h, h) if dtype == "bool" else h * x + h
        return new, h

    looped([x], gn.scan(step, gn.ones(SIZE, dtype), x))


def test_carries_of_several_dtypes():
    x = given()

    def step(carry, x):
        h, count, seen = carry
        h = gn.where(seen, h + x, h * count.astype("float32"))
        return (h, count + 1, (x > 0) | seen), (count, seen)

    looped([x], gn.scan(step, (gn.ones(SIZE), gn.constant(0), gn.zeros(SIZE, "bool")), x))


# ------------------------------------------------------------------------- sequences and results


@BOTH_WAYS
def test_results_that_are_not_computed(reverse):
    """An element, a part of one, a constant, a parameter; each of them more than once."""
    x, w = given(), state_of()

    def step(h, x):
        return gn.tanh(h + x), (x, x[1:], gn.ones(3), gn.transpose(w), x, 2.0)

    looped([x], gn.scan(step, gn.ones(SIZE), x, reverse=reverse))


@BOTH_WAYS
@pytest.mark.parametrize(
    "seen",
    [
        lambda x: gn.transpose(x),
        lambda x: x[::2, ::-1],
        lambda x: x[1:, 1:3],
        lambda x: gn.broadcast_to(x[:, :1], (STEPS, 6)),
        lambda x: gn.broadcast_to(x[0], (3, SIZE)),
        lambda x: x[::-1],
        lambda x: x[:1],
    ],
)
def test_sequences_that_are_views(seen, reverse):
    x = given()
    whole = seen(x)
    first = gn.ones(whole.shape[1])
    results = gn.scan(lambda h, x: (gn.tanh(h + x), h * x), first, whole, reverse=reverse)
    looped([x], results)
    looped([x], gn.scan(lambda h, x: (gn.tanh(h + x), h * x), first, gn.exp(whole)))


def test_feeds_are_read_where_they_are():
    x = given()
    program = looped([x], gn.scan(tanh_step, gn.ones(SIZE), x)[0])
    (instruction,) = program.instructions[program.loops[0].begin :]
    fed = [each for each in instruction.inputs if each.buffer.storage is Storage.FEED]
    assert [each.moves for each in fed] == [(SIZE * 4,)]
    arrays = [np.arange(20, dtype="float32").reshape(5, 4) / seed for seed in (10, 20)]
    made = [program(each) for each in arrays]  # at another place in every call
    for each, got in zip(arrays, made, strict=True):
        np.testing.assert_array_equal(got, program(each))
        np.testing.assert_array_equal(got, program(np.asfortranarray(each)))


def test_steps_without_carry():
    x = given()
    looped([x], gn.scan(lambda _, x: (None, gn.sin(x)), None, x)[1])


def test_nothing_to_do():
    """Empty arrays need no loop, and are results all the same."""
    x = given(STEPS, 0)
    assert_executors_agree([x], gn.scan(lambda h, x: (h + x, h), gn.zeros(0), x), drawn([x]))
    pair = (gn.zeros(0), gn.ones(0))
    swapped = gn.scan(lambda c, x: ((c[1], c[0]), None), pair, x)[0]
    looped([x], swapped, loops=0)
    y = given(name="y")
    mixed = gn.scan(lambda c, both: ((c[0] + both[0], c[1] + both[1]), c), (gn.ones(4), pair[0]),
                    (y, x))  # fmt: skip
    assert_executors_agree([y, x], mixed, drawn([y, x]))


def test_several_scans_in_one_program():
    """One reads what another gives; one stands alone."""
    x = given()
    last, ys = gn.scan(lambda h, x: (gn.tanh(h + x), gn.sin(h)), gn.ones(SIZE), x)
    second = gn.scan(lambda h, y: (gn.exp(-h) * y, h), last, ys, reverse=True)
    alone = gn.scan(lambda h, x: (gn.cos(h + x), h), gn.zeros(SIZE), x)
    looped([x], [second, alone, gn.sum(ys)], loops=3)


# ----------------------------------------------------------------------------------------- state


def test_the_last_carry_and_a_gradient_become_state():
    """A recurrent net that remembers, with weights that learn."""
    x, w, h = given(), state_of(0), state_of(1, SIZE)
    last, ys = gn.scan(lambda h, x: (gn.tanh(h @ w + x),) * 2, h, x)
    loss = gn.mean(ys**2)
    looped([x], loss, {h: last, w: w - 0.1 * gn.grad(loss, w)}, loops=2)


def test_results_of_all_steps_become_state():
    x, w = given(SIZE, SIZE), state_of()
    _, ys = gn.scan(lambda h, x: (gn.tanh(h + x), h), w[0], x)
    looped([x], gn.sum(w), {w: ys})


@BOTH_WAYS
def test_state_is_the_sequence_and_becomes_the_result(reverse):
    x, w = given(), state_of()
    _, ys = gn.scan(lambda h, row: (gn.tanh(h + row), h * row), x[0], w, reverse=reverse)
    looped([x], gn.sum(w), {w: ys})


def test_state_is_the_first_carry_and_becomes_the_last():
    x, w = given(), state_of()
    last, _ = gn.scan(lambda h, x: (gn.tanh(h @ h + x), None), w, x)
    looped([x], w[0], {w: last})


def test_a_sequence_that_is_new_state_too():
    """It is written to the state at once, and the loop goes along it there."""
    x, w = given(), state_of()
    new = gn.tanh(w * 0.5 + 1.0)
    last, _ = gn.scan(tanh_step, x[0], new)
    looped([x], last, {w: new})


# ---------------------------------------------------------------------------------------- nested


def inner_scan(reverse):
    def step(h, rows):
        return gn.scan(lambda g, row: (gn.tanh(g * 0.5 + row), g * row), h, rows, reverse=reverse)

    return step


@pytest.mark.parametrize("inner", [False, True])
@BOTH_WAYS
def test_a_step_that_is_a_scan_along_its_element(reverse, inner):
    """Views move in both loops."""
    x = given(STEPS, 3, SIZE)
    program = looped([x], gn.scan(inner_scan(inner), gn.ones(SIZE), x, reverse=reverse), loops=2)
    outside, within = program.loops
    assert outside.begin <= within.begin < within.end <= outside.end
    row = SIZE * 4
    expected = (-3 * row if reverse else 3 * row, -row if inner else row)
    moves = [
        view.moves
        for each in program.instructions[within.begin : within.end]
        for view in each.inputs
        if view.buffer.storage is Storage.FEED
    ]
    assert set(moves) == {expected}
    assert program.unit.runs[within.begin] == 3 * STEPS


def test_a_step_that_is_a_scan_along_a_transposed_element():
    x = given(STEPS, SIZE, 3)
    looped(
        [x],
        gn.scan(lambda h, rows: inner_scan(True)(h, gn.transpose(rows)), gn.ones(SIZE), x),
        loops=2,
    )


def test_a_step_that_is_a_scan_over_what_stays():
    """The inner loop moves, the outer one does not."""
    x, w = given(), state_of()

    def step(h, x):
        h, ys = gn.scan(lambda g, row: (gn.tanh(g * row + x), g), h, w)
        return h, gn.sum(ys, 0)

    looped([x], gn.scan(step, gn.ones(SIZE), x), loops=2)


@BOTH_WAYS
def test_a_scan_along_the_carry(reverse):
    x = given()

    def step(h, x):
        last, ys = gn.scan(lambda g, row: (gn.tanh(g * 0.5 + row), g), x, h, reverse=reverse)
        return h * 0.5 + last, (h, ys)

    looped([x], gn.scan(step, gn.ones((3, SIZE)), x), loops=2)


@pytest.mark.parametrize("kept", [True, False])
def test_a_scan_along_what_becomes_the_carry(kept):
    """It is written where the carry lies, and the inner loop goes along it there."""
    x, first = given(), given(3, SIZE, name="first")

    def step(h, x):
        new = gn.tanh(h + x)
        last, _ = gn.scan(tanh_step, gn.zeros(SIZE), new)
        return new, (last, new) if kept else last

    looped([x, first], gn.scan(step, first, x), loops=2)


def test_a_scan_along_what_is_kept():
    x, first = given(), given(3, SIZE, name="first")

    def step(h, x):
        kept = gn.tanh(h + x)
        last, _ = gn.scan(tanh_step, gn.zeros(SIZE), kept)
        return h * 0.5 + last, kept

    looped([x, first], gn.scan(step, first, x), loops=2)


def test_three_scans_deep():
    x = given(2, 3, 2, SIZE)

    def step(h, cube):
        return gn.scan(inner_scan(True), h, cube)

    program = looped([x], gn.scan(step, gn.ones(SIZE), x), loops=3)
    assert [each.count for each in program.loops] == [2, 3, 2]


def test_gradients_of_a_scan_within_a_scan():
    x = given(STEPS, 3, SIZE)
    last, ys = gn.scan(inner_scan(False), gn.ones(SIZE), x)
    loss = gn.sum(last) + gn.sum(gn.sin(ys))
    assert_executors_agree([x], [loss, gn.grad(loss, x)], drawn([x]))


def test_two_scans_side_by_side_within_a_scan():
    x, w = given(), state_of()

    def step(h, x):
        one, _ = gn.scan(tanh_step, h, w)
        other, ys = gn.scan(lambda g, row: (gn.sin(g + row), g), x, w, reverse=True)
        return one + other, ys

    looped([x], gn.scan(step, gn.ones(SIZE), x), loops=3)


# ------------------------------------------------------------------ operators of the host, errors


@BOTH_WAYS
def test_a_step_with_an_operator_of_the_host(reverse):
    """Python goes round, and native code between is told where it is."""
    x = given(STEPS, 4)
    first = gn.reshape(gn.transpose(x[:2, :2]), (4,))

    def step(h, x):
        square = gn.reshape(gn.tanh(h + x), (2, 2))
        root = gn.cholesky(square @ gn.transpose(square) + gn.eye(2))
        return gn.reshape(root, (4,)) * x, (h, gn.sin(x))

    results = gn.scan(step, first, x, reverse=reverse)
    program = looped([x], [results, gn.exp(first)])
    assert "host" in inside(program)
    assert "kernel" in inside(program)


@pytest.mark.parametrize("place", ["outer", "inner", "both"])
@BOTH_WAYS
def test_operators_of_the_host_in_loops_within_loops(reverse, place):
    """The inner loop is native where the outer one alone holds such an operator."""
    x = given(STEPS, 3, 2, 2)

    def root(square):
        return gn.cholesky(square @ gn.transpose(square) + gn.eye(2))

    def inner(h, row):
        h = gn.tanh(h * 0.5 + row)
        return root(h) if place != "outer" else h, h * row

    def step(h, rows):
        h, ys = gn.scan(inner, h, rows, reverse=not reverse)
        return root(h) if place != "inner" else h, ys

    looped([x], gn.scan(step, gn.eye(2), x, reverse=reverse), loops=2)


def test_large_results_of_steps_with_an_operator_of_the_host():
    """They lie in memory that is another one in every call, and move there."""
    x = given(STEPS, 64, 64)

    def step(h, x):
        h = gn.tanh(h + x)
        return h, (h * 2.0, gn.sort(x[0]))

    program = looped([x], gn.scan(step, gn.zeros((64, 64)), x))
    (fed,) = drawn([x])
    one = [each.copy() for each in gn.core.structure.flatten(program(fed))]
    other = gn.core.structure.flatten(program(fed * 2.0))
    for before, again, new in zip(one, gn.core.structure.flatten(program(fed)), other, strict=True):
        np.testing.assert_array_equal(before, again)
        assert not np.array_equal(before, new)


def test_an_inner_scan_of_no_step():
    x, none = given(), gn.input("none", (0, SIZE))

    def step(h, x):
        last, ys = gn.scan(lambda g, row: (g * row, g), h, none)
        return last + x, gn.sum(ys, 0)

    assert_executors_agree([x, none], gn.scan(step, gn.ones(SIZE), x), drawn([x, none]))


@pytest.mark.parametrize("debug", ["nan", "verify"])
@pytest.mark.parametrize("native", ["now", "never"])
def test_debugging_looks_at_every_round(debug, native):
    x = given(STEPS, 3, SIZE)
    outputs = gn.scan(inner_scan(False), gn.ones(SIZE), x)
    program = gn.compile([x], outputs, debug=debug, native=native)
    arrays = drawn([x])
    wanted = gn.compile([x], outputs, backend="reference")(*arrays)
    for one, other in zip(program(*arrays), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_first_number_that_is_none_stops_a_loop():
    """And the next call begins at its beginning."""
    x, state = given(), state_of(0, SIZE)
    last, ys = gn.scan(lambda h, x: (h * 0.5 + gn.log(x), h), gn.ones(SIZE), x)
    program = gn.compile(x, [last, ys], {state: last}, debug="nan")
    before = state.value.copy()
    bad = np.ones((STEPS, SIZE), "float32")
    bad[3] = -1.0
    with pytest.raises(gn.NonFiniteError, match="log"):
        program(bad)
    np.testing.assert_array_equal(state.value, before)
    good = np.full((STEPS, SIZE), 2.0, "float32")
    wanted = gn.compile(x, [last, ys], backend="reference")(good)
    for one, other in zip(program(good), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("native", ["now", "never", "background"])
@pytest.mark.parametrize("is_host", [False, True])
def test_an_index_out_of_range_is_told_and_changes_nothing(is_host, native):
    """Also where Python goes round; and the next call is right again."""
    numbers = given(STEPS, dtype="int64", name="numbers")
    table, other = state_of(), state_of(1)
    before = [table.value.copy(), other.value.copy()]

    def step(h, number):
        h = gn.cholesky(h @ gn.transpose(h) + gn.eye(SIZE)) if is_host else gn.tanh(h)
        return h + gn.take(table, number, axis=0), None

    last, _ = gn.scan(step, gn.ones((SIZE, SIZE)), numbers)
    updates = {table: table * 0.5, other: gn.exp(other) * 0.1}
    program = gn.compile(numbers, last, updates, native=native)
    for bad in ([0, 1, 2, 3, 4], [9, 0, 0, 0, 0], [0, 1, -5, 2, 3]):
        for call in (program, program.profile):
            with pytest.raises(gn.FeedError, match=r"index -?\d is out of range for 4 elements"):
                call(bad)
        np.testing.assert_array_equal(table.value, before[0])
        np.testing.assert_array_equal(other.value, before[1])
    good = [0, -1, 2, 3, 1]
    wanted = gn.compile(numbers, last, backend="reference")(good)
    np.testing.assert_allclose(program(good), wanted, rtol=1e-5)
    np.testing.assert_array_equal(table.value, before[0] * np.float32(0.5))


def test_an_index_out_of_range_in_a_scan_of_the_reference():
    """Where a scan is one operator, what comes after it waits too."""
    numbers, table = given(STEPS, dtype="int64", name="numbers"), state_of()
    before = table.value.copy()
    last, _ = gn.scan(lambda h, n: (h + gn.take(table, n, axis=0), None), gn.ones(SIZE), numbers)
    program = gn.compile(numbers, last, {table: gn.exp(table)}, backend="reference")
    with pytest.raises(gn.FeedError, match="index 4 is out of range"):
        program([0, 1, 2, 3, 4])
    np.testing.assert_array_equal(table.value, before)
