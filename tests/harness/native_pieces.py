"""Running the pieces of an operator on memory of any layout."""

from functools import cache

import numpy as np
from native_code import ONE_BY_ONE, NativeCode

import graphnn as gn
from graphnn.compiler.kernel import Kernel
from graphnn.compiler.native.loops import generate
from graphnn.compiler.native.moves import STATUS, pieces_of
from graphnn.compiler.native.target import host_target
from graphnn.compiler.unit import Buffer, Storage, View
from graphnn.compiler.views import contiguous
from graphnn.core.node import make_node
from graphnn.core.op import REGISTRY
from graphnn.core.spec import TensorSpec

GUARD = 256
"""Bytes on both sides of every buffer that must stay as they are."""


class Memory:
    """Buffers with guards around them."""

    def __init__(self):
        self.bytes = {}

    def new(self, nbytes):
        """A buffer, and its number."""
        buffer = Buffer(Storage.ARENA, len(self.bytes), nbytes)
        self.bytes[buffer] = np.full(nbytes + 2 * GUARD, 0xA5, np.uint8)
        return buffer

    def array(self, view):
        """A view's elements."""
        if 0 in view.shape:
            return np.empty(view.shape, view.dtype)
        at = GUARD + view.offset
        return np.ndarray(view.shape, view.dtype, self.bytes[view.buffer], at, view.strides)

    def pointer(self, view):
        """The address of a view's first element."""
        return self.bytes[view.buffer].ctypes.data + GUARD + view.offset

    def check_guards(self):
        """Nothing was written outside of the buffers."""
        for each in self.bytes.values():
            assert (each[:GUARD] == 0xA5).all()
            assert (each[-GUARD:] == 0xA5).all()


def laid_out(memory, array, layout):
    """A view of a copy of an array: "dense", "turned" (axes swapped), "spaced", "backwards"."""
    array = np.asarray(array)
    if layout == "dense" or array.ndim == 0 or array.size == 0:
        view = contiguous(memory.new(array.nbytes), TensorSpec(array.shape, array.dtype))
    elif layout == "turned":
        turned = contiguous(memory.new(array.nbytes), TensorSpec(array.shape[::-1], array.dtype))
        view = View(turned.buffer, 0, array.shape, turned.strides[::-1], array.dtype)
    else:
        room = tuple(2 * size for size in array.shape)
        wide = contiguous(memory.new(2**array.ndim * array.nbytes), TensorSpec(room, array.dtype))
        strides = tuple(2 * step for step in wide.strides)
        offset = 0
        if layout == "backwards":
            offset = (array.shape[-1] - 1) * strides[-1]
            strides = (*strides[:-1], -strides[-1])
        view = View(wide.buffer, offset, array.shape, strides, array.dtype)
    memory.array(view)[...] = array
    return view


def input_node(array):
    """A node that stands for an array whose values are not known."""
    return gn.input("x", array.shape, array.dtype.name)


WAYS = (1, 3, ONE_BY_ONE)
"""In how many ranges the chunks are divided among threads."""


def run_natively(name, arrays, attrs, *, layout="dense", known=(), target=None):
    """An operator's result by its pieces, and the status word; None if it stays on the host.

    Every way to divide the chunks must give the same bits. ``known`` are the positions of inputs
    that are constants of the graph.
    """
    arrays = [np.asarray(each) for each in arrays]
    nodes = [
        gn.constant(each) if number in known else input_node(each)
        for number, each in enumerate(arrays)
    ]
    node = make_node(REGISTRY[name], tuple(nodes), attrs)
    memory = Memory()
    inputs = tuple(laid_out(memory, each, layout) for each in arrays)
    out = contiguous(memory.new(node.tensor.nbytes), node.tensor)
    pieces = pieces_of(node, inputs, (out,))
    if pieces is None:
        return None
    seen = []
    for splits in WAYS:
        memory.bytes[out.buffer][GUARD:-GUARD] = 0x5A
        status = np.zeros(1, np.int64)
        for piece in pieces:
            operands = (
                status if each is STATUS else memory.pointer(each) for each in piece.operands
            )
            _compiled(piece.kernel, target)(*operands, splits=splits)
        memory.check_guards()
        seen.append((memory.array(out).copy(), int(status[0])))
    for other, failed in seen[1:]:
        assert other.tobytes() == seen[0][0].tobytes()
        assert failed == seen[0][1]
    for view, array in zip(inputs, arrays, strict=True):
        assert memory.array(view).tobytes() == array.tobytes()
    return seen[0]


def code_of(kernel, target=None):
    """The generated code of a kernel of any kind."""
    target = target or host_target()
    if isinstance(kernel, Kernel):
        return generate(kernel, target, "work")
    return kernel.generate(target, "work")


@cache
def _compiled(kernel, target):
    return NativeCode(code_of(kernel, target), target)
