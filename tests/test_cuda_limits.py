"""What generated CUDA code may not exceed: numbers of 32 bits, static shared memory."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cuda_shim import ShimDevice, require_static_memory
from recording_device import RecordingDevice

import graphnn as gn
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda.code import Part
from graphnn.compiler.cuda.generators import generate
from graphnn.compiler.cuda.indices import decoded, index_type, offset_text, reach
from graphnn.compiler.cuda.side_by_side import extent_of, steps_of
from graphnn.compiler.kernel import Kernel, Operand
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


# ---------------------------------------------------------------------------- shared memory


def mixed(size: int) -> tuple[list[gn.Node], gn.Node]:
    """Three tiles of doubles."""
    a, b, c, d = (gn.input(f"{word}{size}", (size, size), "float64") for word in "abcd")
    return [a, b, c, d], gn.transpose(a) * gn.transpose(b) + gn.transpose(c) * d


def turned_once(size: int) -> tuple[list[gn.Node], gn.Node]:
    x = gn.input(f"x{size}", (size, size))
    return [x], gn.exp(gn.transpose(x)) + 1.0


@pytest.mark.parametrize(("make", "count", "most"), [(mixed, 2, 2), (turned_once, 16, 2)])
def test_joined_launches_share_no_more_memory_than_there_is(
    make: Any, count: int, most: int
) -> None:
    made = [make(64 + n) for n in range(count)]
    inputs = [each for some, _ in made for each in some]
    outputs = [output for _, output in made]
    unit = gn.compile(inputs, outputs, backend="cupy").unit
    device = RecordingDevice()  # which looks at what functions declare
    DeviceExecutable(unit, device).run([np.zeros(each.shape, each.dtype) for each in inputs])
    assert len(device.launched) == most


def test_tiles_of_what_is_large_are_fewer() -> None:
    x, y, z = (gn.input(word, (64, 64), "complex128") for word in "xyz")
    joined = gn.concatenate([gn.transpose(each) for each in (x, y, z)], 0)
    require_static_memory(steps_of(gn.compile([x, y, z], joined, backend="cupy").unit)[1])


def test_axes_of_one_size_and_stride_are_two() -> None:
    x = gn.input("x", (1, 1, 5, 5))
    unit = gn.compile(x, gn.avg_pool(x, (3, 3), stride=1), backend="cupy").unit
    (piece,) = (each for instruction in unit.instructions for each in instruction.pieces)
    assert isinstance(piece.kernel, Kernel)
    assert piece.kernel.sizes == (3, 3)
    for strides, nbytes in (((20, 4), 52), ((4, 4), 20), ((4, 0), 12)):
        kernel = replace(piece.kernel, operands=(Operand("float32", strides),))
        extent = extent_of(unit, kernel, 0, piece.operands[0], is_whole=False)
        assert extent.last - extent.first == reach(strides, kernel.sizes) + 4 == nbytes
