"""Segments with loops: rounds, moving arguments, several threads, and what is between."""

import itertools

import numpy as np
import pytest
from native_calls import COUNT, FAIL, MIX, address_of, interval, mixed

from graphnn.compiler.native.partition import Begin, End, Share, partition, work_ns
from graphnn.compiler.native.runtime import Call, Segment, Slot, slot_interval
from graphnn.compiler.unit import Loop

SMALL, LARGE = 100.0, 50_000.0
ROW = 64 * 8
"""Bytes of 64 numbers."""


def at(*places, cost_ns=SMALL, n_chunks=8, is_commit=False):
    """A call that reads and writes places."""
    touched = tuple((8 * place, 8 * place + 8) for place in places)
    return Call(1, n_chunks, (), touched, touched, cost_ns, is_commit)


def mix(to, source, to_row=0, source_row=0, moves=((), ()), cost_ns=SMALL):
    """A call that mixes a row of a matrix into a row of another one."""
    return Call(
        address_of(MIX),
        64,
        (to.ctypes.data + ROW * to_row, source.ctypes.data + ROW * source_row),
        (interval(to), interval(source)),
        (interval(to),),
        cost_ns,
        moves=moves,
    )


def count(numbers, cost_ns=SMALL, moves=()):
    touched = (interval(numbers),)
    return Call(
        address_of(COUNT), 64, (numbers.ctypes.data,), touched, touched, cost_ns, moves=(moves,)
    )


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 40, (*shape, 64))


# ------------------------------------------------------------------------------------- partition


def test_work_is_counted_for_all_rounds():
    calls = [at(0, cost_ns=1.0), at(1, cost_ns=10.0), at(2, cost_ns=100.0)]
    assert work_ns(calls, [Loop(0, 3, 2), Loop(1, 2, 5)]) == 2 + 100 + 200


def test_one_thread_meets_nobody():
    outer, inner = Loop(0, 3, 4), Loop(1, 3, 2)
    (program,) = partition([at(0), at(0), at(1), at(2)], 1, regions=[outer, inner])
    assert program == [
        Begin(outer),
        Share(0, 0, 8),
        Begin(inner),
        Share(1, 0, 8),
        Share(2, 0, 8),
        End(inner, 1),
        End(outer, 0),
        Share(3, 0, 8),
    ]


def test_loops_of_the_same_calls_lie_within_each_other():
    outer, inner = Loop(0, 1, 4), Loop(0, 1, 2)
    for n_threads, cost_ns in ((1, SMALL), (2, LARGE)):
        for program in partition([at(0, cost_ns=cost_ns)], n_threads, regions=[outer, inner]):
            steps = [each for each in program if isinstance(each, Begin | End)]
            assert steps == [Begin(outer), Begin(inner), End(inner, 1), End(outer, 0)]


def test_a_loop_of_small_calls_belongs_to_one_thread():
    """It has no barrier, however long it takes; the other thread does something else."""
    loop = Loop(0, 2, 1000)
    calls = [at(0, cost_ns=1000.0), at(0, cost_ns=1000.0), at(5, cost_ns=2e6, n_chunks=1)]
    first, second = partition(calls, 2, regions=[loop])
    assert first == [Begin(loop), Share(0, 0, 8), Share(1, 0, 8), End(loop, 0)]
    assert second == [Share(2, 0, 1)]


def test_rounds_within_rounds_count_for_the_thread_that_goes_them():
    """What the other thread could do meanwhile is too little for two."""
    calls = [at(0), at(0, cost_ns=1000.0), at(5, cost_ns=2e5, n_chunks=1)]
    assert len(partition(calls, 2, regions=[Loop(0, 2, 10), Loop(1, 2, 100)])) == 1
    assert len(partition(calls, 2, regions=[Loop(0, 2, 10), Loop(1, 2, 20)])) == 2


def test_a_lonely_loop_waits_for_what_it_reads():
    calls = [at(0, cost_ns=LARGE), at(0), at(0, cost_ns=LARGE)]
    loop = Loop(1, 2, 5)
    programs = partition(calls, 2, regions=[loop])
    assert [program.count("barrier") for program in programs] == [2, 2]
    lonely = [thread for thread, program in enumerate(programs) if Begin(loop) in program]
    assert len(lonely) == 1
    program = programs[lonely[0]]
    assert program.index("barrier") < program.index(Begin(loop))
    assert program[-2] == "barrier"


def test_a_lonely_loop_stays_where_what_it_reads_was_made():
    calls = [at(0), at(0), at(9, cost_ns=LARGE)]
    loop = Loop(1, 2, 50)
    programs = partition(calls, 2, regions=[loop])
    (thread,) = (number for number, each in enumerate(programs) if Share(0, 0, 8) in each)
    assert programs[thread][:3] == [Share(0, 0, 8), Begin(loop), Share(1, 0, 8)]


def test_threads_go_round_a_loop_of_large_calls_together():
    """They meet before it and at the end of every round, and what is small in it has one thread."""
    loop = Loop(0, 3, 7)
    calls = [at(0, cost_ns=LARGE), at(1), at(2, cost_ns=LARGE)]
    programs = partition(calls, 3, regions=[loop])
    assert len(programs) == 3
    for program in programs:
        assert program[:2] == ["barrier", Begin(loop)]
        assert program[-2:] == ["barrier", End(loop, 0)]
    for number, threads in ((0, 3), (1, 1), (2, 3)):
        shares = [
            each
            for program in programs
            for each in program
            if isinstance(each, Share) and each.call == number
        ]
        assert len(shares) == threads
        assert sum(each.end - each.begin for each in shares) == 8


def test_a_lonely_loop_within_a_loop_of_all():
    outer, inner = Loop(0, 3, 4), Loop(1, 2, 9)
    programs = partition(
        [at(0, cost_ns=LARGE), at(1), at(2, cost_ns=LARGE)], 2, regions=[outer, inner]
    )
    owners = [program for program in programs if Begin(inner) in program]
    assert len(owners) == 1
    assert End(inner, 1) in owners[0]
    assert all(End(outer, 0) in program for program in programs)


def test_loops_beside_each_other():
    loops = [Loop(0, 1, 2), Loop(2, 4, 3), Loop(2, 3, 5), Loop(4, 5, 7)]
    calls = [at(number, cost_ns=LARGE) for number in range(6)]
    for program in partition(calls, 2, regions=loops):
        ends = [each for each in program if isinstance(each, End)]
        assert ends == [End(loops[0], 0), End(loops[2], 1), End(loops[1], 0), End(loops[3], 0)]


@pytest.mark.parametrize("cost_ns", [SMALL, LARGE])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_status_is_looked_at_again_behind_a_loop_that_may_set_it(n_threads, cost_ns):
    status = (8 * 100, 8 * 101)
    calls = [
        at(0, cost_ns=LARGE, is_commit=True),
        at(100, 1, cost_ns=cost_ns),
        at(2, cost_ns=LARGE, is_commit=True),
    ]
    for program in partition(calls, n_threads, status, [Loop(1, 2, 3)]):
        assert program.count("check") == 2
        (behind,) = (
            n for n, each in enumerate(program) if isinstance(each, Share) and each.call == 2
        )
        last = max(n for n, each in enumerate(program[:behind]) if each == "check")
        assert not any(isinstance(each, Begin | End) for each in program[last:behind])


# --------------------------------------------------------------------------------------- running


@pytest.mark.parametrize("cost_ns", [SMALL, LARGE])
@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_rounds(n_threads, cost_ns):
    """What stands before, in and behind a loop, in the order in which it stands there."""
    memory, expected = drawn(3), drawn(3)
    calls = [
        mix(memory, memory, 0, 1, cost_ns=cost_ns),
        mix(memory, memory, 1, 2, cost_ns=cost_ns),
        mix(memory, memory, 2, 1, cost_ns=cost_ns),
        mix(memory, memory, 0, 2, cost_ns=cost_ns),
    ]
    segment = Segment(calls, n_threads, regions=[Loop(1, 3, 25)])
    assert (segment.n_threads > 1) == (n_threads > 1 and cost_ns == LARGE)
    for _ in range(3):
        segment.run()
        mixed(expected[0], expected[1])
        for _ in range(25):
            mixed(expected[1], expected[2])
            mixed(expected[2], expected[1])
        mixed(expected[0], expected[2])
        np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("costs", [(SMALL, SMALL), (LARGE, SMALL), (LARGE, LARGE)])
@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_arguments_move_in_all_loops_around(n_threads, costs):
    """And lie where they lay when all is done: the second run is like the first."""
    rows, carry = drawn(4, 3), drawn(2, seed=1)
    expected = carry.copy()
    backwards = ((), (3 * ROW, -ROW))
    calls = [
        mix(carry, carry, 0, 1, cost_ns=costs[0]),
        mix(carry, rows, 1, 2, backwards, cost_ns=costs[1]),
        mix(carry, rows, 0, 9, ((), (-3 * ROW,)), cost_ns=costs[0]),
    ]
    segment = Segment(calls, n_threads, regions=[Loop(0, 3, 4), Loop(1, 2, 3)])
    assert (segment.n_threads > 1) == (n_threads > 1 and LARGE in costs)
    for _ in range(3):
        segment.run()
        for outer in range(4):
            mixed(expected[0], expected[1])
            for inner in range(3):
                mixed(expected[1], rows[outer, 2 - inner])
            mixed(expected[0], rows[3 - outer, 0])
        np.testing.assert_array_equal(carry, expected)


@pytest.mark.parametrize("cost_ns", [SMALL, LARGE])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_move_too(n_threads, cost_ns):
    """A row of sums, each of the one before it: a carry of which all steps are kept."""
    row, rows = drawn(6), drawn(5, seed=1)
    expected = row.copy()
    segment = Segment(
        [
            mix(row, row, 1, 0, ((ROW,), (ROW,)), cost_ns),
            mix(row, rows, 1, 0, ((ROW,),) * 2, cost_ns),
        ],
        n_threads,
        regions=[Loop(0, 2, 5)],
    )
    segment.run()
    for number in range(5):
        mixed(expected[number + 1], expected[number])
        mixed(expected[number + 1], rows[number])
    np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("cost_ns", [SMALL, LARGE])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_slots_move(n_threads, cost_ns):
    """Their addresses are other ones in every run."""
    whole = (slot_interval(0, 5 * ROW), slot_interval(1, ROW))
    call = Call(
        address_of(MIX), 64, (Slot(1), Slot(0)), whole, whole[1:], cost_ns, moves=((), (ROW,))
    )
    segment = Segment([call], n_threads, n_slots=2, regions=[Loop(0, 1, 5)])
    for seed in range(5):
        rows, carry = drawn(5, seed=seed), drawn(seed=seed + 9)
        expected = carry.copy()
        segment.run([rows.ctypes.data, carry.ctypes.data])
        for row in rows:
            mixed(expected, row)
        np.testing.assert_array_equal(carry, expected)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_random_programs(n_threads):
    """Loops of all kinds beside the same calls written out."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        memory = drawn(6, seed=seed)
        expected = memory.copy()
        costs = rng.choice([SMALL, 3_000.0, LARGE], 12)
        pairs = [tuple(rng.choice(6, 2, replace=False)) for _ in costs]
        calls = [
            mix(memory[to], memory[source], cost_ns=float(cost))
            for (to, source), cost in zip(pairs, costs, strict=True)
        ]
        cuts = sorted(rng.choice(np.arange(1, 12), 4, replace=False).tolist())
        outer, beside = Loop(cuts[0], cuts[2], 3), Loop(cuts[2], cuts[3], 4)
        inner = Loop(cuts[0] if seed % 2 else cuts[1], cuts[2], 5)
        Segment(calls, n_threads, regions=[outer, inner, beside]).run()
        order = [
            *range(outer.begin),
            *3 * [*range(outer.begin, inner.begin), *5 * [*range(inner.begin, inner.end)]],
            *4 * [*range(beside.begin, beside.end)],
            *range(beside.end, 12),
        ]
        for number in order:
            to, source = pairs[number]
            mixed(expected[to], expected[source])
        np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("cost_ns", [SMALL, LARGE])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_profile_counts_all_rounds(n_threads, cost_ns):
    numbers, more = np.zeros((2, 64), "int64")
    calls = [count(numbers, cost_ns), count(more, cost_ns), count(numbers, cost_ns)]
    loops = [Loop(1, 2, 5000)]
    segment = Segment(calls, n_threads, regions=loops)
    for turn in (1, 2):
        times = segment.profile()
        np.testing.assert_array_equal(numbers, 2 * turn)
        np.testing.assert_array_equal(more, 5000 * turn)
        assert len(times) == 3
        assert all(each > 0 for each in times)
    segment.run()
    np.testing.assert_array_equal(more, 15_000)


@pytest.mark.parametrize("cost_ns", [SMALL, LARGE])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_nothing_is_committed_after_an_error_in_a_loop(n_threads, cost_ns):
    status, state, rows = np.zeros(64, "int64"), np.zeros(64, "int64"), np.zeros((9, 64), "int64")
    bad = status[:1]
    watched = (interval(bad),)
    failing = Call(address_of(FAIL), 64, (bad.ctypes.data,), watched, watched, cost_ns)
    touched = (interval(rows),)
    counting = Call(
        address_of(COUNT), 64, (rows.ctypes.data,), touched, touched, cost_ns, moves=((ROW,),)
    )
    address, touched = state.ctypes.data, (interval(state),)
    commit = Call(address_of(COUNT), 64, (address,), touched, touched, cost_ns, is_commit=True)
    segment = Segment(
        [commit, counting, failing, commit],
        n_threads,
        status=bad.ctypes.data,
        regions=[Loop(1, 3, 9)],
    )
    for turn in range(1, 30):
        status[:] = 0
        assert segment.run() == 77
        np.testing.assert_array_equal(state, turn)
        np.testing.assert_array_equal(rows, turn)  # the pointer is back at the first row


def test_two_segments_with_one_loop_object():
    """Rounds are counted by each program for itself."""
    loop = Loop(0, 1, 7)
    arrays = np.zeros((2, 64), "int64")
    segments = [Segment([count(each, LARGE)], 2, regions=[loop]) for each in arrays]
    for _, segment in itertools.product(range(5), segments):
        segment.run()
    np.testing.assert_array_equal(arrays, 35)
