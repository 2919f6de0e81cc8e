"""Which CUDA generator prints which kernel."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from graphnn.compiler.cuda import (
    contraction,
    lone_threads,
    loops,
    moves,
    row_loop_code,
    scatters,
)
from graphnn.compiler.cuda.code import Code
from graphnn.compiler.cuda.lowerings import (
    Polygamma,
    Search,
    SparseProduct,
    Substitution,
    WholeConvolution,
)
from graphnn.compiler.cuda.row_loop import RowLoop
from graphnn.compiler.cuda.vectors import Wide
from graphnn.compiler.kernel import Contraction, Kernel
from graphnn.compiler.native.philox import Philox
from graphnn.compiler.native.range_check import RangeCheck
from graphnn.compiler.native.scanning import Scan
from graphnn.compiler.native.scattering import Scatter

__all__ = ["generate", "scratch_nbytes"]


@singledispatch
def generate(kernel: Any, name: str) -> Code:
    """Print a kernel, a contraction or a move; functions have names that begin with ``name``."""
    raise NotImplementedError(f"there is no CUDA code for {type(kernel).__name__}")


generate.register(Kernel)(loops.generate)
generate.register(Wide)(loops.generate_wide)
generate.register(Contraction)(contraction.generate)
generate.register(RowLoop)(row_loop_code.generate)
generate.register(WholeConvolution)(lone_threads.convolve)
generate.register(Polygamma)(lone_threads.derive)
generate.register(Philox)(moves.draw)
generate.register(RangeCheck)(moves.check_range)
generate.register(Scan)(moves.scan)
generate.register(Scatter)(scatters.scatter)
generate.register(Search)(lone_threads.search)
generate.register(SparseProduct)(lone_threads.multiply_sparse)
generate.register(Substitution)(lone_threads.substitute)


def scratch_nbytes(kernel: Any) -> int:
    """Bytes of memory that a kernel needs while it runs."""
    return 0 if isinstance(kernel, Kernel) else generate(kernel, "").scratch_nbytes
