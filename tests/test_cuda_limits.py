"""What generated CUDA code may not exceed: numbers of 32 bits, static shared memory."""

from typing import Any

import numpy as np
import pytest
from cuda_shim import ShimDevice

import graphnn as gn
from graphnn.compiler.cuda.code import Part
from graphnn.compiler.cuda.generators import generate
from graphnn.compiler.cuda.indices import decoded, index_type, offset_text, reach
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.native.scattering import Scatter

# ---------------------------------------------------------------------------------- 32 bits


def filtered(examples: int, dtype: str = "float32") -> tuple[list[gn.Node], gn.Node]:
    """A result of 16 times the memory of what it is made from."""
    x, w = gn.input("x", (examples, 1, 1024, 1024), dtype), gn.input("w", (16, 1, 3, 3), dtype)
    return [x, w], gn.conv(x, w, padding=1)


def turned(size: int) -> tuple[list[gn.Node], gn.Node]:
    x, y = gn.input("x", (size, 4096)), gn.input("y", (4096, 1))
    return [x, y], gn.exp(gn.transpose(x)) * y


def apart(size: int) -> tuple[list[gn.Node], gn.Node]:
    x, y = gn.input("x", (size, 1), "bool"), gn.input("y", (1, 1 << 16), "bool")
    return [x, y], x & y


def longest(size: int) -> tuple[list[gn.Node], gn.Node]:
    x, y = gn.input("x", (size, 1, 64)), gn.input("y", (1, 1 << 10, 64))
    return [x, y], gn.max(x * y, axis=2)


@pytest.mark.parametrize(
    ("make", "small", "large", "variable"),
    [
        (filtered, 31, 32, "tile"),
        (lambda n: filtered(n, "float64"), 15, 16, "tile"),
        (turned, 1 << 16, 1 << 17, "column"),
        (apart, (1 << 15) - 2, 1 << 15, "first"),
        (longest, (1 << 15) - 2, 1 << 15, "place"),
    ],
    ids=["tiles", "tiles of float64", "transposition", "points", "rows"],
)
def test_indices_have_64_bits_where_they_must(
    make: Any, small: int, large: int, variable: str
) -> None:
    for size, kind in ((small, "int"), (large, "i64")):
        inputs, output = make(size)
        unit = gn.compile(inputs, output, backend="cupy", verify=False).unit
        (code,) = steps_of(unit)[1]
        assert f"const {kind} {variable} = " in code.source


def test_columns_of_a_scatter_are_counted_with_64_bits_where_they_must() -> None:
    for width, kind in ((1 << 10, "int"), (1 << 31, "i64")):
        x, at, updates = (
            gn.input("x", (2, width)),
            gn.input("at", (3,), "int64"),
            gn.input("u", (width,)),
        )
        summed = gn.scatter_add(x, at, updates)
        unit = gn.compile([x, at, updates], summed, backend="cupy", verify=False).unit
        (work,) = (
            piece.kernel
            for each in unit.instructions
            for piece in each.pieces
            if isinstance(piece.kernel, Scatter)
        )
        assert f"for ({kind} at = column;" in generate(work, "bring").source


def test_a_result_of_several_gibibytes_is_written_to_its_end() -> None:
    inputs, output = filtered(64)
    steps, codes = steps_of(gn.compile(inputs, output, backend="cupy", verify=False).unit)
    ((part,),) = ([launch.does for launch in each.launches] for each in steps)
    assert isinstance(part, Part)
    device = ShimDevice()
    device.every = part.blocks  # the first block, and the last one
    sizes = [int(np.prod(each.shape)) for each in (*inputs, output)]
    x, w, found = (np.zeros(each, "float32") for each in sizes)  # untouched pages take no memory
    w[:] = 1.0
    x[[0, -1]] = 2.0, 3.0
    device.load(codes)[part]([each.ctypes.data for each in (x, w, found)])
    assert [found[0], found[-1], found[-2], found[-3]] == [2.0, 3.0, 3.0, 0.0]


def test_a_number_stands_for_indices_and_bytes() -> None:
    sizes, strides = (3, 1, 4, 5), (100, 7, -20, 1)
    made = [eval(each.replace("/", "//"), {"n": 47}) for each in decoded("n", sizes)]
    assert made == [int(each) for each in np.unravel_index(47, sizes)]
    at = eval(offset_text("n", sizes, strides).replace("/", "//"), {"n": 47})
    assert at == np.dot(made, strides)
    assert reach(strides, sizes) == 200 + 60 + 4
    assert [index_type(each) for each in (10, (1 << 31) - (1 << 16) - 1)] == ["int"] * 2
    assert index_type(10, (1 << 31) - (1 << 16)) == "i64"
