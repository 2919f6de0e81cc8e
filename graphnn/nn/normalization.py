"""Normalising layers: by statistics of the batch, of each sample, or of groups of channels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import options_of, require_positive
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.node import Node
from graphnn.core.state import Parameter, parameter
from graphnn.nn.module import Module
from graphnn.ops.batch_normalization import batch_norm, batch_norm_train
from graphnn.ops.channel_normalization import group_norm, instance_norm, local_response_norm
from graphnn.ops.normalization import layer_norm, rms_norm

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class _Scaled(Module):
    """A learned scale, and a learned shift, for every channel or feature."""

    has_shift: ClassVar[bool] = True
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        features: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        require_positive(type(self).__name__, features=features)
        self.features, self.eps = features, eps
        shape, has_bias = (features,), affine and self.has_shift
        self.weight = parameter(initializers.ones(shape), dtype=dtype) if affine else None
        self.bias = parameter(initializers.zeros(shape), dtype=dtype) if has_bias else None

    def extra_repr(self) -> str:
        """The features, and whether there is something to learn where that is not the default."""
        affine = self.weight is not None
        is_usual = affine == options_of(type(self))["affine"]
        return f"{self.features}" + ("" if is_usual else f", affine={affine}")


class BatchNorm(_Scaled):
    """Every channel with mean 0 and variance 1 over the batch, then scaled and shifted.

    In training mode by the statistics of the batch; running averages of them are kept, which are
    used in evaluation mode. A program writes the running averages if it is given the model's
    `state_updates`: ``updates={**optimizer.minimize(...), **model.state_updates()}``. Source: S.
    Ioffe and C. Szegedy, arXiv:1502.03167.

    Parameters
    ----------
    features : int
        Channels: axis 1 of ``(batch, channels, *spatial)``.
    momentum : float, default 0.1
        How much of a batch's statistics enters the running ones.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default True
        Whether a scale and a shift are learned.
    dtype : optional
        Default float32.

    Attributes
    ----------
    weight, bias : Parameter of shape (features,), or None
    running_mean, running_variance : Parameter of shape (features,)
        Not trainable; saved with the model.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> layer = gn.nn.BatchNorm(3)
    >>> x = gn.input("x", shape=("batch", 3))
    >>> step = gn.compile(x, layer(x), updates=layer.state_updates())
    >>> _ = step(np.float32([[0, 1, 2], [2, 1, 4]]))
    >>> layer.running_mean.value
    array([0.1, 0.1, 0.3], dtype=float32)
    """

    def __init__(
        self,
        features: int,
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        super().__init__(features, eps=eps, affine=affine, dtype=dtype)
        self.momentum = momentum
        zeros, ones = np.zeros(features), np.ones(features)
        self.running_mean = parameter(zeros, dtype=dtype, trainable=False)
        self.running_variance = parameter(ones, dtype=dtype, trainable=False)

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, features, *spatial)``."""
        statistics = self.running_mean, self.running_variance
        if not self.training:
            self.remember({})
            return batch_norm(x, *statistics, self.weight, self.bias, eps=self.eps)
        y, mean, variance = batch_norm_train(
            x, *statistics, self.weight, self.bias, momentum=self.momentum, eps=self.eps
        )
        self.remember({self.running_mean: mean, self.running_variance: variance})
        return y


class LayerNorm(_Scaled):
    """Every sample with mean 0 and variance 1 over its features, the last axis.

    Source: J. Ba, J. Kiros and G. Hinton, arXiv:1607.06450.

    Parameters
    ----------
    features : int
    eps : float, default 1e-5
    affine : bool, default True
    dtype : optional
        Default float32.

    Examples
    --------
    >>> import graphnn as gn
    >>> y = gn.nn.LayerNorm(3)(gn.constant([[1.0, 2.0, 3.0]]))
    >>> gn.evaluate(y).round(2)
    array([[-1.22,  0.  ,  1.22]], dtype=float32)
    """

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(..., features)``."""
        return layer_norm(x, self.weight, self.bias, eps=self.eps)


class RMSNorm(_Scaled):
    """Every sample divided by the root of the mean of its squares, then scaled.

    Source: B. Zhang and R. Sennrich, arXiv:1910.07467.

    Parameters
    ----------
    features : int
        Size of the last axis.
    eps : float, default 1e-6
    affine : bool, default True
    dtype : optional
        Default float32.

    Examples
    --------
    >>> import graphnn as gn
    >>> y = gn.nn.RMSNorm(2)(gn.constant([[1.0, 7.0]]))
    >>> gn.evaluate(y).round(2)
    array([[0.2, 1.4]], dtype=float32)
    """

    has_shift = False

    def __init__(
        self,
        features: int,
        *,
        eps: float = 1e-6,
        affine: bool = True,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        super().__init__(features, eps=eps, affine=affine, dtype=dtype)

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(..., features)``."""
        return rms_norm(x, self.weight, eps=self.eps)


class InstanceNorm(_Scaled):
    """Every channel of every sample with mean 0 and variance 1 over space.

    Source: D. Ulyanov, A. Vedaldi and V. Lempitsky, arXiv:1607.08022.

    Parameters
    ----------
    features : int
        Channels: axis 1.
    eps : float, default 1e-5
    affine : bool, default False
    dtype : optional
        Default float32.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.InstanceNorm(8)(gn.input("x", shape=("batch", 8, 5, 5))).shape
    (Dim(batch), 8, 5, 5)
    """

    def __init__(
        self,
        features: int,
        *,
        eps: float = 1e-5,
        affine: bool = False,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        super().__init__(features, eps=eps, affine=affine, dtype=dtype)

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, features, *spatial)``."""
        return instance_norm(x, self.weight, self.bias, eps=self.eps)


class GroupNorm(_Scaled):
    """Every group of channels of every sample with mean 0 and variance 1.

    Source: Y. Wu and K. He, arXiv:1803.08494.

    Parameters
    ----------
    groups : int
        They divide the features.
    features : int
        Channels: axis 1.
    eps : float, default 1e-5
    affine : bool, default True
    dtype : optional
        Default float32.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.GroupNorm(2, 8)(gn.input("x", shape=("batch", 8, 5, 5))).shape
    (Dim(batch), 8, 5, 5)
    """

    def __init__(
        self,
        groups: int,
        features: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        require_positive("GroupNorm", groups=groups)
        super().__init__(features, eps=eps, affine=affine, dtype=dtype)
        self.groups = groups

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, features, *spatial)``."""
        return group_norm(x, self.groups, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        """Groups and features."""
        return f"{self.groups}, {super().extra_repr()}"


class LocalResponseNorm(Module):
    """Every element divided by a power of the mean square of neighbouring channels.

    Parameters
    ----------
    size : int
        How many channels.
    alpha, beta, k : float, defaults 1e-4, 0.75 and 1
        See :func:`graphnn.local_response_norm`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.LocalResponseNorm(5)(gn.input("x", shape=("batch", 8, 5, 5))).shape
    (Dim(batch), 8, 5, 5)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        require_positive("LocalResponseNorm", size=size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """The size."""
        return f"{self.size}"
