"""The pipeline: which passes run, in which order, and why."""

from __future__ import annotations

from graphnn.compiler.driver import Pass
from graphnn.compiler.passes.canonicalize import canonicalize
from graphnn.compiler.passes.correlate import correlate
from graphnn.compiler.passes.divide_reductions import divide_reductions
from graphnn.compiler.passes.expand import expand
from graphnn.compiler.passes.fold_constants import fold_constants
from graphnn.compiler.passes.fuse import fuse
from graphnn.compiler.passes.fuse_prologues import fuse_prologues
from graphnn.compiler.passes.lower import lower
from graphnn.compiler.passes.pack_once import pack_once
from graphnn.compiler.passes.plan_memory import plan_memory
from graphnn.compiler.passes.rematerialize import rematerialize_before
from graphnn.compiler.passes.schedule import schedule
from graphnn.compiler.passes.simplify import simplify
from graphnn.compiler.passes.specialize import specialize

__all__ = ["LEVELS", "O0", "O1", "O2"]

APART: tuple[Pass, ...] = (
    schedule,  # an order of computation; updates come last
    lower,  # nodes become instructions on views of buffers
    plan_memory,  # buffers get their place in the arena
)
"""From a graph of primitives to planned memory, one instruction for each."""

TOGETHER: tuple[Pass, ...] = (
    schedule,
    fuse,  # what is computed together needs no memory in between
    lower,
    pack_once,  # weights that are used at every step of a recurrence
    fuse_prologues,  # after it: what is packed once for all is no one's own
    plan_memory,
)
"""From a graph of primitives to planned memory, several nodes to an instruction."""

O0: tuple[Pass, ...] = (
    specialize,  # everything later works with numbers for sizes
    canonicalize,  # one way to write a thing, so that rules need one pattern
    expand,  # from here on every node has a kernel
    correlate,  # convolutions have one direction, which code is generated for
    rematerialize_before(APART),  # under a memory budget; it tries out what comes after it
    *APART,
)
"""No rewriting: what the user wrote, one instruction per operator."""

O1: tuple[Pass, ...] = (
    specialize,
    canonicalize,
    fold_constants,  # rules look for numbers, so numbers come first
    simplify,  # while composites still have names: log(softmax(x)) -> log_softmax(x)
    expand,
    correlate,
    rematerialize_before(TOGETHER),
    *TOGETHER,
)
"""Exact rewrites alone (see `Exactness`)."""

O2: tuple[Pass, ...] = (
    specialize,
    canonicalize,
    fold_constants,
    simplify,  # here it may also reassociate
    expand,
    correlate,
    divide_reductions,  # sums to few values get rows, one for each thread and more
    rematerialize_before(TOGETHER),
    *TOGETHER,
)
"""Reassociating rewrites too. The default."""

LEVELS = {"O0": O0, "O1": O1, "O2": O2}
