"""Conds and while loops become regions of instructions that are skipped, or gone round.

Before: ``y = cond(p, x)``, ``i = while(n, i0)``.
After: the instructions of both branches, which write ``y`` to one place, in a region for each that
is skipped unless ``p`` is set, or is not; ``copy i0``, then a loop of the instructions of the
condition and, in a region that leaves the loop where it is skipped, those of the body.

A carry lies in one place and is overwritten by each round, where the order of reading and writing
allows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphnn.compiler.unit import Branch, Loop, View
from graphnn.core.node import Node
from graphnn.core.spec import TupleSpec

if TYPE_CHECKING:
    from graphnn.compiler.passes.lower import Lowering

__all__ = ["lower_cond", "lower_while"]


def lower_cond(lowering: Lowering, node: Node) -> bool:
    """Lower a cond to two branches."""
    assert isinstance(node.spec, TupleSpec)
    flag, *given = map(lowering.view_of, node.inputs)
    results = [lowering.place_of(node, number) for number in range(len(node.spec.elements))]
    branches = []
    for name, when in (("if_true", True), ("if_false", False)):
        inner = lowering.inside(node.attrs[name], is_loop=False)
        inner.views.update((each, (view,)) for each, view in zip(inner.inputs, given, strict=True))
        branches.append((inner, when))
    # The second branch looks at the flag after the first one has written its results.
    writing = [_writes(inner, results, flag) for inner, _ in branches]
    if all(writing):
        flag = lowering.copy(flag, node.inputs[0])
    elif writing[0]:
        branches.reverse()
    for inner, when in branches:
        begin, n_regions = len(lowering.instructions), len(lowering.regions)
        inner.lower_all()
        inner.write(inner.outputs, results, begin=begin, in_place=True)
        end = len(lowering.instructions)
        if end > begin:  # a branch that gives what lies there needs none
            lowering.regions.insert(n_regions, Branch(begin, end, flag, when))
    lowering.views[node] = tuple(results)
    return True


def _writes(branch: Lowering, results: Sequence[View], flag: View) -> bool:
    """Whether a branch changes what a flag lies in, which one of the results is to take over."""
    pairs = zip(branch.outputs, results, strict=True)
    return any(
        result.overlaps(flag) and branch.views.get(node) != (result,) for node, result in pairs
    )


def lower_while(lowering: Lowering, node: Node) -> bool:
    """Lower a while loop to a loop that a branch leaves."""
    n_carry: int = node.attrs["n_carry"]
    constants, firsts = node.inputs[:-n_carry], node.inputs[-n_carry:]
    views = [lowering.view_of(each) for each in constants]
    places = []
    for first in firsts:
        place = lowering.allocate(first.tensor)
        places.append(lowering.copy(lowering.view_of(first), first, into=place))
    condition, body = (
        lowering.inside(node.attrs[name], is_loop=True) for name in ("condition", "body")
    )
    for inner in (condition, body):
        given = zip(inner.inputs, [*views, *places], strict=True)
        inner.views.update((each, (view,)) for each, view in given)
    begin, n_outer = len(lowering.instructions), len(lowering.regions)
    condition.lower_all()
    flag = condition.view_of(condition.outputs[0])
    test, n_inner = len(lowering.instructions), len(lowering.regions)
    body.reserve(body.inputs[-n_carry:], body.outputs, places)
    body.lower_all()
    body.write(body.outputs, places, begin=test, in_place=True)
    end = len(lowering.instructions)
    if end > test:  # empty arrays need none
        lowering.regions.insert(n_inner, Branch(test, end, flag, when=True, leaves=True))
        lowering.regions.insert(n_outer, Loop(begin, end, None))
    lowering.views[node] = tuple(places)
    return True
