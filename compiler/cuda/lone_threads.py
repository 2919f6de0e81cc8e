"""CUDA code whose threads work by themselves, each on one element or column of the result."""

from __future__ import annotations

from math import prod

from graphnn.compiler.cuda.code import Code
from graphnn.compiler.cuda.indices import decoded, offset_text
from graphnn.compiler.cuda.lowerings import (
    Polygamma,
    Search,
    SparseProduct,
    Substitution,
    WholeConvolution,
)
from graphnn.compiler.cuda.moves import one_each
from graphnn.compiler.cuda.scalars import HALVES, apply, load, register, store
from graphnn.compiler.cuda.writer import Writer

__all__ = ["convolve", "derive", "multiply_sparse", "search", "substitute"]


def search(search: Search, name: str) -> Code:
    """A thread for every value, which halves its row until one place is left."""
    w = Writer()
    part = one_each(w, name, 3, prod(search.shape))
    row = offset_text("number", search.shape, search.rows)
    given = load(search.dtype, f"p1 + {offset_text('number', search.shape, search.values)}")
    w.line(f"const {register(search.dtype)} value = {given};")
    w.line(f"i64 low = 0, high = {search.size};")
    with w.block("while (low < high)"):
        w.line("const i64 middle = (low + high) / 2;")
        element = load(search.dtype, f"p0 + {row} + middle * {search.along}")
        w.line(f"const {register(search.dtype)} element = {element};")
        comes_before = {
            "left": "gn_comes_before(element, value)",
            "right": "!gn_comes_before(value, element)",
        }[search.side]
        w.line(f"if ({comes_before}) low = middle + 1; else high = middle;")
    w.line(store("int64", f"p2 + {offset_text('number', search.shape, search.out)}", "low"))
    w.close()
    return Code(w.text, (part,))


def multiply_sparse(product: SparseProduct, name: str) -> Code:
    """A thread for every element of the result; half floats are summed in float32."""
    w, dtype = Writer(), product.dtype
    *batch, rows, columns = product.shape
    size = rows * columns
    part = one_each(w, name, 6, prod(product.shape))
    w.line(f"const i64 row = number % {size} / {columns}, column = number % {columns};")
    w.line(f"const i64 batch = number / {size};")
    entries = offset_text("batch", batch, product.entries[:-1])
    dense = offset_text("batch", batch, product.dense[:-2])
    w.line(f"{register(dtype)} sum = 0;")
    with w.block("for (i64 at = ((i64*)p2)[row]; at < ((i64*)p2)[row + 1]; ++at)"):
        entry = load(dtype, f"p0 + {entries} + ((i64*)p4)[at] * {product.entries[-1]}")
        inner, along = product.dense[-2:]
        factor = load(dtype, f"p1 + {dense} + ((i64*)p3)[at] * {inner} + column * {along}")
        w.line(f"sum = gn_add(sum, gn_multiply({entry}, {factor}));")
    total = f"gn_round_{dtype}(sum)" if dtype in HALVES else "sum"
    w.line(store(dtype, f"p5 + {offset_text('number', product.shape, product.out)}", total))
    w.close()
    return Code(w.text, (part,))


def substitute(work: Substitution, name: str) -> Code:
    """A thread for every column of every right side, row after row."""
    w, dtype = Writer(), work.dtype
    *batch, size, columns = work.shape
    part = one_each(w, name, 3, prod(batch) * columns)
    w.line(f"const i64 batch = number / {columns}, column = number % {columns};")
    starts = (work.matrix, work.right, work.out)
    for operand, strides in enumerate(starts):
        at = offset_text("batch", batch, strides[:-2])
        beside = f" + column * {strides[-1]}" if operand else ""
        w.line(f"char* const q{operand} = p{operand} + {at}{beside};")
    with w.block(f"for (i64 turn = 0; turn < {size}; ++turn)"):
        w.line(f"const i64 row = {'turn' if work.is_lower else f'{size - 1} - turn'};")
        w.line(f"{register(dtype)} rest = {load(dtype, f'q1 + row * {work.right[-2]}')};")
        known = ("0", "row") if work.is_lower else ("row + 1", str(size))
        with w.block(f"for (i64 other = {known[0]}; other < {known[1]}; ++other)"):
            factor = load(dtype, f"q0 + row * {work.matrix[-2]} + other * {work.matrix[-1]}")
            solved = load(dtype, f"q2 + other * {work.out[-2]}")
            w.line(f"rest = rest - {factor} * {solved};")
        if not work.has_unit_diagonal:
            pivot = load(dtype, f"q0 + row * {work.matrix[-2] + work.matrix[-1]}")
            w.line(f"rest = {apply('divide', dtype, ['rest', pivot], [dtype, dtype])};")
        w.line(store(dtype, f"q2 + row * {work.out[-2]}", "rest"))
    w.close()
    return Code(w.text, (part,))


def derive(work: Polygamma, name: str) -> Code:
    """A thread for every element, which is computed in float64."""
    w, dtype = Writer(), work.dtype
    part = one_each(w, name, 2, prod(work.shape))
    given = load(dtype, f"p0 + {offset_text('number', work.shape, work.given)}")
    w.line(f"const double made = gn_polygamma({work.order}, (double){given});")
    made = apply("cast", dtype, ["made"], ["float64"])
    w.line(store(dtype, f"p1 + {offset_text('number', work.shape, work.out)}", made))
    w.close()
    return Code(w.text, (part,))


def convolve(work: WholeConvolution, name: str) -> Code:
    """A thread for every element of the result, which looks at all that it sees."""
    w, dtype = Writer(), work.dtype
    part = one_each(w, name, 3, prod(work.shape))
    seen = prod(work.window)
    for axis, index in enumerate(decoded("number", work.shape)):
        w.line(f"const i64 i{axis} = {index};")
    w.line(f"{register(dtype)} sum = 0;")
    with w.block(f"for (i64 tap = 0; tap < {seen}; ++tap)"):
        for axis, index in enumerate(decoded("tap", work.window)):
            w.line(f"const i64 j{axis} = {index};")
        x = [f"i0 * {work.x[0]}", f"i1 * {work.x[1]}", f"j0 * {work.x[2]}"]
        for axis, size in enumerate(work.given):
            stride, low = work.stride[axis], work.low[axis]
            ahead = f"{work.dilation[axis]} * j{axis + 1} - {low}"
            sign, every = "-" if work.flip else "+", work.x_dilation[axis]
            w.line(f"const i64 reach{axis} = {stride} * i{axis + 3} {sign} ({ahead});")
            w.line(f"const i64 q{axis} = reach{axis} / {every};")
            w.line(f"if (reach{axis} < 0 || reach{axis} % {every} || q{axis} >= {size}) continue;")
            x.append(f"q{axis} * {work.x[axis + 3]}")
        kernel = [f"i1 * {work.kernel[0]}", f"i2 * {work.kernel[1]}"]
        kernel += [f"j{axis} * {by}" for axis, by in enumerate(work.kernel[2:])]
        factors = (load(dtype, f"p{n} + {' + '.join(each)}") for n, each in enumerate((x, kernel)))
        w.line(f"sum = gn_add(sum, gn_multiply({', '.join(factors)}));")
    w.line(store(dtype, f"p2 + {offset_text('number', work.shape, work.out)}", "sum"))
    w.close()
    return Code(w.text, (part,))
