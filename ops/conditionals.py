"""cond: which nodes are computed depends on a value.

Both functions that a user gives are traced once; their graphs, the *bodies*, are attributes of one
node, as the step of a scan is. Whoever changes a cond opens it (`Choice.of`), works with ordinary
nodes that may read any node outside, and shuts it (`Choice.build`).

Derivatives and batches of conds are conds: see :mod:`graphnn.compiler.conditionals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphnn.core.dtypes import BOOL
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.graph import Graph, remade, topological_order
from graphnn.core.node import Node, apart, in_common, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import Spec, TensorSpec, TupleSpec
from graphnn.core.structure import flatten, form_text, leaf_paths, outline, unflatten
from graphnn.ops.bodies import (
    arguments_for,
    check_function,
    evaluate_body,
    flops_of,
    is_number,
)
from graphnn.ops.constants import CONSTANT
from graphnn.ops.control import PROJECT, TUPLE, project
from graphnn.ops.leaves import input_like
from graphnn.ops.operands import as_node, gives_way, is_weak, operands

__all__ = ["cond"]

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
        check_flag("cond: the predicate", predicate)
        for body in (if_true, if_false):
            check_given("cond", body, inputs)
        specs = specs_of(if_true)
        if specs != specs_of(if_false):
            raise ShapeError(f"cond: branches give {specs} and {specs_of(if_false)}")
        return TupleSpec(specs)

    def evaluate(
        self, predicate: Array, *arrays: Array, if_true: Graph, if_false: Graph
    ) -> tuple[Array, ...]:
        return tuple(evaluate_body(if_true if predicate else if_false, *arrays))

    def evaluate_into(self, out: Array, *arrays: Array, **attrs: Any) -> None:
        (out[...],) = self.evaluate(*arrays, **attrs)

    def flops(self, node: Node) -> int:
        return max(flops_of(node.attrs[name]) for name in self.body_attrs)


COND = CondOp()
register(COND)


def specs_of(body: Graph) -> tuple[TensorSpec, ...]:
    return tuple(each.tensor for each in body.outputs)


def check_given(what: str, body: Graph, inputs: Sequence[Spec]) -> None:
    for argument, spec in zip(body.inputs, inputs, strict=True):
        if argument.spec != spec:
            raise ShapeError(f"{what}: {spec} is given for {argument.spec} of a body")


def check_flag(
    what: str, spec: TensorSpec, hint: str = "compare it with something, e.g. x > 0"
) -> None:
    """It is one bool."""
    if spec.shape:
        raise ShapeError(
            f"{what} is {spec}, not one bool", hint="gn.any or gn.all make one of several"
        )
    if spec.dtype != BOOL:
        raise DTypeError(f"{what} is {spec}, not bool", hint=hint)


# ---------------------------------------------------------------------------------- open and shut


@dataclass(frozen=True)
class Choice:
    """A cond laid open: nodes of both branches.

    What a branch computes belongs to it. Sources, and nodes that were there before it was laid
    open, come from outside. The branches are built apart, so an equal node outside makes no
    difference. What is built of them later reads them, and is new by that alone.

    Attributes
    ----------
    predicate : Node
    operands : mapping of Node to Node
        From inputs that stand for something within the branches to what they stand for.
    if_true, if_false : tuple of Node
        What the branches give.
    since : int
        When it was laid open, see `apart`.
    """

    predicate: Node
    operands: Mapping[Node, Node]
    if_true: tuple[Node, ...]
    if_false: tuple[Node, ...]
    since: int

    @staticmethod
    def of(node: Node) -> Choice:
        """The branches of a cond, with symbols for all that they read."""
        predicate, *given = node.inputs
        arguments = node.attrs["if_true"].inputs
        with apart() as since:
            symbols = [input_like("operand", each.tensor) for each in arguments]
            if_true, if_false = (
                remade(body.outputs, dict(zip(body.inputs, symbols, strict=True)))
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
            return list(remade(taken, self._read(taken)))
        pairs = list(zip(self.if_true, self.if_false, strict=True))
        same = [self._in_both(*pair) for pair in pairs]
        chosen = [pair for pair, known in zip(pairs, same, strict=True) if known is None]
        made = iter(self._node(chosen) if chosen else [])
        return [next(made) if known is None else known for known in same]

    def _in_both(self, one: Node, other: Node) -> Node | None:
        """A result that does not depend on the predicate, as it is outside."""
        if one is other:
            return remade((one,), self._read((one,)))[0]
        if self._is_inside(one) or self._is_inside(other):
            return None
        outer = self.operands.get(one, one)
        return outer if outer is self.operands.get(other, other) else None

    def _node(self, pairs: Sequence[tuple[Node, Node]]) -> list[Node]:
        """The results of the node that computes some of them."""
        outputs = [each for side in zip(*pairs, strict=True) for each in side]
        outer = self._read(outputs)
        read = dict.fromkeys(node for node in outer.values() if not is_number(node))
        arguments = arguments_for(read)
        with in_common():
            known = {
                each: arguments[node] if node in arguments else remade((node,), {})[0]
                for each, node in outer.items()
            }
            if_true, if_false = (
                Graph(tuple(arguments.values()), remade(side, known))
                for side in zip(*pairs, strict=True)
            )
        node = make_node(COND, (self.predicate, *read), {"if_true": if_true, "if_false": if_false})
        return [project(node, number) for number in range(len(pairs))]

    def _read(self, outputs: Iterable[Node]) -> dict[Node, Node]:
        """What nodes of the branches read from outside, and what it is there."""
        reached = topological_order(
            outputs, follow=lambda node: node.inputs if self._is_inside(node) else ()
        )
        return {
            each: self.operands.get(each, each) for each in reached if not self._is_inside(each)
        }

    def _is_inside(self, node: Node) -> bool:
        """Whether a branch computes a node; of several results, where they are computed."""
        if node.op is PROJECT:
            return self._is_inside(node.inputs[0])
        return node.op is TUPLE or (node.serial > self.since and not node.op.is_source)


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
        structure, shapes and dtypes; where one gives a Python number, dtypes are promoted as in
        arithmetic: it takes the dtype of the other if that can hold its kind. They may read nodes
        and parameters from outside. What a function computes belongs to its branch; what was
        computed before comes from outside and is computed in any case.
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
        If branches differ in structure, or are no functions of so many operands.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=())
    >>> y = gn.cond(x > 0, gn.log, lambda x: 0.0, x)
    >>> gn.evaluate([y, gn.grad(y, x)], {x: -1.0})
    [array(0., dtype=float32), array(0., dtype=float32)]
    """
    flag = as_node(predicate)
    check_flag("cond: the predicate", flag.tensor)
    given = [each if is_weak(each) else as_node(each) for each in flatten(operands)]
    symbols = [
        each if is_weak(each) else input_like(path, each.tensor)
        for path, each in zip(leaf_paths(operands), given, strict=True)
    ]
    arguments = unflatten(operands, symbols)
    for name, branch in (("if_true", if_true), ("if_false", if_false)):
        check_function(
            f"cond: {name}",
            branch,
            arguments,
            hint="branches are functions of the operands: gn.cond(p, lambda x: x, gn.sin, x), or "
            "of nothing: gn.cond(p, lambda: x, lambda: gn.sin(x)); gn.where takes values",
        )
    with apart() as since:
        one, other = if_true(*arguments), if_false(*arguments)
        if outline(one) != outline(other):
            raise ArgumentError(
                f"cond: the branches give other structures: {form_text(one)} if true, "
                f"{form_text(other)} if false"
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
