"""What is known of a value before it exists: its shape and dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from graphnn.core.dims import Shape, Size, bind_size, is_known, product
from graphnn.core.dtypes import FLOAT32, DType, short_name
from graphnn.core.errors import ShapeError

__all__ = ["Spec", "TensorSpec", "TupleSpec", "broadcast_shapes", "shape_text"]


def shape_text(shape: Shape) -> str:
    """A shape as a user would write it, with names for what is unknown: ``(batch, 64)``."""
    inner = ", ".join(str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and dtype of one array.

    Attributes
    ----------
    shape : tuple of int or Dim
        Where a user gives a spec (:func:`graphnn.trace`), names such as ``"batch"`` will do.
    dtype : numpy.dtype, default float32
    weak : bool
        Whether it gives way to every array's dtype of its kind, as a Python number does: what
        traced functions are given in place of Python numbers. No part of equality.
    """

    shape: Shape
    dtype: DType = FLOAT32
    weak: bool = field(default=False, compare=False)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> Size:
        """Number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes; the shape must be known."""
        return int(self.size) * self.dtype.itemsize

    @property
    def is_known(self) -> bool:
        """Whether every size is a number."""
        return is_known(self.shape)

    def bind(self, sizes: Mapping[str, int]) -> TensorSpec:
        """The same with named dimensions replaced by numbers."""
        return TensorSpec(tuple(bind_size(size, sizes) for size in self.shape), self.dtype)

    def __str__(self) -> str:
        return f"{short_name(self.dtype)}[{', '.join(str(size) for size in self.shape)}]"


@dataclass(frozen=True, slots=True)
class TupleSpec:
    """Several values that one operator gives together."""

    elements: tuple[TensorSpec, ...]

    weak: ClassVar[bool] = False

    @property
    def is_known(self) -> bool:
        """Whether every size of every element is a number."""
        return all(element.is_known for element in self.elements)

    @property
    def nbytes(self) -> int:
        """Number of bytes of all elements; the shapes must be known."""
        return sum(element.nbytes for element in self.elements)

    def __str__(self) -> str:
        return f"({', '.join(str(element) for element in self.elements)})"


Spec: TypeAlias = "TensorSpec | TupleSpec"


def broadcast_shapes(what: str, *shapes: Shape) -> Shape:
    """The shape that several shapes broadcast to, by NumPy's rule.

    Raises
    ------
    ShapeError
        If two sizes differ and neither is 1, or a named size meets a number.
    """
    first, *rest = shapes
    if all(shape == first for shape in rest):
        return first
    ndim = max(len(shape) for shape in shapes)
    result: list[Size] = [1] * ndim
    for shape in shapes:
        for axis, size in enumerate(shape, start=ndim - len(shape)):
            if size == 1 or size == result[axis]:
                continue
            if result[axis] != 1:
                listing = " and ".join(shape_text(shape) for shape in shapes)
                raise ShapeError(
                    f"{what}: shapes {listing} do not broadcast: "
                    f"{result[axis]} != {size} at axis {axis - ndim}",
                    hint="sizes must be equal or 1; reshape or expand_dims one of them",
                )
            result[axis] = size
    return tuple(result)
