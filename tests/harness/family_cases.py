"""A case, or several, for every rule of linear algebra and convolution."""

from typing import Any

import numpy as np
from rewriting import Case, elementwise, shaped

import graphnn as gn


def det_truth(a: Any) -> Any:
    """The determinant by elimination with pivots, in whatever precision ``a`` has."""
    a = np.array(a)
    result = np.ones(a.shape[:-2], a.dtype)
    for place in np.ndindex(a.shape[:-2]):
        rows = a[place]
        for i in range(len(rows)):
            pivot = i + int(np.argmax(abs(rows[i:, i])))
            if pivot != i:
                rows[[i, pivot]] = rows[[pivot, i]]
                result[place] *= -1
            result[place] *= rows[i, i]
            rows[i + 1 :] -= rows[i + 1 :, i : i + 1] / rows[i, i] * rows[i]
    return result


def small(x: gn.Node) -> gn.Node:
    """Matrices whose determinants underflow in float32, exact powers of two away from ``x``."""
    return x * 2.0**-60


def log_or_nan(x: gn.Node) -> gn.Node:
    sign, logarithm = gn.slogdet(x)
    return gn.where(sign < 0.0, gn.constant(np.nan, x.dtype), logarithm)


def dominant(x: gn.Node) -> gn.Node:
    """Well-conditioned matrices."""
    return gn.tanh(x) + 4.0 * gn.eye(int(x.shape[-1]), dtype=x.dtype)


def both_parts(z: gn.Node) -> gn.Node:
    return gn.stack([gn.real(z), gn.imag(z)])


def conv(x: gn.Node, **options: Any) -> gn.Node:
    return gn.conv(x, gn.constant(KERNEL), **options)


def padded(x: gn.Node) -> gn.Node:
    return gn.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3)))


def on_parts(rule: str, before: Any, after: Any) -> Case:
    """A case on the real and imaginary parts of complex numbers."""
    return elementwise(rule, "ff", before, after, dtypes=("float32", "float64"))


def z(a: gn.Node, b: gn.Node) -> gn.Node:
    return both_parts(gn.complex(a, b))


KERNEL = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype("float32")
FLIPPED = {"stride": (1, 2), "flip": True}

FAMILIES = [
    shaped(
        "log_of_size_of_det",
        (5, 4, 4),
        lambda x: gn.log(abs(gn.det(small(x)))),
        lambda x: gn.slogdet(small(x))[1],
        truth=lambda x: np.log(abs(det_truth(x * 2.0**-60))),
    ),
    shaped(
        "log_of_det",
        (5, 4, 4),
        lambda x: gn.log(gn.det(small(x))),
        lambda x: log_or_nan(small(x)),
        truth=lambda x: np.log(det_truth(x * 2.0**-60)),
    ),
    Case(
        "inverse_times",
        ((2, 3, 3), (2, 3, 4)),
        lambda a, b: gn.inv(dominant(a)) @ gn.tanh(b),
        lambda a, b: gn.solve(dominant(a), gn.tanh(b)),
        dtypes=("float32", "float64"),
    ),
    shaped(
        "conv_of_padded",
        (2, 2, 5, 4),
        lambda x: conv(padded(x)),
        lambda x: conv(x, padding=((1, 2), (0, 3))),
    ),
    shaped(
        "conv_of_padded",
        (2, 4, 5, 4),
        lambda x: conv(padded(x), groups=2, **FLIPPED),
        lambda x: conv(x, groups=2, padding=((1, 2), (0, 3)), **FLIPPED),
    ),
    on_parts("conj_of_conj", lambda a, b: both_parts(gn.conj(gn.conj(gn.complex(a, b)))), z),
    on_parts("real_of_complex", lambda a, b: gn.real(gn.complex(a, b)), lambda a, b: a),
    on_parts("imag_of_complex", lambda a, b: gn.imag(gn.complex(a, b)), lambda a, b: b),
    on_parts(
        "complex_of_parts",
        lambda a, b: both_parts(gn.complex(gn.real(gn.complex(a, b)), gn.imag(gn.complex(a, b)))),
        z,
    ),
    on_parts(
        "real_of_conj",
        lambda a, b: gn.real(gn.conj(gn.complex(a, b))),
        lambda a, b: gn.real(gn.complex(a, b)),
    ),
    on_parts(
        "abs_of_conj",
        lambda a, b: abs(gn.conj(gn.complex(a, b))),
        lambda a, b: abs(gn.complex(a, b)),
    ),
    elementwise(
        "real_of_cast",
        "f",
        lambda x: gn.real(gn.cast(x, "complex64")),
        lambda x: x,
        dtypes=("float32",),
    ),
    elementwise(
        "imag_of_cast",
        "f",
        lambda x: gn.imag(gn.cast(x, "complex64")),
        lambda x: gn.zeros_like(x),
        dtypes=("float32",),
    ),
]
