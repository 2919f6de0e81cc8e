"""while_loop: how often nodes are computed depends on values.

Condition and body are traced once; their graphs are attributes of one node. A loop with a bound is
no such node, but a scan of conds. Whoever changes a loop opens it (`Rounds.of`), works with
ordinary nodes that may read any node outside, and shuts it (`Rounds.build`).

Derivatives and batches of loops are loops: see :mod:`graphnn.compiler.conditionals`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphnn.core.dims import Size, as_size
from graphnn.core.dtypes import INT64
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.graph import Graph, depending_on, remade, substitute
from graphnn.core.node import Node, apart, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.core.structure import flatten, form_text, leaf_paths, outline, parts, unflatten
from graphnn.ops.bodies import (
    arguments_for,
    body_of,
    check_function,
    evaluate_body,
    flops_of,
    read_from_outside,
)
from graphnn.ops.conditionals import FLAG, Choice, check_flag, check_given, specs_of
from graphnn.ops.constants import CONSTANT, constant
from graphnn.ops.control import project
from graphnn.ops.leaves import input_like
from graphnn.ops.operands import as_node, cast_to, gives_way, is_weak
from graphnn.ops.scan_primitive import Carry, Step
from graphnn.ops.streams import LoopPlaces

__all__ = ["while_loop"]

_ORDER = "the condition comes first: gn.while_loop(condition, body, carry)"


class WhileOp(Op):
    """A body applied again and again, as long as another one, the condition, says so.

    Its inputs are constants, the same for every round, and the carry before the first one. Both
    bodies take ``(constants, carry)``. The results are the last carry.
    """

    name = "while_loop"
    body_attrs = ("condition", "body")

    def infer(self, *inputs: TensorSpec, condition: Graph, body: Graph, n_carry: int) -> TupleSpec:
        for each in (condition, body):
            check_given("while_loop", each, inputs)
        (flag,) = specs_of(condition)
        check_flag("while_loop: the condition", flag)
        specs, before = specs_of(body), inputs[len(inputs) - n_carry :]
        if specs != before:
            raise ShapeError(f"while_loop: a round makes {specs} of the carry {before}")
        return TupleSpec(specs)

    def evaluate(
        self, *arrays: Array, condition: Graph, body: Graph, n_carry: int
    ) -> tuple[Array, ...]:
        return apply_rounds(
            lambda *given: evaluate_body(condition, *given),
            lambda *given: evaluate_body(body, *given),
            arrays,
            n_carry=n_carry,
        )

    def evaluate_into(self, out: Array, *arrays: Array, **attrs: Any) -> None:
        (out[...],) = self.evaluate(*arrays, **attrs)

    def flops(self, node: Node) -> int:
        return sum(flops_of(node.attrs[name]) for name in self.body_attrs)

    def shown_attrs(self, node: Node) -> dict[str, Any]:
        return {name: node.attrs[name] for name in self.body_attrs}


WHILE = WhileOp()
register(WHILE)


def apply_rounds(
    condition: Callable[..., Sequence[Array]],
    body: Callable[..., Sequence[Array]],
    arrays: Sequence[Array],
    *,
    n_carry: int,
) -> tuple[Array, ...]:
    """The last carry of a while loop, by calling functions of constants and carry."""
    constants, carry = arrays[: len(arrays) - n_carry], tuple(arrays[len(arrays) - n_carry :])
    while condition(*constants, *carry)[0]:
        carry = tuple(body(*constants, *carry))
    return carry


# ---------------------------------------------------------------------------------- open and shut


@dataclass(frozen=True)
class Rounds:
    """A while loop laid open: nodes of one round, which may read any nodes outside.

    As in a scan, what no round changes stays outside and is computed once.

    Attributes
    ----------
    carries : tuple of Carry
    condition : Node
        Of the carry before a round: whether there is one.
    """

    carries: tuple[Carry, ...]
    condition: Node

    @staticmethod
    def of(node: Node) -> Rounds:
        """A round of a while loop, with symbols of its own."""
        n_constants = len(node.inputs) - node.attrs["n_carry"]
        constants, firsts = node.inputs[:n_constants], node.inputs[n_constants:]
        condition, body = (node.attrs[name] for name in WHILE.body_attrs)
        symbols = [input_like("carry", each.tensor) for each in body.inputs[n_constants:]]
        given = (*constants, *symbols)
        (flag,) = substitute(condition.outputs, dict(zip(condition.inputs, given, strict=True)))
        nexts = substitute(body.outputs, dict(zip(body.inputs, given, strict=True)))
        return Rounds(tuple(map(Carry, symbols, firsts, nexts)), flag)

    @property
    def symbols(self) -> tuple[Node, ...]:
        """Inputs that stand for the carry before a round."""
        return tuple(each.symbol for each in self.carries)

    @property
    def outputs(self) -> tuple[Node, ...]:
        """What a round computes: the condition, then the next carries."""
        return (self.condition, *(each.next for each in self.carries))

    @property
    def constants(self) -> tuple[Node, ...]:
        """What a round reads from outside."""
        return read_from_outside(self.outputs, self.symbols)

    def build(self) -> list[Node]:
        """The last carries; one that stays as it is is taken as a constant."""
        still = {each.symbol: each.first for each in self.carries if each.next is each.symbol}
        moving = [each for each in self.carries if each.symbol not in still]
        if not moving:
            return [each.first for each in self.carries]
        condition, *nexts = substitute((self.condition, *(each.next for each in moving)), still)
        carried = [each.symbol for each in moving]
        constants = read_from_outside((condition, *nexts), carried)
        arguments = arguments_for((*constants, *carried))
        node = make_node(
            WHILE,
            (*constants, *(each.first for each in moving)),
            {
                "condition": body_of((condition,), arguments),
                "body": body_of(nexts, arguments),
                "n_carry": len(moving),
            },
        )
        made = {each: project(node, number) for number, each in enumerate(carried)}
        return [{**still, **made}[each.symbol] for each in self.carries]


# ------------------------------------------------------------------------------------ for users


def while_loop(
    condition: Callable[[Any], Any],
    body: Callable[[Any], Any],
    carry: Any,
    *,
    bound: int | str | None = None,
) -> Any:
    """Apply a function to what it gave before, as long as a condition holds.

    Parameters
    ----------
    condition : callable
        From the carry to one bool: whether there is another round.
    body : callable
        From the carry to the next one, of the same structure, shapes and dtypes. Both are pure
        functions of nodes, called once or twice to build the graph, and may read nodes and
        parameters from outside.
    carry : Node, array, number or nested structure of them
        Before the first round. Python numbers take the dtype that the body gives.
    bound : int or str, optional
        Most rounds, or the name of a dimension. With it, the loop has derivatives in both modes,
        for which the carry of that many rounds is kept. Without it, it has those of forward mode.

    Returns
    -------
    carry
        After the last round.

    Raises
    ------
    ShapeError, DTypeError
        If the condition is not one bool, or a round changes a shape or dtype of the carry.
    ArgumentError
        If a round changes the structure of the carry, the bound is no number of rounds, the
        condition is the constant true and there is no bound, or the condition or the body is no
        function of the carry.

    Examples
    --------
    The greatest common divisor:

    >>> import graphnn as gn
    >>> a, b = (gn.input(name, shape=(), dtype="int64") for name in "ab")
    >>> gcd, _ = gn.while_loop(lambda c: c[1] > 0, lambda c: (c[1], c[0] % c[1]), (a, b))
    >>> gn.evaluate(gcd, {a: 12, b: 18})
    array(6)
    """
    for name, function in (("condition", condition), ("body", body)):
        hint = f"it is a function of one argument, the carry; {_ORDER}"
        check_function(f"while_loop: the {name}", function, (carry,), hint=hint)
    most = None if bound is None else _most_rounds(bound)
    firsts = [as_node(each) for each in flatten(carry)]
    weak = [number for number, each in enumerate(flatten(carry)) if gives_way(each)]
    count, places = input_like("round", TensorSpec((), INT64)), LoopPlaces()
    with places.step(count):
        rounds = _traced(condition, body, carry, firsts)
    if any(rounds.carries[number].next.dtype != firsts[number].dtype for number in weak):
        for number in weak:
            firsts[number] = cast_to(firsts[number], rounds.carries[number].next.dtype)
        with places.step(count):
            rounds = _traced(condition, body, carry, firsts)
    _check_carry(carry, rounds)
    rounds = _counting(rounds, count)
    if most is not None:
        return unflatten(carry, _bounded(rounds, most)[: len(firsts)])
    if rounds.condition.op is CONSTANT and rounds.condition.attrs["value"].array:
        raise ArgumentError(
            "while_loop: the condition is always true, and there is no bound: it would never end",
            hint="let the condition look at the carry, or give bound=most_rounds",
        )
    return unflatten(carry, rounds.build()[: len(firsts)])


def _most_rounds(bound: object) -> Size:
    """A bound as a size."""
    try:
        most = as_size(bound)
    except ShapeError:
        raise ArgumentError(
            f"while_loop: bound={bound!r} is not a number of rounds",
            hint="it is an integer, or the name of a dimension",
        ) from None
    if isinstance(most, int) and most < 0:
        raise ArgumentError(f"while_loop: there are no {most} rounds", hint="bound=0 or more")
    return most


def _traced(
    condition: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any, firsts: Sequence[Node]
) -> Rounds:
    """A round on symbols for the carry."""
    symbols = [
        input_like(path or "carry", TensorSpec(each.shape, each.dtype))
        for path, each in zip(leaf_paths(carry), firsts, strict=True)
    ]
    given = unflatten(carry, symbols)
    known = condition(given)
    if parts(known) is not None:
        raise ArgumentError(
            f"while_loop: the condition gives {form_text(known)}, not one bool", hint=_ORDER
        )
    flag = as_node(known)
    hint = f"compare something, e.g. lambda x: x > 0; {_ORDER}"
    check_flag("while_loop: the condition", flag.tensor, hint=hint)
    made = body(given)
    if outline(made) != outline(carry):
        raise ArgumentError(
            f"while_loop: the body gives a carry of another structure: {form_text(made)}, not "
            f"{form_text(carry)}"
        )
    nexts = [
        cast_to(as_node(each), symbol.dtype) if is_weak(each) else as_node(each)
        for each, symbol in zip(flatten(made), symbols, strict=True)
    ]
    return Rounds(tuple(map(Carry, symbols, firsts, nexts)), flag)


def _counting(rounds: Rounds, count: Node) -> Rounds:
    """The rounds with their number as one more carry, where their random numbers read it."""
    if depending_on(rounds.outputs, (count,)) == {count}:
        return rounds
    counter = Carry(count, constant(0, INT64), count + 1)
    return Rounds((*rounds.carries, counter), rounds.condition)


def _check_carry(carry: Any, rounds: Rounds) -> None:
    """Rounds fit together."""
    for path, each in zip(leaf_paths(carry), rounds.carries, strict=True):
        if each.symbol.spec != each.next.spec:
            error = ShapeError if each.symbol.shape != each.next.shape else DTypeError
            name = f"carry.{path}" if path else "the carry"
            raise error(
                f"while_loop: {name} is {each.symbol.spec} before a round and "
                f"{each.next.spec} after it",
                hint="give the first carry the shape and dtype that a round gives",
            )


def _bounded(rounds: Rounds, most: Size) -> list[Node]:
    """The last carries of at most so many rounds: a scan of conds.

    Beside the carry goes whether there is another round, so the condition is asked once for each
    round that takes place, and a round that does not looks at that flag alone.
    """
    symbols = rounds.symbols
    nexts = [each.next for each in rounds.carries]
    firsts = {each.symbol: each.first for each in rounds.carries}
    (first_flag,) = substitute((rounds.condition,), firsts)
    (flag,) = substitute((rounds.condition,), dict(zip(symbols, nexts, strict=True)))
    steps = [input_like("carry", each.tensor) for each in symbols]
    going = input_like("going", FLAG)
    outer = (*read_from_outside((flag, *nexts), symbols), *symbols)
    inner = {each: input_like("operand", each.tensor) for each in outer}
    is_going = input_like("going", FLAG)
    stands_for = dict(zip(symbols, steps, strict=True))
    with apart() as since:
        outputs = remade((flag, *nexts), inner)
    choice = Choice(
        going,
        {symbol: stands_for.get(each, each) for each, symbol in inner.items()} | {is_going: going},
        outputs,
        (is_going, *(inner[each] for each in symbols)),
        since,
    )
    made = choice.build()
    carries = (
        Carry(going, first_flag, made[0]),
        *map(Carry, steps, firsts.values(), made[1:]),
    )
    finals, _ = Step(carries, {}, (), most).build()
    return finals[1:]
