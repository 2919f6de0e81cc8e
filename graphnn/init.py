"""Initialisers: the first values of parameters.

An initialiser is a function ``(shape, rng) -> array``. Layers take one as ``init=``; options are
bound with :func:`functools.partial`. Without a generator, numbers come from the default stream, so
``gn.seed(n)`` before a model is built makes it the same every time.

Weights have shape ``(in, out)``: rows of the input are samples, ``x @ W``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from graphnn.core.arguments import require_known
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.ops.streams import host_generator

__all__ = [
    "Initializer",
    "constant",
    "gain_of",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "zeros",
]

Array: TypeAlias = npt.NDArray[np.float64]
Shape: TypeAlias = Sequence[int]
Generator: TypeAlias = np.random.Generator

Initializer: TypeAlias = Callable[[tuple[int, ...], "Generator | None"], npt.NDArray[Any]]
"""What layers take as ``init=``: from a shape and a generator (None: the default stream)."""


def zeros(shape: Shape, rng: Generator | None = None) -> Array:
    """All 0: the usual start of biases.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.init.zeros((3,))
    array([0., 0., 0.])
    """
    return np.zeros(shape)


def ones(shape: Shape, rng: Generator | None = None) -> Array:
    """All 1: the usual start of the scales of normalisations.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.init.ones((3,))
    array([1., 1., 1.])
    """
    return np.ones(shape)


def constant(shape: Shape, rng: Generator | None = None, *, value: float = 0.0) -> Array:
    """The same value everywhere.

    Examples
    --------
    >>> from functools import partial
    >>> import graphnn as gn
    >>> layer = gn.nn.Dense(3, 2, bias_init=partial(gn.init.constant, value=0.1))
    >>> layer.bias.value
    array([0.1, 0.1], dtype=float32)
    """
    return np.full(shape, value, dtype=np.float64)


def uniform(
    shape: Shape, rng: Generator | None = None, *, low: float = -0.5, high: float = 0.5
) -> Array:
    """Uniform in ``[low, high)``.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> gn.init.uniform((3,), np.random.default_rng(0)).round(3)
    array([ 0.137, -0.23 , -0.459])
    """
    if not low <= high:
        raise ArgumentError(f"uniform: low {low} is above high {high}")
    return _generator(rng).uniform(low, high, tuple(shape))


def normal(
    shape: Shape, rng: Generator | None = None, *, mean: float = 0.0, std: float = 0.05
) -> Array:
    """Normal with the given mean and standard deviation.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> gn.init.normal((3,), np.random.default_rng(0), std=1.0).round(3)
    array([ 0.126, -0.132,  0.64 ])
    """
    if not std >= 0:
        raise ArgumentError(f"normal: the standard deviation {std} is negative")
    return _generator(rng).normal(mean, std, tuple(shape))


def truncated_normal(
    shape: Shape,
    rng: Generator | None = None,
    *,
    mean: float = 0.0,
    std: float = 0.05,
    bound: float = 2.0,
) -> Array:
    """Normal, but drawn again where it lies more than ``bound`` times ``std`` from the mean.

    The standard deviation of what is left is smaller: 0.88 times ``std`` for a bound of 2.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> values = gn.init.truncated_normal((1000,), np.random.default_rng(0), std=0.1)
    >>> bool(abs(values).max() <= 0.2)
    True
    """
    if not bound > 0:
        raise ArgumentError(f"truncated_normal: bound must be above 0, not {bound!r}")
    from scipy.special import ndtr, ndtri  # loading it takes a while

    generator = _generator(rng)
    # By the inverse of the distribution function: one draw for each element, whatever the bound.
    low, high = ndtr([-bound, bound])
    drawn: Array = ndtri(generator.uniform(low, high, tuple(shape)))
    return mean + std * drawn


def glorot_uniform(
    shape: Shape,
    rng: Generator | None = None,
    *,
    gain: float = 1.0,
    fans: tuple[int, int] | None = None,
) -> Array:
    """Uniform within ``gain * sqrt(6 / (fan_in + fan_out))``, also known as Xavier.

    It keeps the variance of signals and of gradients through linear, tanh and sigmoid layers.
    Source: X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward
    neural networks (2010).

    Parameters
    ----------
    shape : tuple of int
    rng : numpy.random.Generator, optional
    gain : float, default 1
    fans : (int, int), optional
        Number of inputs of a neuron and of neurons that read an input. Default: the two sizes of
        a matrix; of a convolution's kernel ``(filters, channels, *window)``, channels and filters
        times the elements of the window.

    Returns
    -------
    numpy.ndarray of float64

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> w = gn.init.glorot_uniform((64, 32), np.random.default_rng(0))
    >>> bool(abs(w).max() <= 0.25)
    True
    """
    bound = gain * math.sqrt(6.0 / sum(_fans("glorot_uniform", shape, fans)))
    return uniform(shape, rng, low=-bound, high=bound)


def glorot_normal(
    shape: Shape,
    rng: Generator | None = None,
    *,
    gain: float = 1.0,
    fans: tuple[int, int] | None = None,
) -> Array:
    """Normal with standard deviation ``gain * sqrt(2 / (fan_in + fan_out))``.

    See :func:`glorot_uniform`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Dense(64, 32, init=gn.init.glorot_normal)
    Dense(64, 32)
    """
    std = gain * math.sqrt(2.0 / sum(_fans("glorot_normal", shape, fans)))
    return normal(shape, rng, std=std)


def he_uniform(
    shape: Shape, rng: Generator | None = None, *, fans: tuple[int, int] | None = None
) -> Array:
    """Uniform within ``sqrt(6 / fan_in)``, for ReLU layers; also known as Kaiming.

    Source: K. He et al., Delving deep into rectifiers, arXiv:1502.01852. ``fans`` is as in
    :func:`glorot_uniform`.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> values = gn.init.he_uniform((6, 1000), np.random.default_rng(0))
    >>> bool(abs(values).max() <= 1.0)
    True
    """
    bound = math.sqrt(6.0 / _fans("he_uniform", shape, fans)[0])
    return uniform(shape, rng, low=-bound, high=bound)


def he_normal(
    shape: Shape, rng: Generator | None = None, *, fans: tuple[int, int] | None = None
) -> Array:
    """Normal with standard deviation ``sqrt(2 / fan_in)``; see :func:`he_uniform`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Conv2d(3, 8, 5, init=gn.init.he_normal)
    Conv2d(3, 8, 5)
    """
    return normal(shape, rng, std=math.sqrt(2.0 / _fans("he_normal", shape, fans)[0]))


def lecun_uniform(
    shape: Shape, rng: Generator | None = None, *, fans: tuple[int, int] | None = None
) -> Array:
    """Uniform within ``sqrt(3 / fan_in)``; see :func:`lecun_normal`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Dense(64, 32, init=gn.init.lecun_uniform)
    Dense(64, 32)
    """
    bound = math.sqrt(3.0 / _fans("lecun_uniform", shape, fans)[0])
    return uniform(shape, rng, low=-bound, high=bound)


def lecun_normal(
    shape: Shape, rng: Generator | None = None, *, fans: tuple[int, int] | None = None
) -> Array:
    """Normal with standard deviation ``sqrt(1 / fan_in)``: for SELU, and for linear units.

    Sources: Y. LeCun et al., Efficient backprop (1998); G. Klambauer et al., arXiv:1706.02515.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Sequential(gn.nn.Dense(64, 32, init=gn.init.lecun_normal), gn.nn.SELU())
    Sequential(Dense(64, 32), SELU())
    """
    return normal(shape, rng, std=math.sqrt(1.0 / _fans("lecun_normal", shape, fans)[0]))


def identity(shape: Shape, rng: Generator | None = None, *, gain: float = 1.0) -> Array:
    """``gain`` on the diagonal and 0 elsewhere: a layer that begins by handing on its input.

    As a recurrent weight with ReLU: Q. Le, N. Jaitly and G. Hinton, arXiv:1504.00941.

    Raises
    ------
    ShapeError
        If the shape is not that of a matrix.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.init.identity((2, 3))
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    if len(shape) != 2:
        raise ShapeError(f"identity: a matrix has two sizes, not {tuple(shape)}")
    rows, columns = shape
    return gain * np.eye(rows, columns)


def gain_of(activation: str, slope: float = 0.01) -> float:
    """By what a weight's spread is multiplied so that an activation keeps the variance.

    Parameters
    ----------
    activation : {"linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"}
        The factors that PyTorch gives.
    slope : float, default 0.01
        Of the leaky ReLU.

    Returns
    -------
    float
        For ``gain=`` of :func:`glorot_uniform`, :func:`glorot_normal` and :func:`orthogonal`.

    Raises
    ------
    ArgumentError
        If the activation is another one.

    Examples
    --------
    >>> from functools import partial
    >>> import graphnn as gn
    >>> init = partial(gn.init.glorot_uniform, gain=gn.init.gain_of("tanh"))
    >>> layer = gn.nn.Dense(64, 32, init=init)
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + slope**2)),
        "selu": 0.75,
    }
    require_known("gain_of", "activation", activation, gains)
    return gains[activation]


def orthogonal(shape: Shape, rng: Generator | None = None, *, gain: float = 1.0) -> Array:
    """A random matrix with orthonormal rows or columns, whichever are fewer.

    As a recurrent weight it keeps the length of the state, so that gradients through time start
    out neither vanishing nor exploding. Source: A. Saxe et al., arXiv:1312.6120.

    Parameters
    ----------
    shape : tuple of int
        Two sizes.
    rng : numpy.random.Generator, optional
    gain : float, default 1

    Returns
    -------
    numpy.ndarray of float64

    Raises
    ------
    ShapeError
        If the shape is not that of a matrix.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> q = gn.init.orthogonal((3, 2), np.random.default_rng(0))
    >>> (q.T @ q).round(6) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """
    if len(shape) != 2:
        raise ShapeError(f"orthogonal: a matrix has two sizes, not {tuple(shape)}")
    rows, columns = shape
    tall = normal((max(rows, columns), min(rows, columns)), rng, std=1.0)
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # without it, q is not uniformly distributed
    return gain * (q if rows >= columns else q.T)


def _generator(rng: Generator | None) -> Generator:
    if rng is None:
        return host_generator()
    if not isinstance(rng, np.random.Generator):
        raise ArgumentError(
            f"a generator is needed, not {rng!r}", hint="np.random.default_rng(seed)"
        )
    return rng


def _fans(what: str, shape: Shape, given: tuple[int, int] | None) -> tuple[int, int]:
    if given is None:
        if len(shape) < 2:
            raise ShapeError(
                f"{what}: the fans of shape {tuple(shape)} are not known",
                hint="pass fans=(inputs of a neuron, neurons that read an input)",
            )
        if len(shape) == 2:
            given = (shape[0], shape[1])
        else:
            window = math.prod(shape[2:])
            given = (shape[1] * window, shape[0] * window)
    if min(given) < 1:
        raise ShapeError(f"{what}: fans must be at least 1, not {given}")
    return given
