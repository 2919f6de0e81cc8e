"""What steers differentiation and packs results: stop_gradient, custom rules, tuples.

None of these computes anything; canonicalization removes them once derivatives are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import update_wrapper
from inspect import signature
from typing import Any

from graphnn.core.dtypes import is_complex, weak_dtype
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op, register
from graphnn.core.spec import Spec, TensorSpec, TupleSpec
from graphnn.ops.contract import Arg, Sample, operation
from graphnn.ops.operands import as_node, is_weak

__all__ = ["custom_jvp", "custom_vjp", "project", "stop_gradient", "straight_through"]


class TupleOp(Op):
    """Several values packed as one result."""

    name = "tuple"

    def infer(self, *inputs: TensorSpec) -> TupleSpec:
        return TupleSpec(inputs)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        return tangents

    def vjp(self, node: Node, cotangent: Sequence[Node | None]) -> Sequence[Node | None]:
        return cotangent


class ProjectOp(Op):
    """One of several results. Differentiation passes through it by itself."""

    name = "project"
    is_projection = True

    def infer(self, packed: TupleSpec, *, index: int) -> TensorSpec:
        return packed.elements[index]


TUPLE, PROJECT = TupleOp(), ProjectOp()
register(TUPLE)
register(PROJECT)


def project(node: Node, index: int) -> Node:
    """One result of a node that has several.

    Raises
    ------
    ShapeError
        If the node has one result, or fewer than ``index + 1``.
    """
    if not isinstance(node.spec, TupleSpec) or not 0 <= index < len(node.spec.elements):
        raise ShapeError(f"{node!r} has no result number {index}")
    if node.op is TUPLE:
        return node.inputs[index]
    return make_node(PROJECT, (node,), {"index": index})


class StopGradientOp(Op):
    """The identity with derivative zero."""

    name = "stop_gradient"
    autocast = "follow"
    axis_attrs = ()

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x

    def expand(self, x: Node) -> Node:
        return x

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> None:
        return None

    def vjp(self, node: Node, cotangent: Node) -> Sequence[None]:
        return (None,)


STOP_GRADIENT = StopGradientOp()
register(STOP_GRADIENT)


@operation(
    reference=lambda x: x,
    samples=[Sample(Arg((3,))), Sample(Arg())],
    dtypes="bifc",
    differentiable=False,
    corner="derivative 0 by definition",
)
def stop_gradient(x: Any) -> Node:
    """``x``, taken as a constant by every derivative."""
    return make_node(STOP_GRADIENT, (as_node(x),))


class CustomDerivativeOp(Op):
    """A value, its arguments, and the user's rule for its derivative with respect to them."""

    name = "custom_derivative"
    first_differentiable = 1

    def infer(self, value: Spec, *arguments: Spec, rule: CustomRule) -> Spec:
        return value

    def expand(self, value: Node, *arguments: Node, rule: CustomRule) -> Node:
        return value

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Any:
        rule: CustomRule = node.attrs["rule"]
        if rule.mode != "jvp":
            return NotImplemented
        given = rule.derivative(node.inputs[1:], rule.result(node), tuple(tangents[1:]))
        if isinstance(node.spec, TupleSpec):
            rule.check_direction("tangent", "result", given, node.spec.elements)
        else:
            rule.check_direction("tangent", "result", (given,), (node.spec,))
        return given

    def vjp(self, node: Node, cotangent: Any) -> Any:
        rule: CustomRule = node.attrs["rule"]
        if rule.mode != "vjp":
            return NotImplemented
        several = isinstance(node.spec, TupleSpec)
        # A rule is written in the convention of gn.vjp, see docs/complex.md.
        arriving = conjugated(cotangent if several else (cotangent,))
        given = rule.derivative(
            node.inputs[1:], rule.result(node), arriving if several else arriving[0]
        )
        listed = (given,) if isinstance(given, Node) or given is None else tuple(given)
        specs = tuple(each.tensor for each in node.inputs[1:])
        rule.check_direction("cotangent", "argument", listed, specs)
        return (None, *conjugated(listed))

    def label(self, node: Node) -> str:
        return str(node.attrs["rule"].__name__)


CUSTOM_DERIVATIVE = CustomDerivativeOp()
register(CUSTOM_DERIVATIVE)


def conjugated(cotangents: Iterable[Node | None]) -> list[Node | None]:
    """Cotangents of the sweep as those that users see, and the other way round.

    The sweeps pair ``sum(cotangent * tangent)``; users' cotangents are conjugated, so that a
    gradient is a direction of ascent. Real ones are the same in both.
    """
    listed = list(cotangents)
    if not any(each is not None and is_complex(each.dtype) for each in listed):
        return listed
    from graphnn.ops.complex_numbers import conj

    return [None if each is None else conj(each) for each in listed]


class CustomRule:
    """A function of nodes whose derivative its author gives; see :func:`custom_vjp`."""

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[..., Any], mode: str) -> None:
        update_wrapper(self, function)
        self.function = function
        self.mode = mode
        self._derivative: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build the function's graph, marked with the rule; keywords count by position."""
        if kwargs:
            bound = signature(self.function).bind(*args, **kwargs)
            if bound.kwargs:
                bound.apply_defaults()
            if bound.kwargs:
                raise TypeError(
                    f"{self.__name__}: its rule gets arguments by position, so "
                    f"{', '.join(bound.kwargs)} cannot be given by keyword alone"
                )
            args = bound.args
        given: list[Any] = [each if is_weak(each) else as_node(each) for each in args]
        among = next((each.dtype for each in given if isinstance(each, Node)), None)
        arguments = tuple(
            as_node(each, weak_dtype(each, among)) if is_weak(each) else each for each in given
        )
        value = self.function(*arguments)
        packed = value if isinstance(value, Node) else make_node(TUPLE, tuple(value))
        node = make_node(CUSTOM_DERIVATIVE, (packed, *arguments), {"rule": self})
        return self.result(node)

    @staticmethod
    def result(node: Node) -> Any:
        """What the function returns: a node, or a tuple of them."""
        if isinstance(node.spec, TupleSpec):
            return tuple(project(node, index) for index in range(len(node.spec.elements)))
        return node

    def derivative(self, arguments: Sequence[Node], result: Any, direction: Any) -> Any:
        """Apply the author's rule."""
        if self._derivative is None:
            raise ShapeError(
                f"{self.__name__} has no derivative rule yet",
                hint=f"decorate it with @{self.__name__}.def{self.mode}",
            )
        return self._derivative(arguments, result, direction)

    def check_direction(
        self, word: str, of: str, given: Sequence[Any], specs: Sequence[TensorSpec]
    ) -> None:
        """Check what the author's rule gave.

        Raises
        ------
        ShapeError
            If something is neither None nor a node of the shape and dtype it belongs to.
        """
        if len(given) != len(specs):
            raise ShapeError(
                f"the {self.mode} rule of {self.__name__} gives {len(given)} {word}s "
                f"for {len(specs)} {of}s"
            )
        for number, (each, spec) in enumerate(zip(given, specs, strict=True)):
            if each is not None and (not isinstance(each, Node) or each.spec != spec):
                found = each.spec if isinstance(each, Node) else type(each).__name__
                raise ShapeError(
                    f"the {self.mode} rule of {self.__name__} gives {found} as the {word} of "
                    f"{of} {number}, which is {spec}"
                )

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator for the rule ``(arguments, result, tangents) -> tangent``.

        A tangent that is zero arrives as None.
        """
        self._derivative = rule
        return rule

    defvjp = defjvp

    def __copy__(self) -> CustomRule:
        return self

    def __deepcopy__(self, memo: object) -> CustomRule:
        return self

    def __reduce__(self) -> str:
        return self.__qualname__  # by name, as Python's own functions are

    def __repr__(self) -> str:
        return f"<custom_{self.mode} {self.__name__}>"


def custom_jvp(function: Callable[..., Any]) -> CustomRule:
    """Give a function of nodes a forward-mode derivative of your own; reverse mode follows.

    The derivative is that by the arguments: nodes that function or rule close over are taken as
    constants. Hand on as an argument what depends on an example or is differentiated by.

    Examples
    --------
    >>> import graphnn as gn
    >>> @gn.custom_jvp
    ... def log1pexp(x):
    ...     return gn.log(1.0 + gn.exp(x))
    >>> @log1pexp.defjvp
    ... def _(arguments, result, tangents):
    ...     (x,), (dx,) = arguments, tangents
    ...     return dx * (1.0 - 1.0 / (1.0 + gn.exp(x)))
    """
    return CustomRule(function, "jvp")


def custom_vjp(function: Callable[..., Any]) -> CustomRule:
    """Give a function of nodes a reverse-mode derivative of your own; forward mode follows.

    The rule gets the arguments, the result and its cotangent, and gives one cotangent (or None
    for zero) per argument. As with :func:`custom_jvp`, what function or rule close over is taken
    as constant.

    Examples
    --------
    Clip the gradient that flows back through an identity:

    >>> import graphnn as gn
    >>> @gn.custom_vjp
    ... def clip_gradient(x):
    ...     return +x
    >>> @clip_gradient.defvjp
    ... def _(arguments, result, cotangent):
    ...     return gn.clip(cotangent, -1.0, 1.0)
    """
    return CustomRule(function, "vjp")


@operation(
    reference=lambda forward, backward: forward,
    samples=[Sample(Arg((3,)), Arg((3,)))],
    dtypes="bifc",
    differentiable=False,
    corner="value of the first argument, derivative of the second",
)
def straight_through(forward: Any, backward: Any) -> Node:
    """The value of ``forward`` with the derivative of ``backward``: whatever both are.

    Examples
    --------
    A step function that learns as if it were the identity:

    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> y = gn.straight_through(gn.sign(x), x)
    """
    forward, backward = as_node(forward), as_node(backward)
    if forward.spec != backward.spec:
        raise ShapeError(f"straight_through: {forward.spec} and {backward.spec} differ")
    result: Node = _straight_through(forward, backward)
    return result


@custom_jvp
def _straight_through(forward: Node, backward: Node) -> Node:
    return forward


@_straight_through.defjvp
def _(arguments: Sequence[Node], result: Node, tangents: Sequence[Node | None]) -> Node | None:
    return tangents[1]
