"""How the threads of a grid share a kernel's rows and the elements of each row.

Independent axes make *rows*, reduced axes the elements of a row. A row is the work of some *lanes*:
threads that each take every so many-th element and meet at the end of a sum. Neighbouring threads
take neighbours in memory: elements of a row where it lies contiguously, else rows side by side.

Where a thread takes several neighbours at a time (`graphnn.compiler.cuda.vectors`), they count as
one element, or as one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphnn.compiler.sweeps import Sweeps

__all__ = ["Layout", "layout_of"]

THREADS = 256
"""Of a block, where nothing asks for more."""

MOST_THREADS = 1024

WARP = 32

STATIC_NBYTES = 48 << 10
"""Most bytes of the arrays that a function declares for the threads of a block to share."""

PROCESSORS = 132
"""Of a large GPU."""

ENOUGH_BLOCKS = 2 * PROCESSORS
"""Blocks that keep a large GPU busy."""

ELEMENTS_PER_LANE = 8
"""About how many elements of a row one lane takes; fewer lanes need fewer meetings."""

SIDE_BY_SIDE = 32
"""Rows whose elements are neighbours: one warp reads them together."""

LEAST_SIDE_BY_SIDE = 8
"""Rows that still fill a sector of memory, 32 bytes, if elements have four."""

KEPT_REGISTERS = 64
"""Of a thread, for values that several sweeps need; half as many in a block of `MOST_THREADS`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Threads for a kernel with sums.

    Attributes
    ----------
    rows : int
        Of the kernel.
    elements : int
        Of a row.
    lanes : int
        Threads of a row, a power of two.
    slots : int
        Rows of a block.
    is_column : bool
        Whether rows lie side by side: lanes are then ``slots`` threads apart, else neighbours.
    """

    rows: int
    elements: int
    lanes: int
    slots: int
    is_column: bool

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.lanes * self.slots

    @property
    def blocks(self) -> int:
        """Of the grid."""
        return -(-self.rows // self.slots)

    @property
    def turns(self) -> int:
        """Elements that a lane takes at most."""
        return -(-self.elements // self.lanes)

    @property
    def kept_registers(self) -> int:
        """Registers of a thread for values that several sweeps need."""
        return KEPT_REGISTERS * 512 // max(512, self.threads)


def layout_of(sweeps: Sweeps, width: int = 1, n_kept: int = 1) -> Layout:
    """The threads for a kernel whose rows have several elements.

    Parameters
    ----------
    sweeps : Sweeps
    width : int
        Neighbours that a thread takes at a time.
    n_kept : int
        Registers in which a thread would keep what several sweeps need of an element.
    """
    kernel = sweeps.kernel
    elements = prod(kernel.sizes[axis] for axis in kernel.reduced)
    rows = prod(kernel.sizes) // elements
    if sweeps.is_column and rows > 1:
        rows //= width
        lanes, slots = _side_by_side(rows, elements, width)
    else:
        elements //= width
        lanes = _along(rows, elements, width, n_kept)
        slots = max(1, THREADS // lanes)
    return Layout(rows, elements, lanes, slots, sweeps.is_column and rows > 1)


def _along(rows: int, elements: int, width: int, n_kept: int) -> int:
    """Lanes of a row: a warp, where it can keep its row and rows are many: warps need not meet."""
    lanes = _power_of_two(elements)
    if lanes <= WARP:
        return lanes
    if not n_kept and elements <= THREADS * 4 * ELEMENTS_PER_LANE:
        return min(THREADS, _power_of_two(-(-elements // ELEMENTS_PER_LANE)))
    taken = max(1, min(ELEMENTS_PER_LANE, KEPT_REGISTERS // (width * max(1, n_kept))))
    fewest = max(WARP, _power_of_two(-(-elements // taken)))
    while fewest < min(THREADS, lanes // 2) and rows * fewest < ENOUGH_BLOCKS * THREADS:
        fewest *= 2
    return min(fewest, MOST_THREADS)


def _side_by_side(rows: int, elements: int, width: int) -> tuple[int, int]:
    """Lanes and rows of a block."""
    lanes = min(SIDE_BY_SIDE, _power_of_two(-(-elements // ELEMENTS_PER_LANE)))
    slots = max(SIDE_BY_SIDE // (2 * width), THREADS // lanes)
    if elements <= ELEMENTS_PER_LANE * lanes:
        return lanes, slots
    # There is more for lanes to do than they have taken: more of them, where blocks are few.
    while -(-rows // slots) < ENOUGH_BLOCKS and slots * min(width, 4) > LEAST_SIDE_BY_SIDE:
        slots //= 2
        lanes *= 2
    return lanes, slots


def _power_of_two(number: int) -> int:
    """The least one that is not smaller."""
    return 1 << (number - 1).bit_length()
