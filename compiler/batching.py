"""vmap: what is computed for one example becomes what is computed for many, graph to graph.

Before: ``y = w @ x`` for one ``x`` of shape (3,).
After: ``dot_general(x, w)`` for an ``x`` of shape (examples, 3): one product, no loop.

Every node that depends on an example is built once more with a leading axis of examples; all
others are shared. An operator says how it batches (see :class:`graphnn.core.op.Op`): it names the
attributes that are axes, gives a rule, or is batched as its expansion. One iterative sweep,
linear in the size of the graph; derivatives taken before or after are graphs like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import replace
from functools import wraps
from typing import Any

from graphnn.compiler.scans.rewriting import has_bodies
from graphnn.core.dims import Size
from graphnn.core.errors import ArgumentError, ShapeError, UnsupportedOpError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by, provenance
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.core.structure import flatten, leaf_paths, parts, unflatten
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.control import CUSTOM_DERIVATIVE, PROJECT, TUPLE, CustomRule, project
from graphnn.ops.leaves import input_like
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node

__all__ = ["vmap"]


# ------------------------------------------------------------------------------------- the pass


def batch_nodes(
    outputs: Sequence[Node], examples: Mapping[Node, Node], boundary: Collection[Node] = ()
) -> list[Node]:
    """``outputs`` for many examples at once.

    Parameters
    ----------
    outputs : sequence of Node
        For one example.
    examples : mapping of Node to Node
        What takes the place of some nodes: the same with a leading axis of examples.
    boundary : collection of Node
        Known to be the same for all examples: the sweep does not look behind these.

    Returns
    -------
    list of Node
        With a leading axis of examples, also where they do not depend on the example.
    """
    size = next(iter(examples.values())).shape[0]
    batched: dict[Node, Node] = dict(examples)
    for node in topological_order(outputs, {*boundary, *examples}):
        mapped = [each in batched for each in node.inputs]
        if node in batched or not any(mapped):
            continue
        inputs = [batched.get(each, each) for each in node.inputs]
        with made_by("vmap", node):
            batched[node] = batch_node(node, inputs, mapped, size)
        carry(node, batched[node])
    return [batched[each] if each in batched else _repeated(each, size) for each in outputs]


def batch_node(node: Node, inputs: Sequence[Node], mapped: Sequence[bool], size: Size) -> Node:
    """A node for many examples, given its inputs for all of them; see `Op.batch`."""
    op = node.op
    if op is TUPLE:
        return make_node(TUPLE, _all_mapped(inputs, mapped, size))
    if op is PROJECT:
        return project(inputs[0], node.attrs["index"])
    if op is CUSTOM_DERIVATIVE:
        rule = {"rule": BatchedRule(node.attrs["rule"])}
        return make_node(op, _all_mapped(inputs, mapped, size), rule)
    if has_bodies(node):
        from graphnn.compiler.structured import batch_structured

        return batch_structured(node, inputs, mapped, size)
    if op.axis_attrs is not None:
        attrs = {
            name: _behind_examples(value) if name in op.axis_attrs else value
            for name, value in node.attrs.items()
        }
        return make_node(op, _all_mapped(inputs, mapped, size), attrs)
    made = op.batch(node, inputs, mapped)
    if made is not NotImplemented:
        result: Node = made
        return result
    expansion = op.expand(*node.inputs, **node.attrs)
    if expansion is None:
        raise UnsupportedOpError(
            f"vmap: {op.label(node)} does not say how it batches",
            hint="give its operator axis_attrs or a batch rule",
            where=provenance(node).where,
        )
    pairs = zip(node.inputs, inputs, mapped, strict=True)
    examples = {one: many for one, many, is_mapped in pairs if is_mapped}
    return batch_nodes([expansion], examples, boundary=node.inputs)[0]


def _all_mapped(inputs: Sequence[Node], mapped: Sequence[bool], size: Size) -> list[Node]:
    """The inputs with those repeated that are the same for all examples."""
    return [
        each if is_mapped else _repeated(each, size)
        for each, is_mapped in zip(inputs, mapped, strict=True)
    ]


def _repeated(node: Node, size: Size) -> Node:
    """What is the same for all examples, along a leading axis of them."""
    if isinstance(node.spec, TupleSpec):
        parts = [project(node, index) for index in range(len(node.spec.elements))]
        return make_node(TUPLE, [_repeated(each, size) for each in parts])
    return broadcast_to(node, (size, *node.shape))


def _behind_examples(axes: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """Axes, counted with the leading one of examples."""
    return axes + 1 if isinstance(axes, int) else tuple(axis + 1 for axis in axes)


class BatchedRule(CustomRule):
    """A user's derivative rule, written for one example, applied to many."""

    def __init__(self, rule: CustomRule) -> None:
        super().__init__(rule.function, rule.mode)
        self._rule = rule

    def derivative(self, arguments: Sequence[Node], result: Any, direction: Any) -> Any:
        """The rule on symbols for one example, batched over what they stand for."""
        given = (tuple(arguments), result, direction)
        many = flatten(given)
        symbols = [_symbol(each) for each in many]
        found = self._rule.derivative(*unflatten(given, symbols))
        nodes = flatten(found)
        examples = dict(zip(symbols, many, strict=True))
        return unflatten(found, batch_nodes(nodes, examples)) if nodes else found


def for_all(symbol: Node, size: Size) -> Node:
    """What stands for a symbol of one example for all of them."""
    return input_like("examples", TensorSpec((size, *symbol.shape), symbol.dtype))


def _symbol(many: Node) -> Node:
    """A symbol for one example of a node."""
    spec = many.tensor
    return input_like(many.name or "example", replace(spec, shape=spec.shape[1:]))


# ------------------------------------------------------------------------------- what users call


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """A function of many examples from a function of one, without a loop.

    Parameters
    ----------
    f : callable
        From nodes, also in nested dicts, lists and tuples, to nodes. What it uses beside its
        arguments (parameters, random keys) is the same for all examples: random numbers too,
        unless their key is an argument (``gn.random.split(key, n)`` makes n keys).
    in_axes : int, None, or nested structure of them
        Which axis of every array of an argument counts the examples; None for arguments that
        are the same for all of them, which are handed on as they are. One for all positional
        arguments, or a tuple with one for each; within, a structure may stop early.
        Keyword arguments have it in front.
    out_axes : int, None, or nested structure of them
        Where that axis stands in the results; None for results that are the same for all
        examples, which come back once.

    Returns
    -------
    callable
        Of the same arguments, nodes or arrays, to nodes. It may be mapped again, derived, and
        compiled by :func:`function`.

    Raises
    ------
    ShapeError
        If arguments differ in the number of examples, or an axis does not exist.
    ArgumentError
        If nothing is mapped, the structure of ``in_axes`` is not that of the arguments, or a
        result without an axis depends on the example.

    Examples
    --------
    Per-example gradients:

    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, 2.0])
    >>> def loss(x, t):
    ...     return (gn.sum(w * x) - t) ** 2
    >>> x, t = gn.input("x", shape=("batch", 2)), gn.input("t", shape=("batch",))
    >>> g = gn.vmap(lambda x, t: gn.grad(loss(x, t), w))(x, t)
    >>> gn.evaluate(g, {x: [[1.0, 0.0], [0.0, 1.0]], t: [0.0, 0.0]})
    array([[2., 0.],
           [0., 4.]], dtype=float32)
    """
    if not callable(f):
        raise ArgumentError(
            f"vmap: a function is mapped, not {type(f).__name__}",
            hint="gn.vmap(lambda x: ...)(xs)",
        )

    @wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple | list) else (in_axes,) * len(args)
        given = (args, kwargs)
        leaves = flatten(given)
        places = [*_spread_axes("in_axes", axes, args), *_spread_axes("in_axes", 0, kwargs)]
        many = [
            None if axis is None else _in_front(number, leaf, axis, args, kwargs)
            for number, (leaf, axis) in enumerate(zip(leaves, places, strict=True))
        ]
        examples = {_symbol(each): each for each in many if each is not None}
        _check_sizes(examples.values())
        symbols = iter(examples)
        one_args, one_kwargs = unflatten(
            given,
            [
                leaf if each is None else next(symbols)
                for leaf, each in zip(leaves, many, strict=True)
            ],
        )
        result = f(*one_args, **one_kwargs)
        nodes = [_result(f, each) for each in flatten(result)]
        ends = _spread_axes("out_axes", out_axes, result)
        _check_shared(nodes, ends, examples.keys())
        moved = [
            one if axis is None else _at_end(many, axis)
            for one, many, axis in zip(nodes, batch_nodes(nodes, examples), ends, strict=True)
        ]
        return unflatten(result, moved)

    return mapped


def _spread_axes(word: str, axes: Any, tree: Any) -> list[int | None]:
    """One axis for every leaf of ``tree``, from a structure that may stop early."""
    if axes is None or isinstance(axes, int):
        return [axes] * len(flatten(tree))
    if tree is None:
        return []
    given, inside = parts(axes), parts(tree)
    if given is None or inside is None or given.keys() != inside.keys():
        raise ArgumentError(
            f"vmap: {word} {axes!r} does not have the structure of what it is for",
            hint="one axis for all, or a tuple with one (or None) for each",
        )
    return [axis for name, part in inside.items() for axis in _spread_axes(word, given[name], part)]


def _in_front(number: int, value: Any, axis: int, args: Any, kwargs: Any) -> Node:
    """An argument's leaf number ``number``, with its axis of examples in front."""
    is_flag = isinstance(value, bool | str)
    if not is_flag and (node := as_node(value)).ndim:
        return moveaxis(node, normalize_axis("vmap: in_axes", axis, node.ndim), 0)
    positional = list(leaf_paths(args))
    if number < len(positional):
        what, hint = f"argument {positional[number]}", "in_axes=None for"
    else:
        what = f"keyword argument {list(leaf_paths(kwargs))[number - len(positional)]}"
        hint = "every keyword argument is mapped: use functools.partial or a lambda for"
    shown = f"{value!r}, which" if is_flag else f"{value!r}, which is 0-d and"
    raise ShapeError(
        f"vmap: {what} is {shown} has no axis of examples",
        hint=f"{hint} what is the same for all examples",
    )


def _result(f: Callable[..., Any], value: Any) -> Node:
    """A result of the function as a node."""
    if isinstance(value, str):
        raise ArgumentError(
            f"vmap: {getattr(f, '__name__', f)} returns {value!r}, which is no array",
            hint="return nodes, arrays and numbers, in dicts, lists, tuples or dataclasses",
        )
    return as_node(value)


def _check_shared(nodes: Sequence[Node], ends: Sequence[int | None], examples: Set[Node]) -> None:
    """Results that are to come back once do not depend on the example."""
    shared = [node for node, axis in zip(nodes, ends, strict=True) if axis is None]
    reached = examples & set(topological_order(shared)) if shared else ()
    if reached:
        raise ArgumentError(
            f"vmap: out_axes is None for a result that depends on {next(iter(reached))!r}",
            hint="None is for what is the same for all examples",
        )


def _at_end(node: Node, axis: int) -> Node:
    """A result with its axis of examples where it is wanted."""
    return moveaxis(node, 0, normalize_axis("vmap: out_axes", axis, node.ndim))


def _check_sizes(many: Collection[Node]) -> None:
    """There are examples, as many in every argument."""
    if not many:
        raise ArgumentError("vmap: no argument is mapped", hint="give one an axis in in_axes")
    first, *others = many
    for each in others:
        if each.shape[0] != first.shape[0]:
            raise ShapeError(
                f"vmap: {first.shape[0]} examples of {first!r} and {each.shape[0]} of {each!r}",
                hint="the mapped axes of all arguments have one size",
            )
