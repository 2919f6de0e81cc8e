"""The op contract: what an operation is, and the facts that each is tested by.

An *operation* is what a user calls (``gn.mean``); an *op* is what a node holds (``sum``). An
operation carries its test facts; an op its shape rule, kernel and derivatives. Three tiers of ops:

1. elementwise (:mod:`graphnn.ops.elementwise`): a kernel or a body, and partial derivatives;
2. linear (:mod:`graphnn.ops.linear_tier`): shape rule, kernel and ``transpose``, from which both
   derivatives follow;
3. general (:class:`graphnn.core.op.Op`): shape rule, kernel, ``jvp`` and ``vjp``.

Any of them may give ``expand`` instead of a kernel: it is then compiled, and if it has no
derivative rules also differentiated, as what it expands to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from graphnn.core.node import Node

__all__ = ["OPERATIONS", "Arg", "Operation", "Reject", "Sample", "add_operation", "operation"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Arg:
    """An array argument of a sample: the tests draw its values, in several dtypes.

    Attributes
    ----------
    shape : tuple of int
    low, high : float
        Values are uniform between them; so are the real parts of complex numbers, whose
        imaginary parts lie between -1 and 1.
    kind : {"float", "real", "int", "bool"}
        ``float`` arguments are drawn in every dtype under test, ``real`` ones in all but the
        complex; ``int`` are int64 between ``low`` and ``high`` inclusive; ``bool`` are coin
        tosses.
    distinct : bool
        Whether values must lie apart (no ties within 0.01), for max, sort and the like.
    values : tuple, optional
        These values instead of random ones.
    """

    shape: tuple[int, ...] = ()
    low: float = -2.0
    high: float = 2.0
    kind: str = "float"
    distinct: bool = False
    values: tuple[Any, ...] | None = None


class Sample:
    """Arguments that an operation is tested with; :class:`Arg` anywhere inside is drawn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        inner = [repr(arg) for arg in self.args]
        inner += [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"Sample({', '.join(inner)})"


class Reject(Sample):
    """Arguments that must be refused, with words that the error must contain."""

    def __init__(self, error: type[Exception], words: str, /, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.error = error
        self.words = words


@dataclass(frozen=True)
class Operation:
    """A function users call to build nodes, with the facts it is tested and documented by.

    Attributes
    ----------
    name : str
    function : callable
        From nodes (or arrays, numbers) to a node.
    reference : callable
        The same in independent float64 NumPy or SciPy.
    samples : tuple of Sample
    rejects : tuple of Reject
    dtypes : str
        Kinds that :class:`Arg` of kind "float" may also be drawn in: a subset of ``"bifc"``
        (bool, integer, float, complex). What is not among them and not silently converted is
        refused: an operation without ``"c"`` takes no complex numbers.
    differentiable : bool
        Whether the derivative is checked (in both modes, to second order).
    family : str
        The module it is defined in, a heading in the op table.
    corner : str
        The convention at ties, kinks and singularities.
    special : tuple
        Special scalar values that elementwise operations are evaluated at.
    """

    name: str
    function: Callable[..., Node]
    reference: Callable[..., Any]
    samples: tuple[Sample, ...]
    rejects: tuple[Reject, ...] = ()
    dtypes: str = "f"
    differentiable: bool = True
    family: str = ""
    corner: str = ""
    special: tuple[Any, ...] = field(default=())

    @property
    def formula(self) -> str:
        """The first line of the docstring."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


OPERATIONS: dict[str, Operation] = {}
"""Every public operation by name; the tests, the op table and the docs read it."""


def operation(
    *,
    reference: Callable[..., Any],
    samples: Iterable[Sample],
    rejects: Iterable[Reject] = (),
    dtypes: str = "f",
    differentiable: bool = True,
    corner: str = "",
    name: str | None = None,
) -> Callable[[F], F]:
    """Declare a public function as an operation and give its test facts; see `Operation`.

    The name is that of the function, unless it lives in a namespace (``"random.normal"``).
    """

    def declare(function: F) -> F:
        add_operation(
            Operation(
                name=name or function.__name__,
                function=function,
                reference=reference,
                samples=tuple(samples),
                rejects=tuple(rejects),
                dtypes=dtypes,
                differentiable=differentiable,
                family=function.__module__.rpartition(".")[2],
                corner=corner,
            )
        )
        return function

    return declare


def add_operation(described: Operation) -> None:
    """Register an operation under its name."""
    if described.name in OPERATIONS:
        raise ValueError(f"operation {described.name!r} is already registered")
    OPERATIONS[described.name] = described
