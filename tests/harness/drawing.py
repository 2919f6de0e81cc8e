"""Values for the samples of an operation, and graphs built from them."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphnn as gn
from graphnn.core.dtypes import (
    DType,
    as_dtype,
    is_bool,
    is_complex,
    is_inexact,
    is_integer,
    real_dtype,
)
from graphnn.core.node import Node
from graphnn.ops import load_all
from graphnn.ops.contract import OPERATIONS, Arg, Operation, Sample

load_all()  # every operation is tested, whether or not anything here uses its family

Array = np.ndarray[Any, np.dtype[Any]]

SHORTEST_DISTANCE = 0.01  # between values that must lie apart, before rounding to a dtype


@dataclass(frozen=True)
class Case:
    """One sample of an operation: a row of the table."""

    operation: Operation
    index: int

    @property
    def sample(self) -> Sample:
        return self.operation.samples[self.index]

    def generator(self) -> np.random.Generator:
        """Always the same values for the same row, whatever else runs."""
        return np.random.default_rng(zlib.crc32(f"{self.operation.name} {self.index}".encode()))

    def __str__(self) -> str:
        return f"{self.operation.name}-{self.index}-{_short(self.sample)}"


@dataclass(frozen=True)
class Drawn:
    """A sample with its values: what a test feeds, and how the operation takes it."""

    sample: Sample
    arrays: tuple[Array, ...]

    def call(self, function: Callable[..., Any], values: Any) -> Any:
        """The function on the sample's arguments, with ``values`` in place of every `Arg`."""
        remaining = iter(values)
        args = [_replace(each, remaining) for each in self.sample.args]
        kwargs = {name: _replace(each, remaining) for name, each in self.sample.kwargs.items()}
        return function(*args, **kwargs)

    def inputs(self, prefix: str = "x") -> list[Node]:
        """An input of a graph for every array."""
        return [
            gn.input(f"{prefix}{number}", array.shape, array.dtype)
            for number, array in enumerate(self.arrays)
        ]


def cases(*, differentiable: bool | None = None) -> list[Case]:
    """The table: every sample of every operation."""
    return [
        case
        for operation in OPERATIONS.values()
        if differentiable is None or operation.differentiable == differentiable
        for case in cases_of(operation)
    ]


def cases_of(operation: Operation) -> list[Case]:
    """The rows of one operation."""
    return [Case(operation, index) for index in range(len(operation.samples))]


def drawable(operation: Operation, dtype: Any) -> list[Case]:
    """The rows of one operation whose values a dtype holds."""
    return [case for case in cases_of(operation) if is_drawable(case.sample, dtype)]


def draw(sample: Sample, dtype: Any, generator: np.random.Generator) -> Drawn:
    """Values for a sample, with ``dtype`` for its arguments of kind "float"."""
    args = list(_args_of((sample.args, sample.kwargs)))
    return Drawn(sample, tuple(_values(arg, as_dtype(dtype), generator) for arg in args))


def is_drawable(sample: Sample, dtype: Any) -> bool:
    """Whether a dtype holds the values that a sample prescribes."""
    wanted = as_dtype(dtype)
    return all(
        _may_be(arg, wanted) for arg in _args_of((sample.args, sample.kwargs)) if _varies(arg)
    )


def _varies(arg: Arg) -> bool:
    """Whether an argument is drawn in the dtype under test."""
    return arg.kind in ("float", "real")


def _may_be(arg: Arg, dtype: DType) -> bool:
    if is_complex(dtype):
        return arg.kind == "float"
    return is_inexact(dtype) or _are_whole(arg.values, dtype)


def _are_whole(values: Any, dtype: DType) -> bool:
    if values is None:
        return True
    array = np.asarray(values, np.float64)
    return bool(np.all(np.isfinite(array)) and np.all(array.astype(dtype) == array))


def _args_of(tree: Any) -> Iterator[Arg]:
    """Every `Arg` in nested arguments, from left to right."""
    if isinstance(tree, Arg):
        yield tree
    elif isinstance(tree, tuple | list):
        for each in tree:
            yield from _args_of(each)
    elif isinstance(tree, dict):
        yield from _args_of(list(tree.values()))


def _replace(tree: Any, values: Iterator[Any]) -> Any:
    if isinstance(tree, Arg):
        return next(values)
    if isinstance(tree, tuple | list):
        return type(tree)(_replace(each, values) for each in tree)
    if isinstance(tree, dict):
        return {name: _replace(each, values) for name, each in tree.items()}
    return tree


def _values(arg: Arg, dtype: DType, generator: np.random.Generator) -> Array:
    if arg.values is not None:
        wanted = dtype if _varies(arg) else as_dtype(arg.kind)
        return np.array(arg.values, np.float64).astype(wanted).reshape(arg.shape)
    if arg.kind == "bool" or (_varies(arg) and is_bool(dtype)):
        return np.array(generator.random(arg.shape) < 0.5)
    if arg.kind == "int" or is_integer(dtype):
        low, high = int(np.ceil(arg.low)), int(np.floor(arg.high))
        whole = generator.integers(low, high, arg.shape, endpoint=True)
        return np.array(whole, np.int64 if arg.kind == "int" else dtype)
    if is_complex(dtype):
        parts = _values(arg, real_dtype(dtype), generator)
        return np.asarray(parts + 1j * generator.uniform(-1.0, 1.0, arg.shape), dtype)
    size = int(np.prod(arg.shape))
    values = generator.uniform(arg.low, arg.high, size)
    if arg.distinct and size > 1:
        gap = (arg.high - arg.low) / size
        assert gap > 2 * SHORTEST_DISTANCE, f"{size} values do not fit apart into {arg}"
        slots = arg.low + gap * generator.permutation(size)
        values = slots + generator.uniform(0.0, gap - SHORTEST_DISTANCE, size)
    return values.reshape(arg.shape).astype(dtype)


def _short(tree: Any) -> str:
    """Arguments as one reads them in the name of a test."""
    if isinstance(tree, Sample):
        parts = [_short(each) for each in tree.args]
        parts += [f"{name}={_short(each)}" for name, each in tree.kwargs.items()]
        return ",".join(parts)[:60].replace(" ", "")
    if isinstance(tree, Arg):
        kind = "" if tree.kind == "float" else tree.kind
        return kind + str(list(tree.shape)).replace(" ", "")
    if isinstance(tree, tuple | list):
        return "(" + ",".join(map(_short, tree)) + ")"
    return str(tree)
