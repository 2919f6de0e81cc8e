"""The pipeline: which passes run, in which order, and why."""

from __future__ import annotations

from graphnn.compiler.conditionals.simplify import simplify_conditionals
from graphnn.compiler.driver import Pass
from graphnn.compiler.passes.canonicalize import canonicalize
from graphnn.compiler.passes.correlate import correlate
from graphnn.compiler.passes.cut_first import cut_first
from graphnn.compiler.passes.divide_reductions import divide_reductions
from graphnn.compiler.passes.expand import expand
from graphnn.compiler.passes.finish_products import finish_products
from graphnn.compiler.passes.fold_constants import fold_constants
from graphnn.compiler.passes.fuse import fuse
from graphnn.compiler.passes.fuse_prologues import fuse_prologues
from graphnn.compiler.passes.join_pads import join_pads
from graphnn.compiler.passes.lower import lower
from graphnn.compiler.passes.merge_products import merge_products
from graphnn.compiler.passes.pack_once import pack_once
from graphnn.compiler.passes.plan_memory import plan_memory
from graphnn.compiler.passes.postpone_updates import postpone_updates
from graphnn.compiler.passes.recompute import recompute
from graphnn.compiler.passes.rematerialize import rematerialize_before
from graphnn.compiler.passes.schedule import schedule
from graphnn.compiler.passes.segment_scans import segment_scans_before
from graphnn.compiler.passes.simplify import simplify
from graphnn.compiler.passes.specialize import specialize
from graphnn.compiler.scans.bodies import everywhere, inside_first, outside_first, where_scans_are
from graphnn.compiler.scans.hoist import hoist
from graphnn.compiler.scans.merge import merge_scans
from graphnn.compiler.scans.reroll import reroll
from graphnn.compiler.scans.skip_padding import skip_padding
from graphnn.compiler.scans.split_products import split_products
from graphnn.compiler.scans.trim import trim_scans

__all__ = ["LEVELS", "O0", "O1", "O2", "SKIPPABLE", "until_scheduled"]

APART: tuple[Pass, ...] = (
    inside_first(schedule),  # an order of computation; updates come last
    lower,  # nodes become instructions on views of buffers
    plan_memory,  # buffers get their place in the arena
)
"""From a graph of primitives to planned memory, one instruction for each."""

TOGETHER: tuple[Pass, ...] = (
    inside_first(schedule),
    inside_first(fuse),  # what is computed together needs no memory in between
    recompute,  # nor does what is cheap to compute where it is read
    finish_products,  # on a GPU; what is left behind products is known now. Rounds of loops keep
    # their kernels: those take up more, and become one launch of all rounds together.
    lower,
    pack_once,  # weights that are used at every step of a recurrence
    fuse_prologues,  # after it: what is packed once for all is no one's own
    postpone_updates,  # on a GPU, to be one launch
    plan_memory,
)
"""From a graph of primitives to planned memory, several nodes to an instruction."""

AFTER_MERGING: tuple[Pass, ...] = (
    everywhere(trim_scans),
    everywhere(split_products),  # of parts that leave their step, and parts that stay
    merge_products,  # before they leave, so that of a step one product leaves where several would
    everywhere(hoist),  # products over all steps at once
    everywhere(trim_scans),
    where_scans_are(everywhere(simplify_conditionals)),  # of steps that give less now
    where_scans_are(everywhere(canonicalize)),
    everywhere(join_pads),  # what was cut is put together again, without zeros in between
    where_scans_are(everywhere(skip_padding)),  # once nothing leaves a step any more
    everywhere(cut_first),  # on a GPU: behind what merges slices
    divide_reductions,  # sums to few values get rows, one for each thread and more
)
"""What is done to graphs when copies of scans are one."""

O0: tuple[Pass, ...] = (
    specialize,  # everything later works with numbers for sizes
    everywhere(canonicalize),  # one way to write a thing, so that rules need one pattern
    everywhere(expand),  # from here on every node has a kernel
    everywhere(correlate),  # convolutions have one direction, which code is generated for
    segment_scans_before(APART),
    rematerialize_before(APART),  # under a memory budget; it tries out what comes after it
    *APART,
)
"""No rewriting: what the user wrote, one instruction per operator."""

O1: tuple[Pass, ...] = (
    specialize,
    everywhere(canonicalize),
    everywhere(fold_constants),  # rules look for numbers, so numbers come first
    everywhere(simplify),  # while composites still have names: log(softmax(x)) -> log_softmax(x)
    everywhere(simplify_conditionals),  # branches that are known, results that nobody reads
    everywhere(expand),
    everywhere(correlate),
    segment_scans_before(TOGETHER),
    rematerialize_before(TOGETHER),
    *TOGETHER,
)
"""Exact rewrites alone (see `Exactness`)."""

O2: tuple[Pass, ...] = (
    specialize,
    join_pads,  # what reads all steps reads them as one array
    reroll,  # first of all: what comes later costs as much as there are nodes
    everywhere(canonicalize),
    everywhere(fold_constants),
    everywhere(simplify),  # here it may also reassociate
    everywhere(simplify_conditionals),
    everywhere(expand),
    everywhere(correlate),
    outside_first(merge_scans),  # what derivative rules computed once more; then copies meet within
    # Before products leave their segment.
    segment_scans_before((*AFTER_MERGING, *TOGETHER), may_sink=True),
    *AFTER_MERGING,
    rematerialize_before(TOGETHER),
    *TOGETHER,
)
"""Reassociating rewrites too. The default."""

LEVELS = {"O0": O0, "O1": O1, "O2": O2}

_NEEDED = {each.__name__ for each in O0}

SKIPPABLE = tuple(dict.fromkeys(each.__name__ for each in O2 if each.__name__ not in _NEEDED))
"""Passes that make programs faster and nothing else: those that O0 does without."""


def until_scheduled(passes: tuple[Pass, ...]) -> int:
    """How many passes lead to nodes in their order; the others make instructions of them."""
    return 1 + [each.__name__ for each in passes].index("schedule")
