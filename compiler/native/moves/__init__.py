"""Native forms of operators that move data, search it, or run along an axis.

`pieces_of` is what lowering asks; an operator without an entry in `LOWERINGS`, or for which its
lowering gives None, is computed on the host by its own kernel.
"""

from __future__ import annotations

from graphnn.compiler.native.moves.indexing import (
    lower_gather,
    lower_pick,
    lower_require_range,
)
from graphnn.compiler.native.moves.joining import (
    lower_concatenate,
    lower_diagonal_matrix,
    lower_iota,
    lower_pad,
    lower_size_of,
)
from graphnn.compiler.native.moves.overlaps import lower_overlap_add, lower_window_place
from graphnn.compiler.native.moves.piece import (
    STATUS,
    Generated,
    Lowering,
    Memory,
    Piece,
    Status,
    is_native_dtype,
)
from graphnn.compiler.native.moves.random import lower_random_bits
from graphnn.compiler.native.moves.scanning import lower_scan
from graphnn.compiler.native.moves.scattering import lower_place, lower_scatter
from graphnn.compiler.native.moves.searching import lower_arg_extremum
from graphnn.compiler.native.moves.windows import (
    lower_max_pool,
    lower_max_pool_indices,
    lower_window_pick,
    lower_window_sum,
)
from graphnn.compiler.unit import View
from graphnn.core.node import Node

__all__ = ["LOWERINGS", "STATUS", "Generated", "Memory", "Piece", "Status", "pieces_of"]

LOWERINGS: dict[str, Lowering] = {
    "argmax": lower_arg_extremum,
    "argmin": lower_arg_extremum,
    "concatenate": lower_concatenate,
    "cumprod": lower_scan,
    "cumsum": lower_scan,
    "diagonal_matrix": lower_diagonal_matrix,
    "gather": lower_gather,
    "iota": lower_iota,
    "linear_recurrence": lower_scan,
    "max_pool": lower_max_pool,
    "max_pool_indices": lower_max_pool_indices,
    "overlap_add": lower_overlap_add,
    "pad": lower_pad,
    "pick": lower_pick,
    "place": lower_place,
    "random_bits": lower_random_bits,
    "require_range": lower_require_range,
    "scatter_add": lower_scatter,
    "scatter_max": lower_scatter,
    "scatter_min": lower_scatter,
    "scatter_multiply": lower_scatter,
    "scatter_set": lower_scatter,
    "size_of": lower_size_of,
    "window_pick": lower_window_pick,
    "window_place": lower_window_place,
    "window_sum": lower_window_sum,
}
"""By name of the operator."""


def pieces_of(
    node: Node, inputs: tuple[View, ...], outputs: tuple[View, ...]
) -> list[Piece] | None:
    """The native work of a node, piece by piece; None if it is computed on the host."""
    lowering = LOWERINGS.get(node.op.name)
    if lowering is None or not is_native_dtype(*inputs, *outputs):
        return None
    return lowering(node, inputs, outputs)
