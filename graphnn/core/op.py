"""The operator: what every node's ``op`` promises the compiler, and the registry of all.

The three tiers in ``graphnn.ops.contract`` (elementwise, linear, general) fill this contract in;
nothing here knows a particular operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from graphnn.core.spec import Spec, TensorSpec

if TYPE_CHECKING:
    from graphnn.core.node import Node

__all__ = ["REGISTRY", "Array", "Op", "register"]

Array = npt.NDArray[Any]


class Registry(dict[str, "Op"]):
    """Operators by name; what is missing is looked for in the families not yet imported."""

    load_all: Callable[[], None] | None = None

    def __missing__(self, name: str) -> Op:
        if self.load_all is not None:
            self.load_all()
        if name not in self:
            raise KeyError(name)
        return self[name]


REGISTRY = Registry()
"""Every operator by name."""


class Op:
    """An operator: a pure function from values to one value, known by name.

    A subclass gives at least :meth:`infer`, and either :meth:`evaluate` or :meth:`expand`.
    An operator that is differentiable gives :meth:`jvp` or :meth:`vjp`; where it gives one, the
    other is that one transposed, and where it gives none, its expansion is differentiated.
    ``None`` stands for a zero tangent or cotangent everywhere.

    Attributes
    ----------
    name : str
        Unique; shown in dumps and pictures.
    is_source : bool
        Whether it has no inputs and its value comes from outside (inputs, parameters).
    is_projection : bool
        Whether it takes one of several results.
    is_view : bool
        Whether :meth:`evaluate` gives a strided view of its first input and moves no data.
    is_elementwise : bool
        Whether an element of the result depends on the broadcast elements of the inputs alone,
        so that the result may overwrite an input.
    is_commutative : bool
        Whether its two inputs may change places.
    instruction : {"kernel", "gemm", "host"}
        The kind of instruction it is lowered to; "host" calls the reference kernel.
    may_raise : bool
        Whether evaluating it can fail for some values (an index out of range): state is written
        only after all of these.
    autocast : {"float32", "follow", "half"}
        What :func:`graphnn.autocast` computes it in: in float32, for half floats may not hold the
        result, or not well enough; in half floats where it reads them; in half floats always.
    first_differentiable : int
        Inputs before this position carry no derivative.
    axis_attrs : tuple of str, or None
        For an operator that works on every slice along other axes by itself: its attributes
        that are axes (an int, or a tuple of them), counted from the front and the same for all
        its inputs. Then it batches without a rule: inputs get a leading axis of examples and
        these attributes count it. ``()`` if it works on the last axes, whatever stands before
        them. None: it gives :meth:`batch`, or is batched as its expansion.
    body_attrs : tuple of str
        Its attributes that are graphs, which it applies to what it is given: the step of a scan,
        the branches of a cond. See :mod:`graphnn.ops.bodies`.
    """

    name: str
    is_source = False
    is_projection = False
    is_view = False
    is_elementwise = False
    is_commutative = False
    instruction = "host"
    may_raise = False
    autocast: Literal["float32", "follow", "half"] = "float32"
    first_differentiable = 0
    axis_attrs: tuple[str, ...] | None = None
    body_attrs: tuple[str, ...] = ()

    def infer(self, *inputs: Any, **attrs: Any) -> Spec:
        """Spec of the result. Raises `ShapeError` or `DTypeError` for what does not fit."""
        raise NotImplementedError(self.name)

    def evaluate(self, *arrays: Any, **attrs: Any) -> Any:
        """The result as an array: the reference kernel, in obvious NumPy.

        NaN and infinities are results like others: callers silence NumPy's warnings.
        """
        raise NotImplementedError(self.name)

    def evaluate_into(self, out: Array, *arrays: Any, **attrs: Any) -> None:
        """Compute the result into ``out``, without allocating where NumPy can."""
        out[...] = self.evaluate(*arrays, **attrs)

    def expand(self, *inputs: Any, **attrs: Any) -> Node | None:
        """The same value built from simpler operators, or None for a primitive."""
        return None

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Any:
        """Tangent of ``node`` given those of its inputs; `NotImplemented` without a rule.

        For a tuple of results, a sequence of tangents.
        """
        return NotImplemented

    def vjp(self, node: Node, cotangent: Any) -> Any:
        """A cotangent for every input of ``node``; `NotImplemented` without a rule.

        For a tuple of results, ``cotangent`` is a sequence with None for zeros.
        """
        return NotImplemented

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Any:
        """``node`` for many examples at once; `NotImplemented` without a rule.

        Parameters
        ----------
        node : Node
            The operator applied to one example.
        inputs : sequence of Node
            Its inputs for all examples. Those that differ between examples have a leading axis
            of examples; the others are as they were.
        mapped : sequence of bool
            Which of them do; at least one.

        Returns
        -------
        Node
            The result, or tuple of results, with a leading axis of examples.
        """
        return NotImplemented

    def flops(self, node: Node) -> int:
        """Floating-point operations of one evaluation; shapes are known."""
        return 0

    def label(self, node: Node) -> str:
        """The word for ``node`` in dumps and pictures."""
        return self.name

    def shown_attrs(self, node: Node) -> Mapping[str, Any]:
        """The attributes that :meth:`label` does not tell."""
        return node.attrs

    @property
    def has_kernel(self) -> bool:
        """Whether it is evaluated as it is, not by its expansion."""
        return type(self).evaluate is not Op.evaluate

    def __repr__(self) -> str:
        return f"<Op {self.name}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return (_by_name, (self.name,))


def _by_name(name: str) -> Op:
    return REGISTRY[name]


def register(op: Op) -> None:
    """Add an operator to the registry.

    Raises
    ------
    ValueError
        If the name is taken: two copies of the ops package would end here.
    """
    if op.name in REGISTRY:
        raise ValueError(f"operator {op.name!r} is already registered")
    REGISTRY[op.name] = op


def output_size(node: Node) -> int:
    """Number of elements of a node's result; the shape is known."""
    assert isinstance(node.spec, TensorSpec)
    return math.prod(map(int, node.spec.shape))
