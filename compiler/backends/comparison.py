"""Whether values are as good as those of the operators' own kernels: an error model.

Native code sums in another order and has its own polynomials, so its values differ in the last
bits, and the last bits may be all there is where large numbers cancel. What is right is decided by
the same computation in float64:

    rmse(native, wide) <= 2 rmse(numpy, wide) + 2 sensitivity + `FLOOR` eps rms(wide)

The sensitivity is how far ``wide`` moves when the operands are off by up to an eps: NumPy may be
exact by luck, and a backward stable algorithm is not. It counts up to ``sqrt(eps) rms(wide)``, for
functions with steps move by any amount.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from graphnn.core.dtypes import FLOAT64, DType, is_floating, is_inexact
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec

__all__ = ["Difference", "Expected", "expect"]

FLOOR = 8.0
"""Roundings that a value may be off by where NumPy is exact."""

TOLERANCE = 100.0
"""Roundings, relative to the rms of all values, where there is no computation in float64."""

DECISIONS = 1000
"""One truth value or integer of so many may differ if rounded numbers decide about it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Values that are wrong.

    Attributes
    ----------
    index : tuple of int
        Where the largest difference is.
    got, want : scalar
        What is there, and what should be.
    error, allowed : float
        Measured over all elements, and how much there may be of it.
    measure : str
        What is measured.
    """

    index: tuple[int, ...]
    got: Any
    want: Any
    error: float
    allowed: float
    measure: str

    def __str__(self) -> str:
        return (
            f"largest difference at {self.index}: {self.got!s} instead of {self.want!s}; "
            f"{self.measure} {self.error:.3g}, allowed {self.allowed:.3g}"
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What an array should hold.

    Attributes
    ----------
    numpy : numpy.ndarray
        By the operators' own kernels.
    wide : numpy.ndarray or None
        The same in float64, if that is possible.
    moved : numpy.ndarray or None
        In float64, from operands that are off by up to an eps.
    is_exact : bool
        Whether no rounding is involved.
    """

    numpy: Array
    wide: Array | None = None
    moved: Array | None = None
    is_exact: bool = False

    @staticmethod
    def exactly(array: Array) -> Expected:
        """To the last bit."""
        return Expected(array, is_exact=True)

    def compare(self, got: Array) -> Difference | None:
        """What is wrong; None if nothing is."""
        with np.errstate(all="ignore"):
            if self.is_exact or not is_floating(self.numpy.dtype):
                return self._discrete(got)
            return self._infinite(got) or self._rounded(got)

    def _discrete(self, got: Array) -> Difference | None:
        wrong = ~_same(got, self.numpy)
        allowed = 0
        if not self.is_exact and self.wide is not None:
            allowed = 2 * int(np.sum(self.wide != self.numpy)) + wrong.size // DECISIONS
        count = int(np.sum(wrong))
        if count <= allowed:
            return None
        return self._difference(got, wrong, count, allowed, "elements that differ:")

    def _infinite(self, got: Array) -> Difference | None:
        """Where there is, or should be, no number."""
        finite = np.isfinite(self.numpy)
        if self.wide is None:
            wrong = ~_same(got, self.numpy) & ~(finite & np.isfinite(got))
        else:
            wide = np.isfinite(self.wide)
            wrong = (finite & wide & ~np.isfinite(got)) | (
                ~finite & ~wide & ~_same(got, self.numpy)
            )
        count = int(np.sum(wrong))
        if not count:
            return None
        return self._difference(got, wrong, count, 0, "elements with another NaN or infinity:")

    def _rounded(self, got: Array) -> Difference | None:
        """Numbers that are too far off."""
        eps = _eps(self.numpy.dtype)
        counts = np.isfinite(self.numpy) & np.isfinite(got)
        if self.wide is not None:
            counts &= np.isfinite(self.wide)
        numpy, native = (each[counts].astype(FLOAT64) for each in (self.numpy, got))
        if self.wide is None:
            error, allowed = _rms(native - numpy), TOLERANCE * eps * _rms(numpy)
            distance = np.abs(got.astype(FLOAT64) - self.numpy.astype(FLOAT64))
        else:
            wide = self.wide[counts]
            scale = _rms(wide)
            error, allowed = _rms(native - wide), 2 * _rms(numpy - wide) + FLOOR * eps * scale
            if self.moved is not None:
                moved = self.moved[counts] - wide
                sensitivity = _rms(moved[np.isfinite(moved)])
                allowed += 2 * min(sensitivity, float(np.sqrt(eps)) * scale)
            distance = np.abs(got.astype(FLOAT64) - self.wide)
        if error <= max(allowed, float(_finfo(self.numpy.dtype).tiny)):
            return None
        return self._difference(got, np.where(counts, distance, 0.0), error, allowed, "rmse")

    def _difference(
        self, got: Array, distance: Array, error: float, allowed: float, measure: str
    ) -> Difference:
        place = np.unravel_index(int(np.argmax(distance)), got.shape)
        index = tuple(int(each) for each in place)
        return Difference(index, got[index], self.numpy[index], error, allowed, measure)


def expect(outputs: Sequence[Node], given: Mapping[Node, Array]) -> list[Expected]:
    """What nodes should be, computed one by one from the values of others."""
    with np.errstate(all="ignore"):
        numpy = _arrays(outputs, _evaluate(outputs, given, np.asarray))
        steps = topological_order(outputs, boundary=given)
        if not any(_rounds(node) for node in steps):
            return [Expected.exactly(each) for each in numpy]
        wide = _wide(outputs, given)
        moved = _wide(outputs, {node: _off(array) for node, array in given.items()})
    return [
        Expected(
            array,
            None if wide is None else wide[number],
            None if moved is None else moved[number],
        )
        for number, array in enumerate(numpy)
    ]


def _rounds(node: Node) -> bool:
    """Whether a node computes rounded numbers."""
    specs = node.spec.elements if not isinstance(node.spec, TensorSpec) else (node.spec,)
    is_computed = not (node.op.is_source or node.op.is_view or node.op.name == "constant")
    return is_computed and any(is_inexact(each.dtype) for each in specs)


def _wide(outputs: Sequence[Node], given: Mapping[Node, Array]) -> list[Array] | None:
    """The outputs computed in float64; None if their kernels cannot do that."""
    try:
        made = _arrays(outputs, _evaluate(outputs, given, _widened))
    except (TypeError, ValueError):
        return None
    specs = [
        spec
        for node in outputs
        for spec in ((node.spec,) if isinstance(node.spec, TensorSpec) else node.spec.elements)
    ]
    is_fitting = all(
        each.shape == spec.shape and is_floating(each.dtype) == is_floating(spec.dtype)
        for each, spec in zip(made, specs, strict=True)
    )
    return made if is_fitting else None


def _evaluate(
    outputs: Sequence[Node], given: Mapping[Node, Array], convert: Callable[[Any], Array]
) -> dict[Node, Any]:
    values: dict[Node, Any] = {node: convert(array) for node, array in given.items()}
    for node in topological_order(outputs, boundary=given):
        arrays = [values[each] for each in node.inputs]
        if convert is _widened and _keeps(node):
            values[node] = arrays[0]
            continue
        made = node.op.evaluate(*arrays, **node.attrs)
        values[node] = tuple(map(convert, made)) if isinstance(made, tuple) else convert(made)
    return values


def _keeps(node: Node) -> bool:
    """Whether a node rounds what float64 need not round."""
    return node.op.name == "cast" and is_floating(node.dtype) and is_floating(node.inputs[0].dtype)


def _arrays(outputs: Sequence[Node], values: Mapping[Node, Any]) -> list[Array]:
    """The arrays of the outputs, those of tuples one by one."""
    made: list[Array] = []
    for node in outputs:
        value = values[node]
        made += value if isinstance(value, tuple) else (value,)
    return made


def _widened(array: Any) -> Array:
    array = np.asarray(array)
    wide: Array = array.astype(FLOAT64) if is_floating(array.dtype) else array
    return wide


def _off(array: Array) -> Array:
    """Numbers that are off by up to an eps, in float64."""
    if not is_floating(array.dtype):
        return array
    noise = np.random.default_rng(array.size).uniform(-1.0, 1.0, array.shape)
    return _widened(array) * (1.0 + _eps(array.dtype) * noise)


_finfo: Callable[[DType], Any] = ml_dtypes.finfo
"""What is known of a float dtype, bfloat16 too; the package's own is untyped."""


def _eps(dtype: DType) -> float:
    return float(_finfo(dtype).eps)


def _same(one: Array, other: Array) -> Array:
    """Where elements are equal, or both NaN."""
    same: Array = np.asarray(one == other)
    if is_inexact(one.dtype):
        same = same | (np.isnan(one) & np.isnan(other))
    return same


def _rms(array: Array) -> float:
    """The root of the mean square, without overflow."""
    largest = float(np.max(np.abs(array), initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.mean(np.square(array / largest))))
