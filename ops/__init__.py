"""Every operator, defined once and in one place, one file per family.

What nearly every graph needs is imported with the package; a family of `LAZY` when one of its
names is first used, so that importing graphnn stays fast. A test compares that table with the
families' own ``__all__``.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from graphnn.core.op import REGISTRY
from graphnn.core.operators import bind_functions
from graphnn.ops import (
    activation,
    arithmetic,
    bounds,
    broadcasting,
    conditionals,
    contraction,
    control,
    creation,
    cumulative,
    diagonals,
    einstein,
    exponential,
    gathering,
    indexing,
    joining,
    leaves,
    logic,
    movement,
    padding,
    products,
    random,
    reduction,
    rounding,
    scans,
    softmaxes,
    special,
    statistics,
    trigonometric,
    while_loops,
)
from graphnn.ops.activation import *
from graphnn.ops.arithmetic import *
from graphnn.ops.bounds import *
from graphnn.ops.broadcasting import *
from graphnn.ops.conditionals import *
from graphnn.ops.constants import constant
from graphnn.ops.contraction import *
from graphnn.ops.control import *
from graphnn.ops.creation import *
from graphnn.ops.cumulative import *
from graphnn.ops.diagonals import *
from graphnn.ops.einstein import *
from graphnn.ops.exponential import *
from graphnn.ops.gathering import *
from graphnn.ops.indexing import *
from graphnn.ops.joining import *
from graphnn.ops.leaves import *
from graphnn.ops.logic import *
from graphnn.ops.movement import *
from graphnn.ops.padding import *
from graphnn.ops.products import *
from graphnn.ops.random import seed
from graphnn.ops.reduction import *
from graphnn.ops.rounding import *
from graphnn.ops.scans import *
from graphnn.ops.softmaxes import *
from graphnn.ops.special import *
from graphnn.ops.statistics import *
from graphnn.ops.trigonometric import *
from graphnn.ops.while_loops import *

if TYPE_CHECKING:
    from graphnn.ops.adaptive_pooling import *
    from graphnn.ops.attention import *
    from graphnn.ops.batch_normalization import *
    from graphnn.ops.channel_normalization import *
    from graphnn.ops.complex_numbers import *
    from graphnn.ops.convolution import *
    from graphnn.ops.counting import *
    from graphnn.ops.decompositions import *
    from graphnn.ops.determinants import *
    from graphnn.ops.fourier import *
    from graphnn.ops.fourier_axes import *
    from graphnn.ops.least_squares import *
    from graphnn.ops.local import *
    from graphnn.ops.lookup import *
    from graphnn.ops.matrix_functions import *
    from graphnn.ops.mean_pooling import *
    from graphnn.ops.normalization import *
    from graphnn.ops.norms import *
    from graphnn.ops.order_statistics import *
    from graphnn.ops.pooling import *
    from graphnn.ops.resampling import *
    from graphnn.ops.scattering import *
    from graphnn.ops.searching import *
    from graphnn.ops.segments import *
    from graphnn.ops.solving import *
    from graphnn.ops.sorting import *
    from graphnn.ops.sparse import *
    from graphnn.ops.spectral import *
    from graphnn.ops.transposed_convolution import *
    from graphnn.ops.windows import *

__all__ = ["constant", "random", "seed"]
__all__ += activation.__all__
__all__ += arithmetic.__all__
__all__ += bounds.__all__
__all__ += broadcasting.__all__
__all__ += conditionals.__all__
__all__ += contraction.__all__
__all__ += control.__all__
__all__ += creation.__all__
__all__ += cumulative.__all__
__all__ += diagonals.__all__
__all__ += einstein.__all__
__all__ += exponential.__all__
__all__ += gathering.__all__
__all__ += indexing.__all__
__all__ += joining.__all__
__all__ += leaves.__all__
__all__ += logic.__all__
__all__ += movement.__all__
__all__ += padding.__all__
__all__ += products.__all__
__all__ += reduction.__all__
__all__ += rounding.__all__
__all__ += scans.__all__
__all__ += softmaxes.__all__
__all__ += special.__all__
__all__ += statistics.__all__
__all__ += trigonometric.__all__
__all__ += while_loops.__all__

LAZY: dict[str, tuple[str, ...]] = {
    "adaptive_pooling": (
        "adaptive_avg_pool",
        "adaptive_max_pool",
        "global_avg_pool",
        "global_max_pool",
    ),
    "attention": ("scaled_dot_product_attention",),
    "batch_normalization": ("batch_norm", "batch_norm_train"),
    "channel_normalization": ("group_norm", "instance_norm", "local_response_norm"),
    "complex_numbers": ("angle", "complex", "conj", "imag", "real"),
    "convolution": ("conv",),
    "counting": ("bincount", "histogram"),
    "decompositions": ("cholesky", "qr"),
    "determinants": ("det", "slogdet"),
    "fourier": ("fft", "ifft", "irfft", "rfft"),
    "fourier_axes": (
        "fft2",
        "fftfreq",
        "fftn",
        "fftshift",
        "ifft2",
        "ifftn",
        "ifftshift",
        "irfft2",
        "irfftn",
        "rfft2",
        "rfftfreq",
        "rfftn",
    ),
    "least_squares": ("lstsq", "pinv"),
    "local": ("locally_connected",),
    "lookup": ("embedding",),
    "matrix_functions": ("expm", "kron", "matrix_power"),
    "mean_pooling": ("avg_pool", "lp_pool"),
    "normalization": ("layer_norm", "rms_norm", "standardize"),
    "norms": ("norm",),
    "order_statistics": ("median", "quantile"),
    "pooling": ("max_pool", "max_unpool"),
    "resampling": ("pixel_shuffle", "pixel_unshuffle", "resize"),
    "scattering": (
        "put_along_axis",
        "scatter_add",
        "scatter_max",
        "scatter_min",
        "scatter_multiply",
        "scatter_set",
    ),
    "searching": ("digitize", "interp", "nonzero", "searchsorted"),
    "segments": ("segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum"),
    "solving": ("cholesky_solve", "inv", "solve", "solve_triangular"),
    "sorting": ("argsort", "sort", "top_k", "unique"),
    "sparse": ("CSR", "csr", "csr_matmul"),
    "spectral": ("eigh", "eigvalsh", "svd", "svdvals"),
    "transposed_convolution": ("conv_transpose",),
    "windows": ("fold", "patches"),
}
"""Families that are imported on first use, with what they export."""

_FAMILY_OF = {name: family for family, names in LAZY.items() for name in names}


def load_all() -> None:
    """Import every family: then the registries are complete."""
    for family in LAZY:
        import_module(f"graphnn.ops.{family}")


def __getattr__(name: str) -> Any:
    """An operation of a family that is not imported yet."""
    family = _FAMILY_OF.get(name)
    if family is None:
        raise AttributeError(f"module 'graphnn.ops' has no attribute {name!r}")
    value = getattr(import_module(f"graphnn.ops.{family}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FAMILY_OF})


REGISTRY.load_all = load_all
bind_functions(sys.modules[__name__])
