"""A scan for many examples: one scan whose step is for many examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphnn.compiler.batching import batch_nodes, for_all
from graphnn.core.dims import Size
from graphnn.core.graph import depending_on
from graphnn.core.node import Node, make_node
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.control import TUPLE
from graphnn.ops.movement import moveaxis
from graphnn.ops.scan_primitive import Carry, Step

__all__ = ["batch_scan"]


def batch_scan(node: Node, inputs: Sequence[Node], mapped: Sequence[bool], size: Size) -> Node:
    """A scan for many examples, given its inputs for all of them; see `Op.batch`.

    A carry differs between examples if it does so before the first step or after any.
    """
    step = Step.of(node)
    n_constants = len(node.inputs) - len(step.symbols)
    pairs = zip((*node.inputs[:n_constants], *step.symbols), inputs, mapped, strict=True)
    whole = {one: many for one, many, is_mapped in pairs if is_mapped}
    examples = {
        one: for_all(one, size) if one in step.symbols else many for one, many in whole.items()
    }
    while True:
        depending = depending_on(step.outputs, examples)
        late = [each for each in step.carries if each.next in depending]
        late = [each for each in late if each.symbol not in examples]
        if not late:
            break
        examples.update((each.symbol, for_all(each.symbol, size)) for each in late)
    same = {*node.inputs[:n_constants], *step.symbols} - set(examples)
    made = batch_nodes(step.outputs, examples, boundary=same)
    carries = [
        _batched_carry(each, after, examples, whole, size)
        for each, after in zip(step.carries, made, strict=False)
    ]
    elements = {
        examples.get(symbol, symbol): moveaxis(whole[symbol], 0, 1) if symbol in whole else given
        for symbol, given in step.elements.items()
    }
    ys = made[len(carries) :]
    finals, stacked = Step(tuple(carries), elements, tuple(ys), step.length, step.reverse).build()
    results = [
        final if each.symbol in examples else broadcast_to(final, (size, *final.shape))
        for each, final in zip(step.carries, finals, strict=True)
    ]
    return make_node(TUPLE, [*results, *(moveaxis(each, 1, 0) for each in stacked)])


def _batched_carry(
    carry: Carry, after: Node, examples: Mapping[Node, Node], whole: Mapping[Node, Node], size: Size
) -> Carry:
    if carry.symbol not in examples:
        return carry
    first = whole.get(carry.symbol)
    if first is None:
        first = broadcast_to(carry.first, (size, *carry.first.shape))
    return Carry(examples[carry.symbol], first, after)
