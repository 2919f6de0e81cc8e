"""cond and while_loop: which nodes are computed, and how often, depends on values.

The functions that a user gives are traced once each; their graphs, the *bodies*, are attributes of
one node, as the step of a scan is. Whoever changes such a node opens it (`Choice.of`,
`Rounds.of`), works with ordinary nodes that may read any node outside, and shuts it (``build``).

Derivatives and batches are conds and while loops again: see :mod:`graphnn.compiler.conditionals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphnn.core.dims import as_size
from graphnn.core.dtypes import BOOL
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.graph import Graph, substitute, topological_order
from graphnn.core.node import Node, make_node, moment
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import Spec, TensorSpec, TupleSpec
from graphnn.core.structure import flatten, leaf_paths, outline, unflatten
from graphnn.ops.bodies import (
    arguments_for,
    body_of,
    evaluate_body,
    flops_of,
    is_number,
    read_from_outside,
)
from graphnn.ops.constants import CONSTANT
from graphnn.ops.control import PROJECT, TUPLE, project
from graphnn.ops.leaves import input_like
from graphnn.ops.operands import as_node, cast_to, gives_way, is_weak, operands
from graphnn.ops.scans import Carry, Step

__all__ = ["cond", "while_loop"]

FLAG = TensorSpec((), BOOL)


class CondOp(Op):
    """One of two bodies, chosen by a flag.

    Its inputs are the flag, and what the bodies read: both take all of it.
    """

    name = "cond"
    body_attrs = ("if_true", "if_false")

    def infer(
        self, predicate: TensorSpec, *inputs: TensorSpec, if_true: Graph, if_false: Graph
    ) -> TupleSpec:
        _check_flag("cond: the predicate", predicate)
        for body in (if_true, if_false):
            _check_given("cond", body, inputs)
        specs = _specs_of(if_true)
        if specs != _specs_of(if_false):
            raise ShapeError(f"cond: branches give {specs} and {_specs_of(if_false)}")
        return TupleSpec(specs)

    def evaluate(
        self, predicate: Array, *arrays: Array, if_true: Graph, if_false: Graph
    ) -> tuple[Array, ...]:
        return tuple(evaluate_body(if_true if predicate else if_false, *arrays))

    def evaluate_into(self, out: Array, *arrays: Array, **attrs: Any) -> None:
        (out[...],) = self.evaluate(*arrays, **attrs)

    def flops(self, node: Node) -> int:
        return max(flops_of(node.attrs[name]) for name in self.body_attrs)


class WhileOp(Op):
    """A body applied again and again, as long as another one, the condition, says so.

    Its inputs are constants, the same for every round, and the carry before the first one. Both
    bodies take ``(constants, carry)``. The results are the last carry.
    """

    name = "while_loop"
    body_attrs = ("condition", "body")

    def infer(self, *inputs: TensorSpec, condition: Graph, body: Graph, n_carry: int) -> TupleSpec:
        for each in (condition, body):
            _check_given("while_loop", each, inputs)
        (flag,) = _specs_of(condition)
        _check_flag("while_loop: the condition", flag)
        specs, before = _specs_of(body), inputs[len(inputs) - n_carry :]
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


COND, WHILE = CondOp(), WhileOp()
register(COND)
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


def _specs_of(body: Graph) -> tuple[TensorSpec, ...]:
    return tuple(each.tensor for each in body.outputs)


def _check_given(what: str, body: Graph, inputs: Sequence[Spec]) -> None:
    for argument, spec in zip(body.inputs, inputs, strict=True):
        if argument.spec != spec:
            raise ShapeError(f"{what}: {spec} is given for {argument.spec} of a body")


def _check_flag(what: str, spec: TensorSpec) -> None:
    """It is one bool."""
    if spec.shape:
        raise ShapeError(
            f"{what} is {spec}, not one bool", hint="gn.any or gn.all make one of several"
        )
    if spec.dtype != BOOL:
        raise DTypeError(
            f"{what} is {spec}, not bool", hint="compare it with something, e.g. x > 0"
        )


# ---------------------------------------------------------------------------------- open and shut


@dataclass(frozen=True)
class Choice:
    """A cond laid open: nodes of both branches.

    What a branch computes belongs to it. Sources, and nodes that were there before it was laid
    open, come from outside.

    Attributes
    ----------
    predicate : Node
    operands : mapping of Node to Node
        From inputs that stand for something within the branches to what they stand for.
    if_true, if_false : tuple of Node
        What the branches give.
    since : int
        When it was laid open, see `moment`.
    """

    predicate: Node
    operands: Mapping[Node, Node]
    if_true: tuple[Node, ...]
    if_false: tuple[Node, ...]
    since: int

    @staticmethod
    def of(node: Node) -> Choice:
        """The branches of a cond, with symbols for all that they read."""
        since = moment()
        predicate, *given = node.inputs
        arguments = node.attrs["if_true"].inputs
        symbols = [input_like("operand", each.tensor) for each in arguments]
        if_true, if_false = (
            substitute(body.outputs, dict(zip(body.inputs, symbols, strict=True)))
            for body in (node.attrs["if_true"], node.attrs["if_false"])
        )
        stands_for = dict(zip(symbols, given, strict=True))
        return Choice(predicate, stands_for, if_true, if_false, since)

    def build(self) -> list[Node]:
        """The results.

        What is known needs no cond: a predicate that is a constant, a result that both branches
        compute in the same way, or have from outside.
        """
        if self.predicate.op is CONSTANT:
            taken = self.if_true if self.predicate.attrs["value"].array else self.if_false
            return list(substitute(taken, self.operands))
        pairs = list(zip(self.if_true, self.if_false, strict=True))
        same = [self._in_both(*pair) for pair in pairs]
        chosen = [pair for pair, known in zip(pairs, same, strict=True) if known is None]
        made = iter(self._node(chosen) if chosen else [])
        return [next(made) if known is None else known for known in same]

    def _in_both(self, one: Node, other: Node) -> Node | None:
        """A result that does not depend on the predicate, as it is outside."""
        if one is other:
            return substitute((one,), self.operands)[0]
        if self._is_inside(one) or self._is_inside(other):
            return None
        outer = self.operands.get(one, one)
        return outer if outer is self.operands.get(other, other) else None

    def _node(self, pairs: Sequence[tuple[Node, Node]]) -> list[Node]:
        """The results of the node that computes some of them."""
        outputs = [each for side in zip(*pairs, strict=True) for each in side]
        reached = topological_order(
            outputs, follow=lambda node: node.inputs if self._is_inside(node) else ()
        )
        outer = {
            each: self.operands.get(each, each) for each in reached if not self._is_inside(each)
        }
        read = dict.fromkeys(node for node in outer.values() if not is_number(node))
        arguments = arguments_for(read)
        known = {each: arguments.get(node, node) for each, node in outer.items()}
        bodies = [
            Graph(tuple(arguments.values()), substitute(side, known))
            for side in zip(*pairs, strict=True)
        ]
        node = make_node(
            COND, (self.predicate, *read), {"if_true": bodies[0], "if_false": bodies[1]}
        )
        return [project(node, number) for number in range(len(pairs))]

    def _is_inside(self, node: Node) -> bool:
        """Whether a branch computes a node; of several results, where they are computed."""
        if node.op is PROJECT:
            return self._is_inside(node.inputs[0])
        comes_from_outside = node.op.is_source or node.op is CONSTANT
        return node.op is TUPLE or (node.serial > self.since and not comes_from_outside)


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


def cond(
    predicate: Any,
    if_true: Callable[..., Any],
    if_false: Callable[..., Any],
    *operands: Any,
) -> Any:
    """Compute one of two branches, and not the other.

    :func:`where` chooses between values that are both computed; here nothing of the branch that
    is not taken is computed, and nothing of it reaches results or gradients.

    Parameters
    ----------
    predicate : Node
        One bool.
    if_true, if_false : callable
        Pure functions of the operands, each called once to build the graph. They give the same
        structure, shapes and dtypes; where one gives a Python number, it takes the dtype of the
        other. They may read nodes and parameters from outside. What a function computes belongs
        to its branch; what was computed before comes from outside and is computed in any case.
    *operands : Node, array, number or nested structure of them
        Handed to the branch that is taken.

    Returns
    -------
    same structure as the branches give

    Raises
    ------
    ShapeError, DTypeError
        If the predicate is not one bool, or branches differ in shape or dtype.
    ArgumentError
        If branches differ in structure.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=())
    >>> y = gn.cond(x > 0, gn.log, lambda x: 0.0, x)
    >>> gn.evaluate([y, gn.grad(y, x)], {x: -1.0})
    [array(0., dtype=float32), array(0., dtype=float32)]
    """
    flag = as_node(predicate)
    _check_flag("cond: the predicate", flag.tensor)
    since = moment()
    given = [each if is_weak(each) else as_node(each) for each in flatten(operands)]
    symbols = [
        each if is_weak(each) else input_like(path, each.tensor)
        for path, each in zip(leaf_paths(operands), given, strict=True)
    ]
    arguments = unflatten(operands, symbols)
    one, other = if_true(*arguments), if_false(*arguments)
    if outline(one) != outline(other):
        raise ArgumentError(
            f"cond: the branches give other structures: {one!r} if true, {other!r} if false"
        )
    pairs = [_agreed(*pair) for pair in zip(flatten(one), flatten(other), strict=True)]
    _check_branches(one, pairs)
    known = zip(symbols, given, strict=True)
    choice = Choice(
        flag,
        {symbol: node for symbol, node in known if isinstance(symbol, Node)},
        tuple(each for each, _ in pairs),
        tuple(each for _, each in pairs),
        since,
    )
    return unflatten(one, choice.build())


def _agreed(one: Any, other: Any) -> tuple[Node, Node]:
    """Results of both branches as nodes; what gives way takes the dtype of the other."""
    if gives_way(one) or gives_way(other):
        one, other = operands("cond", (one, other), "bifc")
    return as_node(one), as_node(other)


def _check_branches(structure: Any, pairs: Sequence[tuple[Node, Node]]) -> None:
    """Both branches give the same shapes and dtypes."""
    for path, (one, other) in zip(leaf_paths(structure), pairs, strict=True):
        if one.spec == other.spec:
            continue
        error = ShapeError if one.shape != other.shape else DTypeError
        name = f"result {path}" if path else "the result"
        raise error(
            f"cond: {name} is {one.spec} if true and {other.spec} if false",
            hint="both branches give the same shapes and dtypes: gn.broadcast_to and gn.cast help",
        )


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
        If a round changes the structure of the carry, or the bound is negative.

    Examples
    --------
    The greatest common divisor:

    >>> import graphnn as gn
    >>> a, b = (gn.input(name, shape=(), dtype="int64") for name in "ab")
    >>> gcd, _ = gn.while_loop(lambda c: c[1] > 0, lambda c: (c[1], c[0] % c[1]), (a, b))
    >>> gn.evaluate(gcd, {a: 12, b: 18})
    array(6)
    """
    firsts = [as_node(each) for each in flatten(carry)]
    weak = [number for number, each in enumerate(flatten(carry)) if gives_way(each)]
    rounds = _traced(condition, body, carry, firsts)
    if any(rounds.carries[number].next.dtype != firsts[number].dtype for number in weak):
        for number in weak:
            firsts[number] = cast_to(firsts[number], rounds.carries[number].next.dtype)
        rounds = _traced(condition, body, carry, firsts)
    _check_carry(carry, rounds)
    if bound is None:
        return unflatten(carry, rounds.build())
    if isinstance(bound, int) and bound < 0:
        raise ArgumentError(f"while_loop: there are no {bound} rounds", hint="bound=0 or more")
    return unflatten(carry, _bounded(rounds, bound))


def _traced(
    condition: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any, firsts: Sequence[Node]
) -> Rounds:
    """A round on symbols for the carry."""
    symbols = [
        input_like(path or "carry", TensorSpec(each.shape, each.dtype))
        for path, each in zip(leaf_paths(carry), firsts, strict=True)
    ]
    given = unflatten(carry, symbols)
    flag, made = as_node(condition(given)), body(given)
    _check_flag("while_loop: the condition", flag.tensor)
    if outline(made) != outline(carry):
        raise ArgumentError(
            f"while_loop: the body gives a carry of another structure: {made!r}, not {carry!r}"
        )
    nexts = [
        cast_to(as_node(each), symbol.dtype) if is_weak(each) else as_node(each)
        for each, symbol in zip(flatten(made), symbols, strict=True)
    ]
    return Rounds(tuple(map(Carry, symbols, firsts, nexts)), flag)


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


def _bounded(rounds: Rounds, bound: int | str) -> list[Node]:
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
    since = moment()
    inner = {each: input_like("operand", each.tensor) for each in outer}
    is_going = input_like("going", FLAG)
    stands_for = dict(zip(symbols, steps, strict=True))
    choice = Choice(
        going,
        {symbol: stands_for.get(each, each) for each, symbol in inner.items()} | {is_going: going},
        substitute((flag, *nexts), inner),
        (is_going, *(inner[each] for each in symbols)),
        since,
    )
    made = choice.build()
    carries = (
        Carry(going, first_flag, made[0]),
        *map(Carry, steps, firsts.values(), made[1:]),
    )
    finals, _ = Step(carries, {}, (), as_size(bound)).build()
    return finals[1:]
