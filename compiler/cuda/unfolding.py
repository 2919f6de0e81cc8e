"""Convolutions as products of matrices: what windows see is written out, and a library multiplies.

For example, with 3 x 3 windows over ``x (N, C, H, W)`` and ``w (O, C, 3, 3)``: the copy is
``(C, 3, 3, N, H, W)``, and the product of ``w`` as ``(O, C * 9)`` with it is ``(O, N, H, W)``. Both
derivatives are contractions of the same kind, see :mod:`graphnn.ops.conv_primitive`. Windows of one
element with stride 1 need no copy: every example is a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from graphnn.compiler.cuda.code import Matrices
from graphnn.compiler.cuda.matrices import Axes, axes_of, dense_strides, product_of
from graphnn.compiler.cuda.windows import Copy
from graphnn.compiler.kernel import Contraction, Operand
from graphnn.compiler.kernel import Product as Summed
from graphnn.core.dtypes import as_dtype, is_floating

__all__ = ["Unfolded", "unfold"]

LEAST_USES = 32
"""How often an element that is copied is multiplied, at least: otherwise the copy costs more than
the library gains."""

LEAST_SUMMED = 32
"""Terms of a sum, at least: each sum is written to memory, and read again by the epilogue."""

LEAST_ROWS = 128
"""Places of an example that are worth a product of its own."""

MOST_NBYTES = 1 << 30
"""Bytes of copies at a time; larger ones would crowd out what a program keeps in memory."""

MOST_SLICES = 32
"""Copies that follow each other, each with a function of its own."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A product for some of the rows: examples, or channels.

    Attributes
    ----------
    contraction : Contraction
        Of so many rows.
    matrices : Matrices
    left, out : int
        Bytes from the first element of the left factor, and of the product, to those of the slice.
    """

    contraction: Contraction
    matrices: Matrices
    left: int = 0
    out: int = 0


@dataclass(frozen=True, slots=True)
class Unfolded:
    """A contraction as a product of matrices, some of which are copied first.

    Attributes
    ----------
    slices : tuple of Slice
        One, unless the copy of the left factor is too large to be made at once.
    copies : tuple of Copy
        One factor, both, or none.
    strides : dict of int to int
        Bytes along every free axis of the product.
    """

    slices: tuple[Slice, ...]
    copies: tuple[Copy, ...]
    strides: dict[int, int]


def unfold(contraction: Contraction) -> Unfolded | None:
    """A contraction that is no product of matrices, made into one; None if that does not pay."""
    dtype = as_dtype(contraction.dtype)
    stored = {contraction.left.dtype, contraction.right.dtype}
    if not is_floating(dtype) or stored != {contraction.dtype}:
        return None
    axes = axes_of(contraction)
    if not axes.rows:
        return None
    if not contraction.bounds:
        found = _laid_out(contraction, _by_examples(axes), ())
        if found is not None:
            return found
    return _copied(contraction, axes)


def _copied(contraction: Contraction, axes: Axes) -> Unfolded | None:
    """The product after the left factor, and the right one if need be, have been copied."""
    uses, summed = (_count(contraction, each) for each in (axes.columns, axes.summed))
    if uses < LEAST_USES or summed < LEAST_SUMMED:
        return None
    found = None
    if _may_go_by_examples(contraction, axes):
        found = _with_copies(contraction, _by_examples(axes))
    return found or _with_copies(contraction, axes)


def _with_copies(contraction: Contraction, axes: Axes) -> Unfolded | None:
    """The product of as few copies as can be."""
    left = _copy(contraction, 0, axes.batch, axes.rows, axes.summed)
    right = _copy(contraction, 1, axes.batch, axes.columns, axes.summed)
    choices: list[tuple[Copy, ...]] = [(left,), (left, right)]
    if not contraction.bounds:
        choices.insert(0, (right,))
    return next(filter(None, (_laid_out(contraction, axes, each) for each in choices)), None)


def _rows_at_a_time(contraction: Contraction, copies: tuple[Copy, ...]) -> int:
    """How many steps along the first axis of the rows are copied together; 0 if there is no way."""
    nbytes = [0, 0]
    for each in copies:
        nbytes[each.side] = each.nbytes(contraction)
    axis = axes_of(contraction).rows[0]
    count = contraction.sizes[axis]
    if sum(nbytes) <= MOST_NBYTES:
        return count
    is_place = axis in {bound.place for bound in contraction.bounds}
    if is_place or not nbytes[0]:
        return 0
    together = (MOST_NBYTES - nbytes[1]) // (nbytes[0] // count)
    if together <= 0 or -(-count // together) > MOST_SLICES:
        return 0
    return -(-count // -(-count // together))  # slices of about one size


def _may_go_by_examples(contraction: Contraction, axes: Axes) -> bool:
    """Whether a product for every example, which lies as results do, is worth it.

    One product for all keeps a GPU busier, but is not where results go; an epilogue takes it there,
    if there is one in any case.
    """
    epilogue = contraction.epilogue
    is_plain = [epilogue.values[value] for _, value in epilogue.stores] == [
        Summed(contraction.dtype)
    ]
    return is_plain and not axes.batch and _count(contraction, axes.rows[1:]) >= LEAST_ROWS


def _count(contraction: Contraction, axes: Sequence[int]) -> int:
    """Points along some axes."""
    return prod(contraction.sizes[axis] for axis in axes)


def _copy(
    contraction: Contraction,
    side: int,
    batch: tuple[int, ...],
    free: tuple[int, ...],
    summed: tuple[int, ...],
) -> Copy:
    """A copy that reads and writes neighbours in memory together, as far as can be."""
    near = [_neighbours(contraction, side, each) for each in (free, summed)]
    if near[0] >= near[1]:
        return Copy(side, (*batch, *summed), free)
    return Copy(side, (*batch, *free), summed)


def _neighbours(contraction: Contraction, side: int, axes: Sequence[int]) -> float:
    """About how many elements along the last of some axes are neighbours."""
    if not axes:
        return 0
    last, lies = axes[-1], (contraction.left, contraction.right)[side]
    step = abs(lies.strides[last])
    for bound in contraction.bounds if side == 0 else ():
        if last in (bound.place, bound.tap):
            by = bound.stride if last == bound.place else bound.dilation
            step = abs(bound.step) * by // bound.x_dilation
    return contraction.sizes[last] * as_dtype(lies.dtype).itemsize / max(step, 1)


def _by_examples(axes: Axes) -> Axes:
    """The same with a product for every step along the first axis of the rows."""
    return replace(axes, batch=(*axes.batch, *axes.rows[:1]), rows=axes.rows[1:])


def _laid_out(contraction: Contraction, axes: Axes, copies: tuple[Copy, ...]) -> Unfolded | None:
    """The product of factors as they lie, or as their copies do."""
    axis, rows = axes_of(contraction).rows[0], _rows_at_a_time(contraction, copies)
    if not rows:
        return None
    begins = range(0, contraction.sizes[axis], rows)
    parts = [_sliced(contraction, axis, begin, rows) for begin in begins]
    for order in _orders(axes):
        strides = dense_strides(contraction, order)
        found = [product_of(_plain(each, copies), axes, strides) for each in parts]
        slices = tuple(
            Slice(some, matrices, contraction.left.strides[axis] * begin, strides[axis] * begin)
            for some, matrices, begin in zip(parts, found, begins, strict=True)
            if matrices is not None
        )
        if len(slices) == len(parts):
            return Unfolded(slices, copies, strides)
    return None


def _sliced(contraction: Contraction, axis: int, begin: int, count: int) -> Contraction:
    """The contraction of a part of an axis; its operands begin where that does."""
    sizes = list(contraction.sizes)
    sizes[axis] = min(count, sizes[axis] - begin)
    return replace(contraction, sizes=tuple(sizes))


def _plain(contraction: Contraction, copies: tuple[Copy, ...]) -> Contraction:
    """The contraction of copies, which has no windows."""
    factors = [contraction.left, contraction.right]
    for copy in copies:
        strides = copy.strides(contraction)
        along = tuple(strides.get(axis, 0) for axis in range(len(contraction.sizes)))
        factors[copy.side] = Operand(contraction.dtype, along)
    return replace(contraction, left=factors[0], right=factors[1], bounds=())


def _orders(axes: Axes) -> Iterator[tuple[int, ...]]:
    """In which order the axes of a product may follow each other in memory, the best one first."""
    yield tuple(sorted((*axes.batch, *axes.rows, *axes.columns)))  # that of the results
    yield (*axes.batch, *axes.columns, *axes.rows)
    yield (*axes.batch, *axes.rows, *axes.columns)
