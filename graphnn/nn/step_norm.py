"""Batch normalisation inside a recurrence: statistics of their own for every time step.

Cells hold layers of this kind, and :class:`graphnn.nn.Recurrent` tells them which step it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.dims import Size
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.state import Parameter, parameter
from graphnn.nn.module import Module
from graphnn.ops.arithmetic import minimum, where
from graphnn.ops.batch_normalization import batch_norm, batch_norm_train
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.creation import iota, ones, zeros
from graphnn.ops.joining import concatenate
from graphnn.ops.logic import equal
from graphnn.ops.movement import flip
from graphnn.ops.operands import cast_to
from graphnn.ops.products import matmul
from graphnn.ops.reduction import any as some

__all__ = ["StepNorm"]


class Statistics(NamedTuple):
    """Mean and variance of every channel, of one step or along the time."""

    mean: Node
    variance: Node


class StepNorm(Module):
    """Channels with mean 0 and variance 1 over the batch, by statistics of each time step.

    In training mode by those of the batch; running averages of them are kept for each of the first
    steps, the last of which stand for all later steps, and used in evaluation mode. Source: T.
    Cooijmans et al., Recurrent batch normalization, arXiv:1603.09025.

    Parameters
    ----------
    features : int
        Channels: axis 1.
    steps : int
        For how many steps statistics are kept.
    shift : bool, default False
        Whether a shift is learned too.
    momentum : float, default 0.1
        How much of a batch's statistics enters the running ones.
    eps : float, default 1e-5
        Added to the variance.
    dtype : optional
        Default float32.

    Attributes
    ----------
    weight : Parameter of shape (features,)
        0.1 at first, with which the tanh of what is normalised does not saturate.
    bias : Parameter of shape (features,), or None
    running_mean, running_variance : Parameter of shape (steps, features)
        Not trainable; saved with the model.

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.LSTM(3, 8, batch_norm=100)
    >>> norms = [each for _, each in net.named_modules() if isinstance(each, gn.nn.StepNorm)]
    >>> [each.running_mean.shape for each in norms]
    [(100, 32), (100, 32), (100, 8)]
    """

    def __init__(
        self,
        features: int,
        steps: int,
        *,
        shift: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        require_positive("StepNorm", features=features, batch_norm=steps)
        self.steps, self.momentum, self.eps = steps, momentum, eps
        self.weight = parameter(np.full(features, 0.1), dtype=dtype)
        self.bias: Parameter | None = None
        if shift:
            self.bias = parameter(np.zeros(features), dtype=dtype)
        shape = (steps, features)
        self.running_mean = parameter(np.zeros(shape), dtype=dtype, trainable=False)
        self.running_variance = parameter(np.ones(shape), dtype=dtype, trainable=False)
        self._given: Statistics | None = None
        self._noted: list[Statistics] | None = None

    def forward(self, x: Node, part: slice = slice(None)) -> Node:
        """Normalise ``(batch, channels, ...)``, all channels or consecutive ones."""
        weight, bias = (each if each is None else each[part] for each in (self.weight, self.bias))
        if self.training:
            count = x.shape[1]
            none = zeros((count,), x.dtype), ones((count,), x.dtype)
            y, *found = batch_norm_train(x, *none, weight, bias, momentum=1.0, eps=self.eps)
            if self._noted is not None:
                self._noted.append(Statistics(*found))
            return y
        if self._given is None:
            raise ArgumentError(
                "batch_norm: in evaluation mode a cell must know which step it is at",
                hint="gn.nn.Recurrent(cell) tells it",
            )
        mean, variance = (each[part] for each in self._given)
        return batch_norm(x, mean, variance, weight, bias, eps=self.eps)

    # ------------------------------------------------------------------------ for layers

    def of_steps(self, steps: Size, reverse: bool) -> Statistics:
        """The running statistics of all steps, in the order of the elements."""
        numbers = minimum(iota((steps,)), self.steps - 1)
        numbers = flip(numbers) if reverse else numbers
        return Statistics(self.running_mean[numbers], self.running_variance[numbers])

    @contextmanager
    def at_step(self, given: Statistics | None) -> Iterator[list[Statistics]]:
        """Within one step: what is given for it, and a list of what is found in it."""
        noted: list[Statistics] = []
        self._given, self._noted = given, noted
        try:
            yield noted
        finally:
            self._given, self._noted = None, None

    def remember_steps(self, found: Statistics, reverse: bool) -> None:
        """Move the running statistics towards those that were found at every step."""
        steps = found.mean.shape[0]
        numbers = iota((steps,))
        numbers = flip(numbers) if reverse else numbers
        own = iota((self.steps,))
        # A row for each number of a step: that of the step, if there is one.
        is_own = equal(to_shape(own, (self.steps, 1)), to_shape(numbers, (1, steps)))
        has_step = some(is_own, 1, keepdims=True)
        pairs = zip((self.running_mean, self.running_variance), found, strict=True)
        kept = 1.0 - self.momentum
        moved = {
            old: old * kept + matmul(cast_to(is_own, old.dtype), new) * self.momentum
            for old, new in pairs
        }
        self.remember({old: where(has_step, new, old) for old, new in moved.items()})


def joined(parts: Sequence[Statistics]) -> Statistics:
    """The statistics of consecutive channels as those of all."""
    return Statistics(*(concatenate(each) for each in zip(*parts, strict=True)))
