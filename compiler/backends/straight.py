"""Results that native code writes straight into the arrays that a call returns.

The memory plan gives every result a place in the arena, which belongs to the program: to return
it, it has to be copied. For a large result that copy is as long as a kernel, and one thread makes
it. The arena's pages that are then never touched cost no memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from graphnn.compiler.native.pointers import address_of
from graphnn.compiler.unit import Buffer, Instruction, Storage, Unit
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec
from graphnn.core.state import ALIGNMENT

__all__ = ["new_result", "straight_results"]

LEAST_NBYTES = 1 << 17
"""A smaller result is copied in less time than it takes to make an aligned array for it, and to
tell native code the address."""


def straight_results(
    unit: Unit, is_native: Callable[[Instruction], bool]
) -> dict[Buffer, TensorSpec]:
    """The buffers to replace by a new array in every call, and of what spec.

    Those that one result takes up wholly, and that nothing but native code touches: what runs on
    the host has addresses that stay.
    """
    uses = Counter(view.buffer for view in unit.results)
    on_host = {
        view.buffer
        for each in unit.instructions
        if not is_native(each)
        for view in (*each.inputs, *each.outputs)
    }
    on_host |= {each.flag.buffer for each in unit.branches}
    return {
        view.buffer: TensorSpec(view.shape, view.dtype)
        for view in unit.results
        if view.buffer.storage is Storage.ARENA
        and view.is_whole
        and view.nbytes >= LEAST_NBYTES
        and uses[view.buffer] == 1
        and view.buffer not in on_host
    }


def new_result(spec: TensorSpec, nbytes: int) -> Array:
    """Uninitialised memory of so many bytes as an array, aligned for vector loads."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    return np.ndarray(spec.shape, spec.dtype, raw, -address_of(raw) % ALIGNMENT)
