"""Elements that windows meet, in CUDA C++, and factors that are copied out as dense matrices.

The copy of an array seen through windows is what other libraries call im2col, or unfolding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod

from graphnn.compiler.cuda.code import Part
from graphnn.compiler.cuda.indices import decoded, index_type, offset, reach
from graphnn.compiler.cuda.layout import THREADS
from graphnn.compiler.cuda.matrices import dense_strides
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.kernel import Bound, Contraction
from graphnn.core.dtypes import as_dtype

__all__ = ["Copy", "copied", "indices_along", "meet", "reaches"]

MOST_OWN = 32
"""Elements that one thread copies: those of a window of 5 x 5."""

ENOUGH_THREADS = 1 << 16
"""About what a large GPU runs at a time: with less of them, each has fewer elements."""

_RAW = {2: "u16", 4: "u32", 8: "u64"}
"""Copies move bits."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A factor of a contraction as dense matrices.

    Attributes
    ----------
    side : int
        0 for the left factor, 1 for the right one.
    outer, inner : tuple of int
        Its axes as they follow each other in memory; neighbouring threads copy neighbours along
        the inner ones.
    """

    side: int
    outer: tuple[int, ...]
    inner: tuple[int, ...]

    @property
    def axes(self) -> tuple[int, ...]:
        """All of them, in the order of memory."""
        return (*self.outer, *self.inner)

    def strides(self, contraction: Contraction) -> dict[int, int]:
        """Bytes along the axes of the copy."""
        return dense_strides(contraction, self.axes)

    def nbytes(self, contraction: Contraction) -> int:
        """Bytes of the copy."""
        itemsize = as_dtype(contraction.dtype).itemsize
        return itemsize * prod(contraction.sizes[axis] for axis in self.axes)


def reaches(contraction: Contraction) -> list[int]:
    """The largest numbers that reading the factors needs: points and bytes."""
    sizes, found = contraction.sizes, []
    for side, factor in enumerate((contraction.left, contraction.right)):
        moves = _moves(contraction, side)
        found.append(prod(size for axis, size in enumerate(sizes) if moves[axis]))
        bounds = contraction.bounds if side == 0 else ()
        through = sum(abs(bound.step) * bound.size for bound in bounds)
        found.append(reach(factor.strides, sizes) + through)
    for bound in contraction.bounds:
        places, taps = bound.stride * sizes[bound.place], bound.dilation * sizes[bound.tap]
        found.append(places + taps + abs(bound.low))
    return found


def _moves(contraction: Contraction, side: int) -> list[bool]:
    """Along which axes a factor moves, windows included."""
    bounds = contraction.bounds if side == 0 else ()
    seen = {axis for bound in bounds for axis in (bound.place, bound.tap)}
    strides = (contraction.left, contraction.right)[side].strides
    return [bool(by) or axis in seen for axis, by in enumerate(strides)]


def indices_along(
    w: Writer, number: str, sizes: Sequence[int], axes: Sequence[int], prefix: str, kind: str
) -> dict[int, str]:
    """Variables for the indices along some axes, the last of which is the fastest."""
    found = {axis: f"{prefix}{axis}" for axis in axes}
    for axis, index in zip(axes, decoded(number, [sizes[each] for each in axes]), strict=True):
        w.line(f"const {kind} {found[axis]} = {index};")
    return found


def meet(
    w: Writer, bounds: Sequence[Bound], indices: Mapping[int, str], kind: str
) -> tuple[list[str], list[str]]:
    """Variables for what places and taps meet: bytes to it, and conditions that there is one."""
    terms, conditions = [], []
    for number, bound in enumerate(bounds):
        place = f"{indices[bound.place]} * {bound.stride}"
        tap = f"{indices[bound.tap]} * {bound.dilation}"
        w.line(f"const {kind} at{number} = {place} + {tap} - ({bound.low});")
        element = f"at{number}"
        if bound.x_dilation > 1:
            conditions.append(f"at{number} % {bound.x_dilation} == 0")
            element = f"at{number} / {bound.x_dilation}"
        last = (bound.size - 1) * bound.x_dilation
        conditions.append(f"at{number} >= 0 && at{number} <= {last}")
        terms.append(f"{element} * {bound.step}")
    return terms, conditions


def copied(
    contraction: Contraction, copy: Copy, name: str, n_addresses: int, offsets: tuple[int, int]
) -> tuple[str, Part]:
    """A function that copies a factor into scratch memory, and how it is launched.

    Parameters
    ----------
    contraction : Contraction
    copy : Copy
    name : str
    n_addresses : int
        Of the function; the last one is that of scratch memory.
    offsets : (int, int)
        Bytes from the address of the factor to its first element, and from that of scratch memory
        to the copy.
    """
    sizes, lies = contraction.sizes, (contraction.left, contraction.right)[copy.side]
    kind = index_type(copy.nbytes(contraction), *reaches(contraction))
    raw = _RAW[as_dtype(lies.dtype).itemsize]
    shared, own = _divided(contraction, copy)
    threads = prod(sizes[axis] for axis in shared)
    into, w = copy.strides(contraction), Writer()
    with w.block(signature(name, n_addresses, THREADS)):
        w.line(f"const {kind} number = ({kind})blockIdx.x * {THREADS} + threadIdx.x;")
        w.line(f"if (number >= {threads}) return;")
        indices = indices_along(w, "number", sizes, shared, "i", kind)
        start, target = offset(indices, lies.strides), offset(indices, into)
        w.line(f"const char* const from = p{copy.side} + {offsets[0]}ll + ({start});")
        w.line(f"char* const to = p{n_addresses - 1} + {offsets[1]}ll + ({target});")
        with ExitStack() as loops:
            for axis in own:
                w.line("#pragma unroll")
                head = f"for (int i{axis} = 0; i{axis} < {sizes[axis]}; ++i{axis})"
                loops.enter_context(w.block(head))
            mine = {axis: f"i{axis}" for axis in own}
            bounds = contraction.bounds if copy.side == 0 else ()
            terms, conditions = meet(w, bounds, indices | mine, kind)
            source = " + ".join([f"from + ({offset(mine, lies.strides)})", *terms])
            w.line(f"{raw} value = 0;")
            check = f"if ({' && '.join(conditions)}) " if conditions else ""
            w.line(f"{check}value = *(const {raw}*)({source});")
            w.line(f"*({raw}*)(to + ({offset(mine, into)})) = value;")
    return w.text, Part(name, -(-threads // THREADS), THREADS)


def _divided(contraction: Contraction, copy: Copy) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes that threads share, and those along which each thread has all elements.

    What a thread has by itself are the last ones of the outer axes, the taps of a window: it
    finds its place once for all of them.
    """
    sizes, shared, own = contraction.sizes, list(copy.outer), 1
    total = prod(sizes[axis] for axis in copy.axes)
    while shared:
        more = own * sizes[shared[-1]]
        if more > MOST_OWN or total // more < ENOUGH_THREADS:
            break
        own = more
        shared.pop()
    return (*shared, *copy.inner), copy.outer[len(shared) :]
