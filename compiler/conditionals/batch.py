"""Conds and while loops for many examples.

A predicate that is the same for all of them chooses a branch for all. If it differs, both branches
are computed and every example gets its own; but a branch that computes something is skipped where
no example takes it and the other one computes nothing. A while loop goes on until all examples are
done; those that are done stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphnn.compiler.batching import batch_nodes, for_all
from graphnn.core.dims import Size
from graphnn.core.graph import depending_on, substitute, topological_order
from graphnn.core.node import Node, make_node
from graphnn.ops.arithmetic import where
from graphnn.ops.broadcasting import broadcast_to, reshape
from graphnn.ops.conditionals import Choice
from graphnn.ops.constants import CONSTANT
from graphnn.ops.control import TUPLE
from graphnn.ops.leaves import input_like
from graphnn.ops.reduction import all as all_of
from graphnn.ops.reduction import any as any_of
from graphnn.ops.scan_primitive import Carry
from graphnn.ops.while_loops import Rounds

__all__ = ["batch_cond", "batch_while"]


def batch_cond(node: Node, inputs: Sequence[Node], mapped: Sequence[bool], size: Size) -> Node:
    """A cond for many examples, given its inputs for all of them; see `Op.batch`."""
    choice = Choice.of(node)
    given: dict[Node, Node] = {}
    examples: dict[Node, Node] = {}
    for symbol, each, is_mapped in zip(choice.operands, inputs[1:], mapped[1:], strict=True):
        if is_mapped:
            examples[symbol] = for_all(symbol, size)
        given[examples.get(symbol, symbol)] = each
    same = set(choice.operands) - set(examples)
    one, other = (
        tuple(_batched(side, examples, same, size)) for side in (choice.if_true, choice.if_false)
    )
    predicate = inputs[0]
    if not mapped[0]:
        many = replace(choice, predicate=predicate, operands=given, if_true=one, if_false=other)
        return make_node(TUPLE, many.build())
    flags = input_like("predicate", predicate.tensor)
    given[flags] = predicate
    both = tuple(_chosen(flags, *pair) for pair in zip(one, other, strict=True))
    known = set(given)
    for light, decide, sides in (
        (other, any_of, (both, other)),
        (one, all_of, (one, both)),
    ):
        if _computes_nothing(light, known):
            many = Choice(decide(predicate), given, *sides, choice.since)
            return make_node(TUPLE, many.build())
    return make_node(TUPLE, substitute(both, given))


def batch_while(node: Node, inputs: Sequence[Node], mapped: Sequence[bool], size: Size) -> Node:
    """A while loop for many examples, given its inputs for all of them; see `Op.batch`.

    A carry differs between examples if it does so before the first round or after any, or if
    examples are done at different times.
    """
    rounds = Rounds.of(node)
    n_constants = len(node.inputs) - len(rounds.carries)
    constants = node.inputs[:n_constants]
    pairs = list(zip((*constants, *rounds.symbols), inputs, mapped, strict=True))
    whole = {one: many for one, many, is_mapped in pairs if is_mapped}
    examples = {
        one: for_all(one, size) if one in rounds.symbols else many for one, many in whole.items()
    }
    while True:
        depending = depending_on(rounds.outputs, examples)
        are_apart = rounds.condition in depending
        late = [
            each.symbol
            for each in rounds.carries
            if each.symbol not in examples and (are_apart or each.next in depending)
        ]
        if not late:
            break
        examples.update((symbol, for_all(symbol, size)) for symbol in late)
    same = {*constants, *rounds.symbols} - set(examples)
    condition = rounds.condition
    if are_apart:
        (condition,) = _batched((condition,), examples, same, size)
    carries = []
    for each in rounds.carries:
        if each.symbol not in examples:
            carries.append(each)
            continue
        first = whole.get(each.symbol)
        if first is None:
            first = broadcast_to(each.first, (size, *each.first.shape))
        symbol = examples[each.symbol]
        (after,) = _batched((each.next,), examples, same, size)
        after = _chosen(condition, after, symbol) if are_apart else after
        carries.append(Carry(symbol, first, after))
    goes_on = any_of(condition) if are_apart else condition
    finals = Rounds(tuple(carries), goes_on).build()
    return make_node(
        TUPLE,
        [
            final if each.symbol in examples else broadcast_to(final, (size, *final.shape))
            for each, final in zip(rounds.carries, finals, strict=True)
        ],
    )


def _batched(
    outputs: Sequence[Node], examples: dict[Node, Node], same: set[Node], size: Size
) -> list[Node]:
    """Nodes for all examples, also if no example differs."""
    if examples:
        return batch_nodes(outputs, examples, boundary=same)
    return [broadcast_to(each, (size, *each.shape)) for each in outputs]


def _chosen(flags: Node, one: Node, other: Node) -> Node:
    """For every example one or the other, as its flag says."""
    if one is other:
        return one
    shape = (*flags.shape, *(1 for _ in range(one.ndim - 1)))
    made: Node = where(reshape(flags, shape), one, other)
    return made


def _computes_nothing(outputs: Sequence[Node], known: set[Node]) -> bool:
    """Whether nodes only look at what is known, or at constants."""
    computed = topological_order(outputs, boundary=known)
    return all(each.op.is_view or each.op is CONSTANT for each in computed)
