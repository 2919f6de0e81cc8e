"""Normalization of images and the like, by channels: group, instance and local response norm."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from graphnn.core.arguments import require_number, require_positive
from graphnn.core.dims import exact_quotient
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.arithmetic import add, divide, multiply, power, square
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.joining import pad_with, slice_axis
from graphnn.ops.normalization import (
    NormOp,
    affine_array,
    parameters_of,
    scaled_and_shifted,
    standardized,
    standardized_array,
)
from graphnn.ops.operands import as_node, cast_to, require_floating, widened

__all__ = ["group_norm", "instance_norm", "local_response_norm"]


class GroupNormOp(Op):
    """Channels in groups, each standardized over its channels and all places of an example."""

    name = "group_norm"

    def infer(self, x: TensorSpec, *parameters: TensorSpec, **attrs: Any) -> TensorSpec:
        return x

    def expand(self, x: Node, *parameters: Node, groups: int, axis: int, eps: float) -> Node:
        shape = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
        axes = tuple(each for each in range(1, len(shape)) if each != axis)
        result = standardized(to_shape(widened(x), shape), axes, eps)
        return cast_to(scaled_and_shifted(to_shape(result, x.shape), parameters, (axis,)), x.dtype)


class LocalResponseNormOp(Op):
    """``x`` divided by a power of the mean square of neighbouring channels."""

    name = "local_response_norm"

    def infer(self, x: TensorSpec, **attrs: Any) -> TensorSpec:
        return x

    def expand(self, x: Node, *, size: int, alpha: float, beta: float, k: float, axis: int) -> Node:
        wide = widened(x)
        low, high = [0] * x.ndim, [0] * x.ndim
        low[axis], high[axis] = size // 2, (size - 1) // 2
        padded = pad_with(square(wide), low, high)
        neighbours = (slice_axis(padded, axis, start, x.shape[axis]) for start in range(size))
        total = functools.reduce(add, neighbours)
        divisor = power(add(multiply(total, alpha / size), k), beta)
        return cast_to(divide(wide, divisor), x.dtype)


GROUP_NORM, LOCAL_RESPONSE_NORM = GroupNormOp(), LocalResponseNormOp()
INSTANCE_NORM = NormOp("instance_norm")
for _op in (GROUP_NORM, LOCAL_RESPONSE_NORM, INSTANCE_NORM):
    register(_op)


def _images(what: str, x: Any, axis: Any) -> tuple[Node, int]:
    """``x`` as floats with an axis of examples first, and the axis of its channels.

    Raises
    ------
    ShapeError
        If there is no such axis, or it is the axis of examples.
    """
    node = require_floating(what, as_node(x))
    channels = normalize_axis(what, axis, node.ndim)
    if channels == 0:
        raise ShapeError(
            f"{what}: axis 0 of {shape_text(node.shape)} holds the examples, not the channels",
            hint="one example alone gets a leading axis with gn.expand_dims(x, 0)",
        )
    return node, channels


# ------------------------------------------------------------------------------- what users call


def _group_norm(
    x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, axis: int = 1
) -> Any:
    first = np.moveaxis(np.asarray(x, np.float64), axis, 1)
    parts = [
        standardized_array(part, tuple(range(1, first.ndim)), eps)
        for part in np.split(first, groups, 1)
    ]
    return affine_array(np.moveaxis(np.concatenate(parts, 1), 1, axis), weight, bias, axis)


_IMAGE_REJECTS = [
    Reject(ShapeError, "axis 1 is out of range", Arg((4,))),
    Reject(ShapeError, "axis 0 of (2, 4, 3) holds the examples", Arg((2, 4, 3)), axis=0),
    Reject(ArgumentError, "eps is -1", Arg((2, 4, 3)), eps=-1),
    Reject(
        ShapeError,
        "weight has shape (3,), x of shape (2, 4, 3) needs (4,)",
        Arg((2, 4, 3)),
        weight=Arg((3,)),
    ),
]


@operation(
    reference=_group_norm,
    samples=[
        Sample(Arg((2, 4, 3)), 2),
        Sample(Arg((2, 4, 2, 2)), 2, Arg((4,)), Arg((4,))),
        Sample(Arg((2, 2, 3, 6)), 3, Arg((6,)), Arg((6,)), eps=0.1, axis=-1),
        Sample(Arg((2, 4), distinct=True), 2, Arg((4,))),
        Sample(Arg((2, 4, 3)), 1, bias=Arg((4,))),
        Sample(Arg((2, 4)), 4),
        Sample(Arg((0, 4, 3)), 2, Arg((4,)), Arg((4,))),
    ],
    rejects=[
        *(
            Reject(each.error, each.words, each.args[0], 2, **each.kwargs)
            for each in _IMAGE_REJECTS
        ),
        Reject(ShapeError, "4 channels do not divide into 3 groups", Arg((2, 4)), 3),
        Reject(ArgumentError, "groups must be a positive integer", Arg((2, 4)), 0),
    ],
    dtypes="if",
    corner="the bias where all elements of a group are equal; NaN there if eps is 0",
)
def group_norm(
    x: Any,
    groups: int,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
) -> Node:
    """``(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`` over groups of channels.

    One group is layer norm over all axes but the first; as many groups as channels are
    :func:`instance_norm`. Source: Y. Wu, K. He, Group normalization (2018).

    Parameters
    ----------
    x : array_like or Node, of shape (batch, channels, ...)
        Integers become float32; half floats are computed in float32 and rounded once.
    groups : int
        Neighbouring channels are grouped; their number must divide evenly.
    weight, bias : array_like or Node, optional
        Of shape (channels,); of the dtype of ``x``, or float32 beside a half float.
    eps : float, default 1e-5
    axis : int, default 1
        That of the channels: -1 for channels last.

    Returns
    -------
    Node
        Of the shape and dtype of ``x``.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If the channels do not divide, a parameter does not fit, or a number is out of range.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 32, 8, 8))
    >>> gn.group_norm(x, 4, gn.ones(32), gn.zeros(32))
    <Node group_norm (batch, 32, 8, 8) float32>
    """
    node, channels = _images("group_norm", x, axis)
    require_positive("group_norm", groups=groups)
    if exact_quotient(node.shape[channels], int(groups)) is None:
        raise ShapeError(
            f"group_norm: {node.shape[channels]} channels do not divide into {groups} groups",
            hint="groups must be a divisor of a number of channels that is known",
        )
    parameters = parameters_of("group_norm", node, (channels,), weight, bias)
    epsilon = require_number("group_norm", "eps", eps)
    attrs = {"groups": int(groups), "axis": channels, "eps": epsilon}
    return make_node(GROUP_NORM, (node, *parameters), attrs)


def _instance_norm(
    x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, axis: int = 1
) -> Any:
    return _group_norm(x, np.shape(x)[axis], weight, bias, eps, axis)


@operation(
    reference=_instance_norm,
    samples=[
        Sample(Arg((2, 3, 4))),
        Sample(Arg((2, 3, 2, 2)), Arg((3,)), Arg((3,))),
        Sample(Arg((2, 2, 3, 2)), Arg((2,)), eps=0.1, axis=-1),
        Sample(Arg((2, 3, 1)), Arg((3,)), Arg((3,))),
        Sample(Arg((0, 2, 3)), Arg((2,)), Arg((2,))),
    ],
    rejects=[
        *_IMAGE_REJECTS,
        Reject(ShapeError, "no places to take the mean over", Arg((2, 4))),
    ],
    dtypes="if",
    corner="the bias where all places are equal, also where there is one; NaN there if eps is 0",
)
def instance_norm(
    x: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5, axis: int = 1
) -> Node:
    """``(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`` over the places of every channel.

    Source: D. Ulyanov, A. Vedaldi, V. Lempitsky, Instance normalization (2016).

    Parameters
    ----------
    x : array_like or Node, of shape (batch, channels, ...)
        Integers become float32; half floats are computed in float32 and rounded once.
    weight, bias : array_like or Node, optional
        Of shape (channels,); of the dtype of ``x``, or float32 beside a half float.
    eps : float, default 1e-5
    axis : int, default 1
        That of the channels: -1 for channels last.

    Returns
    -------
    Node
        Of the shape and dtype of ``x``.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If there are no axes but examples and channels, or a parameter does not fit.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.instance_norm(gn.input("x", shape=("batch", 3, 8, 8)))
    <Node instance_norm (batch, 3, 8, 8) float32>
    """
    node, channels = _images("instance_norm", x, axis)
    if node.ndim == 2:
        raise ShapeError(
            f"instance_norm: x of shape {shape_text(node.shape)} has no places "
            "to take the mean over",
            hint="gn.layer_norm takes it over the features, gn.batch_norm_train over the batch",
        )
    parameters = parameters_of("instance_norm", node, (channels,), weight, bias)
    attrs = {
        "axes": tuple(each for each in range(1, node.ndim) if each != channels),
        "along": (channels,),
        "eps": require_number("instance_norm", "eps", eps),
    }
    return make_node(INSTANCE_NORM, (node, *parameters), attrs)


def _local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, axis: int = 1
) -> Any:
    first = np.moveaxis(np.asarray(x, np.float64), axis, 0)
    total = np.zeros(first.shape)
    for channel in range(len(first)):
        low, high = max(0, channel - size // 2), channel + (size - 1) // 2 + 1
        total[channel] = np.sum(first[low:high] ** 2, axis=0)
    return np.moveaxis(first / (k + alpha / size * total) ** beta, 0, axis)


@operation(
    reference=_local_response_norm,
    samples=[
        Sample(Arg((2, 5, 3)), 3, 1.0),
        Sample(Arg((2, 5)), 2, 0.5, 0.6, 2.0),
        Sample(Arg((2, 3, 4)), 4, 1.0, axis=-1),
        Sample(Arg((2, 3)), 9, 1.0),
        Sample(Arg((2, 3)), 1, 1.0),
        Sample(Arg((2, 3)), 3, 1.0, 0),
        Sample(Arg((4,)), 3, 1.0, axis=0),
        Sample(Arg((0, 3, 2)), 3),
    ],
    rejects=[
        Reject(ArgumentError, "size must be a positive integer", Arg((2, 4, 3)), 0),
        Reject(ArgumentError, "k is -1", Arg((2, 4, 3)), 3, k=-1),
        Reject(ShapeError, "axis 1 is out of range", Arg((4,)), 3),
    ],
    dtypes="if",
    corner="NaN at 0 if k is 0",
)
def local_response_norm(
    x: Any,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    axis: int = 1,
) -> Node:
    """``x / (k + alpha * mean(x**2)) ** beta``, the mean over ``size`` neighbouring channels.

    Channels beyond the ends count as 0, and the sum is always divided by ``size``, as in PyTorch.
    Source: A. Krizhevsky, I. Sutskever, G. E. Hinton, ImageNet classification with deep
    convolutional neural networks (2012), section 3.3, where ``alpha`` holds the ``1 / size``.

    Parameters
    ----------
    x : array_like or Node, of shape (batch, channels, ...)
        Integers become float32; half floats are computed in float32 and rounded once.
    size : int
        How many channels: ``size // 2`` before, the channel itself, and the rest behind it.
    alpha, beta, k : float, defaults 1e-4, 0.75 and 1
    axis : int, default 1
        That of the channels: -1 for channels last.

    Returns
    -------
    Node
        Of the shape and dtype of ``x``.

    Raises
    ------
    ShapeError, ArgumentError
        If an axis does not exist, or a number is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.local_response_norm(gn.input("x", shape=("batch", 96, 27, 27)), 5)
    <Node local_response_norm (batch, 96, 27, 27) float32>
    """
    node = require_floating("local_response_norm", as_node(x))
    channels = normalize_axis("local_response_norm", axis, node.ndim)
    require_positive("local_response_norm", size=size)
    numbers = {
        word: require_number("local_response_norm", word, given)
        for word, given in (("alpha", alpha), ("beta", beta), ("k", k))
    }
    return make_node(LOCAL_RESPONSE_NORM, (node,), {"size": int(size), "axis": channels, **numbers})
