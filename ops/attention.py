"""Scaled dot-product attention."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.arguments import require_number
from graphnn.core.dims import Shape, Size, exact_quotient
from graphnn.core.dtypes import is_bool
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op, register
from graphnn.core.spec import TensorSpec, broadcast_shapes, shape_text
from graphnn.ops.arithmetic import add, multiply, subtract, where
from graphnn.ops.broadcasting import broadcast_to, sum, to_shape
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import iota
from graphnn.ops.exponential import rsqrt
from graphnn.ops.linear_tier import sum_tangents
from graphnn.ops.logic import greater_equal, logical_and, not_equal
from graphnn.ops.movement import expand_dims, swapaxes
from graphnn.ops.operands import as_node, cast_to, operands, widened
from graphnn.ops.products import matmul
from graphnn.ops.random import dropout_mask
from graphnn.ops.softmaxes import softmax
from graphnn.ops.statistics import size_of

__all__ = ["scaled_dot_product_attention"]

WHAT = "scaled_dot_product_attention"


class AttentionWeightsOp(Op):
    """How much every query takes of every key: the softmax of their scaled products.

    The attribute ``given`` names the inputs that follow queries and keys: a mask, a bias. All
    weights of a query that sees no key are 0.
    """

    name = "attention_weights"

    def infer(
        self,
        query: TensorSpec,
        key: TensorSpec,
        *others: TensorSpec,
        given: tuple[str, ...],
        is_causal: bool,
        scale: float | None,
    ) -> TensorSpec:
        return TensorSpec(_scores_shape(query, key, others, given), query.dtype)

    def expand(
        self,
        query: Node,
        key: Node,
        *others: Node,
        given: tuple[str, ...],
        is_causal: bool,
        scale: float | None,
    ) -> Node:
        options = dict(zip(given, others, strict=True))
        mask, bias = options.get("mask"), options.get("bias")
        scores = _scores(widened(query), widened(key), scale)
        if bias is not None:
            scores = add(scores, widened(bias))
        return cast_to(_masked_softmax(scores, mask, bias, is_causal), query.dtype)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        # A key that is not seen has weight 0: no mask is needed here.
        query, key, *others = map(widened, node.inputs)
        by_query, by_key, *by_others = (
            None if tangent is None else widened(tangent) for tangent in tangents
        )
        scale = node.attrs["scale"]
        terms = [
            None if by_query is None else _scores(by_query, key, scale),
            None if by_key is None else _scores(query, by_key, scale),
            *by_others,
        ]
        change = sum_tangents(terms)
        if change is None:
            return None
        weights = make_node(self, (query, key, *others), node.attrs)
        change = broadcast_to(change, node.shape)
        along = sum(multiply(weights, change), -1, keepdims=True)
        return cast_to(multiply(weights, subtract(change, along)), node.dtype)


class AttentionOp(Op):
    """Means of values, weighted by `AttentionWeightsOp`.

    The attribute ``given`` names the inputs that follow queries, keys and values; the last may
    be factors of dropout.
    """

    name = WHAT

    def infer(
        self,
        query: TensorSpec,
        key: TensorSpec,
        value: TensorSpec,
        *others: TensorSpec,
        given: tuple[str, ...],
        is_causal: bool,
        scale: float | None,
    ) -> TensorSpec:
        scores = _scores_shape(query, key, others, given)
        return TensorSpec(_product_shape(scores, value.shape), query.dtype)

    def expand(
        self,
        query: Node,
        key: Node,
        value: Node,
        *others: Node,
        given: tuple[str, ...],
        is_causal: bool,
        scale: float | None,
    ) -> Node:
        options = dict(zip(given, map(widened, others), strict=True))
        dropout = options.pop("dropout", None)
        attrs = {"given": tuple(options), "is_causal": is_causal, "scale": scale}
        inputs = (widened(query), widened(key), *options.values())
        weights = make_node(ATTENTION_WEIGHTS, inputs, attrs)
        if dropout is not None:
            weights = multiply(weights, dropout)
        return cast_to(_product(weights, widened(value)), query.dtype)


ATTENTION_WEIGHTS, ATTENTION = AttentionWeightsOp(), AttentionOp()
register(ATTENTION_WEIGHTS)
register(ATTENTION)


def _scores_shape(
    query: TensorSpec, key: TensorSpec, others: Sequence[TensorSpec], given: Sequence[str]
) -> Shape:
    """The shape of the products, which masks, biases and the like must broadcast to."""
    scores = _product_shape(query.shape, _transposed(key.shape))
    for word, each in zip(given, others, strict=True):
        _check_broadcast(word, each.shape, scores)
    return scores


def _scores(query: Node, key: Node, scale: float | None) -> Node:
    """The scaled products of queries and keys."""
    return _product(multiply(query, _scale(query, scale)), swapaxes(key, -1, -2))


def _scale(query: Node, scale: float | None) -> Any:
    """The factor of all scores, by default one over the root of the number of features."""
    features = query.shape[-1]
    if scale is not None:
        return scale
    if isinstance(features, int):
        return 1.0 / math.sqrt(max(features, 1))
    return rsqrt(size_of(features, query.dtype))


def _masked_softmax(scores: Node, mask: Node | None, bias: Node | None, is_causal: bool) -> Node:
    """Weights of the keys that a query sees; all are 0 if it sees none."""
    conditions = []
    if mask is not None:
        conditions.append(mask)
    if bias is not None:
        conditions.append(not_equal(bias, -np.inf))
    if is_causal:
        shape = scores.shape[-2:]
        conditions.append(greater_equal(iota(shape, 0), iota(shape, 1)))
    if not conditions:
        return softmax(scores)
    seen = functools.reduce(logical_and, conditions)
    # Not -inf: a row of those alone would be NaN.
    lowest = constant(np.finfo(scores.dtype).min, scores.dtype)
    weights = softmax(where(seen, scores, lowest))
    if mask is None and bias is None:
        return weights  # every query sees the first key
    return where(seen, weights, constant(0.0, scores.dtype))


def _product(left: Node, right: Node) -> Node:
    """The matrix product; one head on the right may serve a group of heads on the left."""
    group = _group(left.shape, right.shape)
    if group == 1:
        return matmul(left, right)
    shape = (*left.shape[:-3], right.shape[-3], group, *left.shape[-2:])
    result = matmul(to_shape(left, shape), expand_dims(right, -3))
    return to_shape(result, (*result.shape[:-4], left.shape[-3], *result.shape[-2:]))


def _product_shape(left: Shape, right: Shape) -> Shape:
    """The shape of `_product`."""
    if _group(left, right) != 1:
        right = (*right[:-3], left[-3], *right[-2:])
    lead = broadcast_shapes(f"{WHAT}: leading axes", left[:-2], right[:-2])
    return (*lead, left[-2], right[-1])


def _group(left: Shape, right: Shape) -> Size:
    """How many heads on the left share one on the right; 1 also where one is broadcast."""
    if min(len(left), len(right)) < 3 or left[-3] == 1 or right[-3] == 1:
        return 1
    group = exact_quotient(left[-3], right[-3])
    if group is None:
        raise ShapeError(
            f"{WHAT}: the query has {left[-3]} heads, keys or values have {right[-3]}, no divisor",
            hint="keys and values need as many heads as the query, or a divisor of their number",
        )
    return group


def _transposed(shape: Shape) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2])


def _check_broadcast(word: str, shape: Shape, scores: Shape) -> None:
    if broadcast_shapes(f"{WHAT}: {word}", scores, shape) != scores:
        raise ShapeError(
            f"{WHAT}: {word} of shape {shape_text(shape)} does not broadcast to "
            f"the scores of shape {shape_text(scores)}"
        )


def _check_sizes(query: Shape, key: Shape, value: Shape) -> None:
    for word, shape in (("query", query), ("key", key), ("value", value)):
        if len(shape) < 2:
            raise ShapeError(
                f"{WHAT}: {word} of shape {shape_text(shape)} needs axes of length and features"
            )
    if query[-1] != key[-1]:
        raise ShapeError(
            f"{WHAT}: query {shape_text(query)} and key {shape_text(key)} differ in features, "
            f"{query[-1]} != {key[-1]}"
        )
    if key[-2] != value[-2]:
        raise ShapeError(
            f"{WHAT}: key {shape_text(key)} and value {shape_text(value)} differ in length, "
            f"{key[-2]} != {value[-2]}"
        )


# ------------------------------------------------------------------------------- what users call


def _attention(
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    bias: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """Head by head and row by row."""
    query, key, value = (np.asarray(each, np.float64) for each in (query, key, value))
    key, value = (_repeated(each, query.shape[:-2]) for each in (key, value))
    scale = 1.0 / np.sqrt(max(query.shape[-1], 1)) if scale is None else scale
    scores = np.einsum("...le,...se->...ls", query, key) * scale
    scores = scores if bias is None else scores + bias
    seen = np.broadcast_to(True if mask is None else mask, scores.shape)
    if is_causal:
        seen = seen & np.tril(np.ones(scores.shape[-2:], bool))
    weights = np.zeros(scores.shape)
    for row in np.ndindex(scores.shape[:-1]):
        chosen = seen[row] & (scores[row] > -np.inf)
        powers = np.exp(scores[row][chosen])
        weights[row][chosen] = powers / powers.sum()
    return np.einsum("...ls,...se->...le", weights, value)


def _repeated(x: Any, lead: tuple[int, ...]) -> Any:
    """Every head as often as a group of the query's heads needs it."""
    heads = x.shape[-3] if x.ndim > 2 else 1
    return np.repeat(x, lead[-1] // heads, -3) if lead and 1 < heads < lead[-1] else x


def _heads(*shape: int) -> Arg:
    return Arg(shape, -1.5, 1.5)


_THREE = (_heads(2, 3, 4), _heads(2, 5, 4), _heads(2, 5, 2))
_SQUARE = (_heads(3, 2), _heads(3, 2), _heads(3, 4))
_BLIND = np.array([[True, False, True], [False, False, False], [False, True, True]])
"""The second query sees no key."""


@operation(
    reference=_attention,
    samples=[
        Sample(*_THREE),
        Sample(*_SQUARE, scale=0.3),
        Sample(_heads(2, 2, 3, 2), _heads(2, 1, 4, 2), _heads(2, 1, 4, 3)),
        Sample(_heads(2, 4, 3, 2), _heads(2, 2, 3, 2), _heads(2, 2, 3, 3), is_causal=True),
        Sample(_heads(4, 2, 2), _heads(2, 3, 2), _heads(3, 2)),
        Sample(_heads(2, 1, 2, 2), _heads(3, 3, 2), _heads(3, 3, 1)),
        Sample(*_THREE, Arg((2, 3, 5), kind="bool")),
        Sample(*_THREE, Arg((5,), kind="bool"), bias=Arg((3, 5))),
        Sample(*_THREE, Arg((2, 3, 1), kind="bool")),
        Sample(*_SQUARE, _BLIND),
        Sample(*_SQUARE, _BLIND, is_causal=True),
        Sample(
            *_SQUARE, bias=Arg((3, 3), values=(0.5, -np.inf, 1.0, *(-np.inf,) * 3, 1.0, 0.0, 2.0))
        ),
        Sample(_heads(4, 2), _heads(3, 2), _heads(3, 2), is_causal=True),
        Sample(_heads(2, 2), _heads(5, 2), _heads(5, 2), bias=Arg((1, 5)), is_causal=True),
        Sample(_heads(2, 0), _heads(3, 0), _heads(3, 2)),
        Sample(_heads(2, 2), _heads(0, 2), _heads(0, 3)),
        Sample(_heads(0, 2, 2), _heads(0, 3, 2), _heads(0, 3, 2)),
    ],
    rejects=[
        Reject(ShapeError, "key of shape (3,) needs axes", Arg((2, 3)), Arg((3,)), Arg((2, 3))),
        Reject(ShapeError, "in features, 3 != 4", Arg((2, 3)), Arg((2, 4)), Arg((2, 3))),
        Reject(ShapeError, "in length, 4 != 5", Arg((2, 3)), Arg((4, 3)), Arg((5, 3))),
        Reject(
            ShapeError,
            "the query has 4 heads, keys or values have 3, no divisor",
            Arg((4, 2, 2)),
            Arg((3, 2, 2)),
            Arg((3, 2, 2)),
        ),
        Reject(
            ShapeError,
            "leading axes: shapes (2, 4) and (3, 4) do not broadcast",
            Arg((2, 4, 2, 2)),
            Arg((3, 4, 2, 2)),
            Arg((3, 4, 2, 2)),
        ),
        Reject(DTypeError, "mask must be bool", *_SQUARE, Arg((3, 3))),
        Reject(DTypeError, "bias must be numbers", *_SQUARE, bias=Arg((3, 3), kind="bool")),
        Reject(ShapeError, "mask: shapes (3, 3) and (2, 3)", *_SQUARE, Arg((2, 3), kind="bool")),
        Reject(
            ShapeError,
            "bias of shape (2, 3, 3) does not broadcast to the scores of shape (3, 3)",
            *_SQUARE,
            bias=Arg((2, 3, 3)),
        ),
        Reject(ArgumentError, "dropout_rate is 1, it must be", *_SQUARE, dropout_rate=1),
        Reject(ArgumentError, "scale is -1", *_SQUARE, scale=-1),
    ],
    dtypes="if",
    corner="0 for a query that sees no key, with derivative 0, as in PyTorch since 2.5",
)
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    *,
    bias: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_rate: float = 0.0,
    dropout_key: Any = None,
) -> Node:
    """``softmax(query @ key.T * scale + bias) @ value``, head by head.

    JAX and Keras have it as ``dot_product_attention``, with the axes of heads and length exchanged.
    Source: A. Vaswani et al., Attention is all you need (2017), equation 1.

    Parameters
    ----------
    query : array_like or Node, of shape (..., heads, length, features)
        Integers become float32; half floats are computed in float32 and rounded once.
    key : array_like or Node, of shape (..., heads, keys, features)
    value : array_like or Node, of shape (..., heads, keys, features of the result)
        The leading axes broadcast. Keys and values may have fewer heads, a divisor of their
        number: neighbouring heads of the query share one (grouped-query attention).
    mask : array_like or Node, optional
        Bool, broadcast to (..., heads, length, keys): True where a query sees a key.
    bias : array_like or Node, optional
        Added to the scores, broadcast likewise. ``-inf`` hides a key.
    is_causal : bool, default False
        Whether query ``i`` sees no key after key ``i``, counted from the first of both.
    scale : float, optional
        Default: ``1 / sqrt(features)``.
    dropout_rate : float, default 0
        Probability that a weight is zeroed; the others are scaled up by ``1 / (1 - rate)``.
    dropout_key : Node, optional
        Of :mod:`graphnn.random`; default: a fresh one from the default stream.

    Returns
    -------
    Node
        Of shape (..., heads, length, features of the result).

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If features, lengths or heads do not fit, a mask does not broadcast to the scores or is
        not bool, or a number is out of range.

    Examples
    --------
    >>> import graphnn as gn
    >>> q = gn.input("q", shape=("batch", 8, "time", 64))
    >>> kv = gn.input("kv", shape=("batch", 2, "time", 64))
    >>> gn.scaled_dot_product_attention(q, kv, kv, is_causal=True)
    <Node scaled_dot_product_attention (batch, 8, time, 64) float32>
    """
    inputs = operands(WHAT, [query, key, value], "f")
    query, key, value = inputs
    _check_sizes(query.shape, key.shape, value.shape)
    options: dict[str, Node] = {}
    if mask is not None:
        options["mask"] = _condition(mask)
    if bias is not None:
        options["bias"] = _added(query, bias)
    if require_number(WHAT, "dropout_rate", dropout_rate, below=1.0):
        scores = _product_shape(query.shape, _transposed(key.shape))
        dtype = widened(query).dtype
        options["dropout"] = dropout_mask(dropout_key, dropout_rate, scores, dtype)
    attrs = {
        "given": tuple(options),
        "is_causal": bool(is_causal),
        "scale": None if scale is None else require_number(WHAT, "scale", scale),
    }
    return make_node(ATTENTION, (*inputs, *options.values()), attrs)


def _condition(mask: Any) -> Node:
    node = as_node(mask)
    if not is_bool(node.dtype):
        raise DTypeError(
            f"{WHAT}: mask must be bool, not {node.dtype.name}",
            hint="what is added to the scores is given as bias=",
        )
    return node


def _added(query: Node, bias: Any) -> Node:
    if is_bool(as_node(bias).dtype):
        raise DTypeError(
            f"{WHAT}: bias must be numbers, not bool", hint="what hides keys is given as mask="
        )
    _, node = operands(f"{WHAT}: bias", [query, bias], "f")
    return node
