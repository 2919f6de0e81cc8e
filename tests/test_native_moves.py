"""Native forms of operators that move data give what the operators' own kernels give."""

import numpy as np
import pytest
from native_pieces import code_of, input_node, laid_out, run_natively

from graphnn.compiler.native.moves import LOWERINGS, pieces_of
from graphnn.core.dtypes import as_dtype
from graphnn.core.errors import FeedError
from graphnn.core.op import REGISTRY
from graphnn.ops.geometry import Window

LAYOUTS = ("dense", "turned", "spaced", "backwards")
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "bool")


def numbers(shape, dtype="float32", seed=0, low=-4.0, high=4.0):
    """Random elements."""
    generator = np.random.default_rng(seed)
    if dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    if "int" in dtype:
        return generator.integers(int(low), int(high) + 1, shape).astype(dtype)
    return generator.uniform(low, high, shape).astype(as_dtype(dtype))


def places(shape, size, seed=0, dtype="int64"):
    """Random indices into an axis, negative ones too."""
    return np.random.default_rng(seed).integers(-size, size, shape).astype(dtype)


def check(name, arrays, attrs=None, *, exact=True, rtol=2e-6, known=(), layouts=LAYOUTS):
    """The same as the operator's own kernel, in memory of every layout."""
    attrs = attrs or {}
    arrays = [np.asarray(each) for each in arrays]
    with np.errstate(all="ignore"):
        expected = np.asarray(REGISTRY[name].evaluate(*arrays, **attrs))
    for layout in layouts:
        found, status = run_natively(name, arrays, attrs, layout=layout, known=known)
        assert status == 0
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if exact:
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(
                found.astype(float), expected.astype(float), rtol=rtol, atol=rtol
            )
