"""What is measured: one computation, written once for every library that takes part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Arrays", "Case", "Function", "drawn"]

Arrays = dict[str, np.ndarray]

Function = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
"""From parameters and data, by name and in the library's own arrays, to the loss or result."""


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes
    ----------
    name : str
        Short, unique, safe in a file name.
    title : str
        What the table says.
    arrays : callable
        Makes the initial parameters and the data, the same at every call.
    functions : mapping of str to callable
        For each library a function without arguments that imports it and gives the `Function`.
        Libraries are imported there and nowhere else: a worker process holds only its own.
    mode : {"step", "gradient", "value"}
        A step of gradient descent; the loss and its gradients by all parameters; the result.
    learning_rate : float
        Of a step.
    flops : float
        Floating-point operations of the matrix products and convolutions that cannot be avoided;
        0 if memory binds.
    nbytes : float
        Bytes that must be read and written at least, if memory binds.
    tolerance : float
        Largest error beside PyTorch in float64, relative to the largest element.
    transposed : frozenset of str
        Matrices that PyTorch's layers keep the other way round.
    measures : frozenset of {"start", "memory"}
        What is measured beside the time of a run: starts without and with what is cached on disk;
        peak memory.
    """

    name: str
    title: str
    arrays: Callable[[], tuple[Arrays, Arrays]]
    functions: Mapping[str, Callable[[], Function]]
    mode: Literal["step", "gradient", "value"] = "step"
    learning_rate: float = 0.1
    flops: float = 0.0
    nbytes: float = 0.0
    tolerance: float = 1e-4
    transposed: frozenset[str] = frozenset()
    measures: frozenset[str] = frozenset()

    @property
    def family(self) -> str:
        """The part of the name before the first dash."""
        return self.name.partition("-")[0]


def drawn(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers in float32."""
    return (scale * rng.normal(size=shape)).astype(np.float32)
