"""plan_memory around loops: what a round needs from the one before it is not overwritten."""

import itertools

import pytest
from looping import assert_executors_agree, drawn

import graphnn as gn
from graphnn.compiler.passes.plan_memory import live_ranges
from graphnn.compiler.unit import Buffer, Instruction, Loop, Storage, Unit, View
from graphnn.core.dtypes import as_dtype
from graphnn.core.graph import Graph


def unit_of(accesses, loops, results=()):
    """A unit of copies between numbered buffers: ``(read, written)`` for each instruction."""
    count = 1 + max(itertools.chain(*(itertools.chain(*each) for each in accesses)), default=-1)
    buffers = tuple(Buffer(Storage.ARENA, number, 64) for number in range(count))
    x = gn.input("x", (16,))

    def views(numbers):
        return tuple(View(buffers[n], 0, (16,), (4,), as_dtype("float32")) for n in numbers)

    instructions = tuple(
        Instruction("copy", None, {}, views(read), views(written), x) for read, written in accesses
    )
    return Unit(
        Graph((x,), (x,)),
        instructions=instructions,
        regions=tuple(loops),
        buffers=buffers,
        results=views(results),
    )


def test_what_is_read_in_a_loop_lives_until_behind_it():
    """0 is read by the first of three instructions; the others are made anew in every round."""
    unit = unit_of([((), (0,)), ((0,), (1,)), ((1,), (2,)), ((2,), ())], [Loop(1, 4, 5)])
    assert live_ranges(unit) == ((0, 4), (1, 2), (2, 3))


def test_what_is_written_in_a_loop_lives_from_its_beginning():
    """2 is written in every round and read behind the loop."""
    unit = unit_of(
        [((), (0,)), ((), (1,)), ((1,), (2,)), ((2,), (3,))], [Loop(1, 3, 5)], results=(3,)
    )
    assert live_ranges(unit) == ((0, 0), (1, 2), (1, 3), (3, 4))


def test_a_result_that_a_loop_writes_lives_from_its_beginning_to_the_end():
    unit = unit_of([((), (0,)), ((0,), (1,))], [Loop(0, 2, 5)], results=(1,))
    assert live_ranges(unit) == ((0, 1), (0, 2))


def test_a_carry_lives_all_through_the_loop():
    unit = unit_of([((), (0,)), ((0,), (1,)), ((1,), (0,)), ((), (2,))], [Loop(1, 3, 5)])
    assert live_ranges(unit) == ((0, 3), (1, 2), (3, 3))


def test_loops_within_loops():
    """0 is made outside, 1 in the outer loop, 2 in the inner one."""
    accesses = [((), (0,)), ((), (1,)), ((0, 1), (2,)), ((2,), ()), ((), (3,)), ((), (4,))]
    unit = unit_of(accesses, [Loop(1, 5, 3), Loop(2, 4, 2)])
    assert live_ranges(unit) == ((0, 5), (1, 4), (2, 3), (4, 4), (5, 5))


def test_loops_beside_each_other():
    """Between them, what the second one reads is kept; what the first one alone reads is not."""
    accesses = [((), (0,)), ((), (1,)), ((0,), ()), ((), (2,)), ((1,), ())]
    unit = unit_of(accesses, [Loop(2, 3, 3), Loop(4, 5, 2)])
    assert live_ranges(unit) == ((0, 3), (1, 5), (3, 3))


def test_what_is_made_in_the_outer_loop_outlives_the_inner_one():
    """It is read in the last instruction of the inner loop, whose first one writes elsewhere."""
    x = gn.input("x", (4, 3, 16))

    def step(h, rows):
        scale = gn.exp(h)

        def inner(g, row):
            for _ in range(3):
                g = gn.sum(g) * gn.softmax(g + row)
            return g * scale, None

        return gn.scan(inner, h, rows)[0], None

    last, _ = gn.scan(step, gn.ones(16), x)
    assert_executors_agree([x], last, drawn([x]))


@pytest.mark.parametrize("optimize", ["O0", "O2"])
def test_buffers_of_one_round_share_memory(optimize):
    """A chain in a step takes no more than its widest place, besides carries and results."""
    x = gn.input("x", (5, 1024))

    def step(h, x):
        for _ in range(10):
            h = gn.softmax(h + x)  # not one kernel
        return h, None

    last, _ = gn.scan(step, gn.ones(1024), x)
    program = gn.compile(x, last, optimize=optimize)
    assert program.arena_nbytes <= 6 * 4096
    (feed,) = drawn([x])
    wanted = gn.compile(x, last, backend="reference")(feed)
    assert abs(program(feed) - wanted).max() < 1e-6
