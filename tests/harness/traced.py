"""What tests of traced functions share: arrays, a layer, the comparison with NumPy, a count."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.structure import flatten, outline

BACKENDS = ("reference", "numpy")
on_each_backend = pytest.mark.parametrize("backend", BACKENDS)

_rng = np.random.default_rng(0)


def array(*shape: int, dtype: str = "float32") -> np.ndarray[Any, np.dtype[Any]]:
    """Random numbers between 0.5 and 2."""
    return _rng.uniform(0.5, 2.0, shape).astype(dtype)


def expect(given: Any, wanted: Any) -> None:
    """The same structure, dtypes and values as what NumPy computes."""
    assert outline(given) == outline(wanted)
    for ours, theirs in zip(flatten(given), flatten(wanted), strict=True):
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == np.asarray(theirs).dtype
        np.testing.assert_allclose(ours, theirs, rtol=4e-6, atol=1e-6)


class Counted:
    """A function that counts how often Python runs it, which is how often it is traced."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        self.runs = 0
        self.__signature__ = inspect.signature(f)
        self.__name__ = f.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        return self.f(*args, **kwargs)


@dataclass
class Layer:
    """A dataclass with a compiled method."""

    w: Any
    b: Any
    name: str = "layer"

    def __post_init__(self) -> None:
        self.w = np.asarray(self.w)  # never sees a node: structures are not made by calling

    @gn.function
    def apply(self, x: Any) -> Any:
        return x @ self.w + self.b
