"""CUDA code of scatters: updates at computed places, each element's in their order.

Few updates are looked at by every block, which brings in those of its own rows. Many are sorted by
their rows, which keeps those of one row in order; then a thread adds up the updates of one element.
Either way the bits are those of a processor, and of every other run.
"""

from __future__ import annotations

from math import prod

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.indices import index_type, offset_text
from graphnn.compiler.cuda.layout import THREADS
from graphnn.compiler.cuda.moves import one_each
from graphnn.compiler.cuda.radix_sort import RadixSort
from graphnn.compiler.cuda.scalars import combined, load, register, store
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.native.scattering import Scatter
from graphnn.core.dtypes import as_dtype

__all__ = ["scatter"]

MOST_OWNERS = 256
"""Blocks that the rows of the array are divided among, where updates are few."""

LEAST_SORTED = 4096
"""So many updates are sorted: for fewer, that is more launches than it is worth."""

MOST_SORTED = 1 << 31
"""More updates, rows or blocks have no numbers of 32 bits."""

IN_FLIGHT = 8
"""Updates that a thread reads before it brings in the first of them."""


def scatter(scatter: Scatter, name: str) -> Code:
    """Sorted or not, as the number of updates is."""
    blocks = scatter.count * -(-scatter.width // _columns(scatter))
    is_countable = max(blocks, scatter.n_rows) < MOST_SORTED
    if scatter.count >= LEAST_SORTED and scatter.n_rows > 1 and is_countable:
        return _sorted(scatter, name)
    return _walked(scatter, name)


# --------------------------------------------------------------------------------- many updates


def _sorted(scatter: Scatter, name: str) -> Code:
    """The rows of all updates, sorted, then the first update of a row brings in all of them."""
    w, sort = Writer(), RadixSort(scatter.count, (scatter.n_rows - 1).bit_length())
    n_operands = _n_operands(scatter)
    parts = [
        _places(w, scatter, f"{name}_places", "u32"),
        *sort.parts(w, name, n_operands),
        _segments(w, scatter, sort, f"{name}_bring"),
    ]
    return Code(w.text, tuple(parts), sort.scratch_nbytes)


def _segments(w: Writer, scatter: Scatter, sort: RadixSort, name: str) -> Part:
    """A thread for every element of every update; those of the first one in a row have work.

    Half floats are summed in float32. Some updates are read before the first of them is brought
    in, for one that waits for memory would make the next one wait.
    """
    n_operands, dtype, columns = _n_operands(scatter), scatter.dtype, _columns(scatter)
    groups, chunks = THREADS // columns, -(-scatter.width // columns)
    kind = register(dtype)
    with w.block(signature(name, n_operands, THREADS)):
        scratch = f"p{n_operands - 1}"
        for word, offset in (
            ("rows", sort.keys(sort.n_passes)),
            ("numbers", sort.numbers(sort.n_passes)),
        ):
            w.line(f"const u32* {word} = (const u32*)({scratch} + {offset});")
        w.line(
            f"const i64 first = (i64)(blockIdx.x / {chunks}) * {groups} + threadIdx.x / {columns};"
        )
        w.line(f"const int at = blockIdx.x % {chunks} * {columns} + threadIdx.x % {columns};")
        w.line(f"if (first >= {scatter.count} || at >= {scatter.width}) return;")
        w.line("const u32 row = rows[first];")
        w.line("if (first > 0 && rows[first - 1] == row) return;")
        itemsize = as_dtype(dtype).itemsize
        place = f"((i64)row * {scatter.width} + at) * {itemsize}"
        w.line(f"char* const to = p{n_operands - 3} + {place};")
        w.line(f"{kind} total = {load(dtype, 'to')};")
        w.line("bool is_in = true;")
        with w.block(f"for (i64 from = first; is_in; from += {IN_FLIGHT})"):
            w.line(f"{kind} arriving[{IN_FLIGHT}];")
            w.line(f"bool is_own[{IN_FLIGHT}];")
            with w.block(f"for (int next = 0; next < {IN_FLIGHT}; ++next)"):
                w.line("const i64 here = from + next;")
                w.line(f"is_own[next] = here < {scatter.count} && rows[here] == row;")
                w.line("const i64 number = is_own[next] ? numbers[here] : 0;")
                w.line(f"arriving[next] = {_update(scatter, 'number')};")
            with w.block(f"for (int next = 0; next < {IN_FLIGHT}; ++next)"):
                made = "arriving[next]"
                if scatter.op != "set":
                    made = combined(scatter.op, "total", made)
                w.line(f"if (is_own[next]) total = {made};")
            w.line(f"is_in = is_own[{IN_FLIGHT - 1}];")
        w.line(store(dtype, "to", "total"))
    return Part(name, -(-scatter.count // groups) * chunks, THREADS)


# ---------------------------------------------------------------------------------- few updates


def _walked(scatter: Scatter, name: str) -> Code:
    """The places of all updates, then every block brings in those of its own rows, in order.

    Within a block, a thread owns every so many-th row and column, so that updates of one element
    arrive in their order. Half floats are summed in float32, in scratch.
    """
    w = Writer()
    parts = [_places(w, scatter, f"{name}_places", "i64")]
    if scatter.is_widened:
        parts.append(_converted(w, scatter, f"{name}_widen", narrows=False))
    parts.append(_arrivals(w, scatter, f"{name}_bring"))
    if scatter.is_widened:
        parts.append(_converted(w, scatter, f"{name}_narrow", narrows=True))
    return Code(w.text, tuple(parts), scatter.scratch_nbytes)


def _n_operands(scatter: Scatter) -> int:
    """Updates, indices in memory, the array, the status word and scratch."""
    return 4 + sum(not isinstance(each, int) for each in scatter.indices)


def _columns(scatter: Scatter) -> int:
    """Threads that share a row."""
    return min(THREADS, 1 << (scatter.width - 1).bit_length())


def _places(w: Writer, scatter: Scatter, name: str, kind: str) -> Part:
    """A thread for every update: the row that it comes to, and whether there is one."""
    n_operands = _n_operands(scatter)
    part = one_each(w, name, n_operands, scatter.count)
    w.line("i64 row = 0;")
    w.line("bool is_out = false;")
    operand = 0
    for size, index in zip(scatter.sizes, scatter.indices, strict=True):
        if isinstance(index, int):
            after = prod(scatter.shape[index + 1 :])
            w.line(f"row = row * {size} + number / {after} % {scatter.shape[index]};")
            continue
        operand += 1
        dtype, strides = index
        at = offset_text("number", scatter.shape, strides)
        with w.block(""):
            w.line(f"i64 place = (i64){load(dtype, f'p{operand} + {at}')};")
            w.line(f"if (place < 0) place += {size};")
            w.line(f"if (place < 0 || place >= {size}) place = 0, is_out = true;")
            w.line(f"row = row * {size} + place;")
    w.line(f"(({kind}*)p{n_operands - 1})[number] = row;")
    w.line(f"if (is_out) *(i64*)p{n_operands - 2} = 1;")
    w.close()
    return part


def _converted(w: Writer, scatter: Scatter, name: str, *, narrows: bool) -> Part:
    """The array to float32 in scratch, or back."""
    n_operands, dtype = _n_operands(scatter), scatter.dtype
    part = one_each(w, name, n_operands, scatter.n_rows * scatter.width)
    half = f"p{n_operands - 3} + number * {as_dtype(dtype).itemsize}"
    wide = f"p{n_operands - 1} + {scatter.wide_offset} + number * 4"
    if narrows:
        w.line(store(dtype, half, load("float32", wide)))
    else:
        w.line(store("float32", wide, load(dtype, half)))
    w.close()
    return part


def _arrivals(w: Writer, scatter: Scatter, name: str) -> Part:
    """Every block's own updates, in order."""
    n_operands, dtype = _n_operands(scatter), scatter.sum_dtype
    owners = min(MOST_OWNERS, scatter.n_rows)
    rows = -(-scatter.n_rows // owners)
    columns = _columns(scatter)
    groups = THREADS // columns
    scratch = f"p{n_operands - 1}"
    into = f"{scratch} + {scatter.wide_offset}" if scatter.is_widened else f"p{n_operands - 3}"
    with w.block(signature(name, n_operands, THREADS)):
        w.line(f"__shared__ i64 rows[{THREADS}];")
        w.line("__shared__ int is_hit;")
        w.line(f"const i64 low = (i64)blockIdx.x * {rows};")
        w.line(f"const int group = threadIdx.x / {columns}, column = threadIdx.x % {columns};")
        with w.block(f"for (i64 from = 0; from < {scatter.count}; from += {THREADS})"):
            w.line("if (threadIdx.x == 0) is_hit = 0;")
            w.line("__syncthreads();")
            w.line("const i64 own = from + threadIdx.x;")
            w.line(
                f"const i64 ahead = own < {scatter.count} ? ((i64*)({scratch}))[own] - low : -1;"
            )
            w.line(f"const bool is_mine = ahead >= 0 && ahead < {rows};")
            w.line("rows[threadIdx.x] = is_mine ? ahead : -1;")
            w.line("if (is_mine) is_hit = 1;")
            w.line("__syncthreads();")
            w.line("const bool has_work = is_hit;")
            with w.block(f"for (int next = 0; has_work && next < {THREADS}; ++next)"):
                w.line("const i64 row = rows[next];")
                w.line(f"if (row < 0 || row % {groups} != group) continue;")
                kind = index_type(scatter.width)
                with w.block(f"for ({kind} at = column; at < {scatter.width}; at += {columns})"):
                    _bring(w, scatter, dtype, into)
            w.line("__syncthreads();")
    return Part(name, -(-scatter.n_rows // rows), THREADS, static_nbytes=8 * THREADS + 4)


def _bring(w: Writer, scatter: Scatter, dtype: str, into: str) -> None:
    """One element of an update to its place."""
    itemsize = as_dtype(dtype).itemsize
    w.line(f"char* const to = {into} + ((low + row) * {scatter.width} + at) * {itemsize};")
    arriving = _update(scatter, "(from + next)")
    if scatter.op != "set":
        arriving = combined(scatter.op, load(dtype, "to"), arriving)
    w.line(f"const {register(dtype)} made = {arriving};")
    w.line(store(dtype, "to", "made"))


def _update(scatter: Scatter, number: str) -> str:
    """The element that a thread looks at of the update of some number."""
    n_index = len(scatter.shape)
    update = offset_text(number, scatter.shape, scatter.updates[:n_index])
    inside = offset_text("(i64)at", scatter.others, scatter.updates[n_index:])
    return load(scatter.dtype, f"p0 + {update} + {inside}")
