"""Whether values are as good as those of the operators' own kernels: an error model.

Native code sums in another order and has its own polynomials, so its values differ in the last
bits, and the last bits may be all there is where large numbers cancel. What is right is decided by
the same computation in float64:

    rmse(native, wide) <= 2 rmse(numpy, wide) + 2 sensitivity + `FLOOR` eps rms(wide)

The sensitivity is how far ``wide`` moves when the operands, and all values on the way, are off by
up to an eps: NumPy may be exact by luck, and a backward stable algorithm is not. It counts up to
``sqrt(eps)`` times the largest rms of a value on the way, for functions with steps move by any
amount.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from graphnn.compiler.unit import Instruction, View
from graphnn.core.dtypes import FLOAT64, DType, is_floating, is_inexact
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec

__all__ = ["Difference", "Expected", "expect", "expect_instruction"]

FLOOR = 8.0
"""Roundings that a value may be off by where NumPy is exact."""

TOLERANCE = 100.0
"""Roundings, relative to the rms of all values, where there is no computation in float64."""

FEW, SAMPLES = 1000, 8
"""Where there are fewer elements than that, their sensitivity is the largest of several samples."""

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
    moved : tuple of numpy.ndarray
        In float64, with every value off by up to an eps.
    reach : float
        Largest rms of a value on the way.
    is_exact : bool
        Whether no rounding is involved.
    """

    numpy: Array
    wide: Array | None = None
    moved: tuple[Array, ...] = ()
    reach: float = 0.0
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
            steps = (each[counts] - wide for each in self.moved)
            sensitivity = max((_rms(each[np.isfinite(each)]) for each in steps), default=0.0)
            allowed += 2 * min(sensitivity, float(np.sqrt(eps)) * max(scale, self.reach))
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
        numpy = _arrays(outputs, _evaluate(outputs, given))
        steps = topological_order(outputs, boundary=given)
        if not any(_rounds(node) for node in steps):
            return [Expected.exactly(each) for each in numpy]
        wide, reach = _wide(outputs, given, _as_it_is)
        moved = _moved(outputs, given, sum(each.size for each in numpy)) if wide else []
    return [
        Expected(
            array,
            None if wide is None else wide[number],
            tuple(each[number] for each in moved),
            reach,
        )
        for number, array in enumerate(numpy)
    ]


def expect_instruction(
    instruction: Instruction, array_of: Callable[[View], Array]
) -> tuple[Sequence[Node], list[Expected]]:
    """The nodes that an instruction writes, and what their values should be.

    ``array_of`` gives the memory of a view; it is copied, for the instruction may write over it.
    """
    if instruction.kind == "pack":  # products that read it are compared
        return (), []
    if instruction.op is None:
        (view,) = instruction.inputs
        return (instruction.node,), [Expected.exactly(np.array(array_of(view)))]
    if instruction.kernel is not None:
        given = {node: np.array(array_of(view)) for node, view in instruction.reads}
        return instruction.stored, expect(instruction.stored, given)
    node = instruction.node
    arrays = zip(node.inputs, instruction.inputs, strict=True)
    expected = expect((node,), {each: np.array(array_of(view)) for each, view in arrays})
    return (node,) * len(expected), expected


def _moved(outputs: Sequence[Node], given: Mapping[Node, Array], size: int) -> list[list[Array]]:
    """The outputs with every value off; several times if they are few, for one may be lucky."""
    made = []
    for seed in range(SAMPLES if size < FEW else 1):
        noise = np.random.default_rng(seed)
        moved, _ = _wide(outputs, given, partial(_off, noise))
        if moved is not None:
            made.append(moved)
    return made


def _rounds(node: Node) -> bool:
    """Whether a node computes rounded numbers."""
    specs = node.spec.elements if not isinstance(node.spec, TensorSpec) else (node.spec,)
    is_computed = not (node.op.is_source or node.op.is_view or node.op.name == "constant")
    return is_computed and any(is_inexact(each.dtype) for each in specs)


Change: TypeAlias = Callable[[Array, DType], Array]
"""From a value in float64, and the dtype that it has in the program, to what is gone on with."""


def _wide(
    outputs: Sequence[Node], given: Mapping[Node, Array], change: Change
) -> tuple[list[Array] | None, float]:
    """The outputs computed in float64, and the largest rms of a value on the way.

    None if their kernels cannot do that.
    """
    try:
        values = _evaluate_widely(outputs, given, change)
    except (TypeError, ValueError):
        return None, 0.0
    made = _arrays(outputs, values)
    specs = [
        spec
        for node in outputs
        for spec in ((node.spec,) if isinstance(node.spec, TensorSpec) else node.spec.elements)
    ]
    is_fitting = all(
        each.shape == spec.shape and is_floating(each.dtype) == is_floating(spec.dtype)
        for each, spec in zip(made, specs, strict=True)
    )
    floats = (each for each in _arrays(list(values), values) if is_floating(each.dtype))
    reach = max((_rms(each[np.isfinite(each)]) for each in floats), default=0.0)
    return (made if is_fitting else None), reach


def _evaluate(outputs: Sequence[Node], given: Mapping[Node, Array]) -> dict[Node, Any]:
    values: dict[Node, Any] = dict(given)
    for node in topological_order(outputs, boundary=given):
        made = node.op.evaluate(*(values[each] for each in node.inputs), **node.attrs)
        values[node] = tuple(map(np.asarray, made)) if isinstance(made, tuple) else np.asarray(made)
    return values


def _evaluate_widely(
    outputs: Sequence[Node], given: Mapping[Node, Array], change: Change
) -> dict[Node, Any]:
    values: dict[Node, Any] = {
        node: change(_widened(array), array.dtype) for node, array in given.items()
    }
    for node in topological_order(outputs, boundary=given):
        arrays = [values[each] for each in node.inputs]
        if _keeps(node):
            values[node] = change(arrays[0], node.dtype)
            continue
        made = node.op.evaluate(*arrays, **node.attrs)
        if isinstance(node.spec, TensorSpec):
            values[node] = _changed(node, made, node.spec, change)
        else:
            pairs = zip(made, node.spec.elements, strict=True)
            values[node] = tuple(_changed(node, each, spec, change) for each, spec in pairs)
    return values


def _changed(node: Node, made: Any, spec: TensorSpec, change: Change) -> Array:
    """What an operator gave; views and constants are not rounded."""
    is_rounded = not (node.op.is_view or node.op.name == "constant")
    return change(_widened(made), spec.dtype) if is_rounded else _widened(made)


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


def _as_it_is(array: Array, dtype: DType) -> Array:
    return array


def _off(noise: np.random.Generator, array: Array, dtype: DType) -> Array:
    """Numbers that are off by up to an eps of the dtype that they should have."""
    if not (is_floating(array.dtype) and is_floating(dtype)):
        return array
    return array * (1.0 + _eps(dtype) * noise.uniform(-1.0, 1.0, array.shape))


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
