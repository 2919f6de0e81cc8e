"""Running the pieces of an operator on memory of any layout."""

import ctypes
from itertools import pairwise

import numpy as np
from native_kernel import compiled

import graphnn as gn
from graphnn.compiler.kernel import Kernel
from graphnn.compiler.native.loops import generate
from graphnn.compiler.native.moves import STATUS, pieces_of
from graphnn.compiler.native.target import host_target
from graphnn.compiler.passes.lower import contiguous
from graphnn.compiler.unit import Buffer, Storage, View
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


def splits(count):
    """Ways to divide chunks among threads: all at once, and one by one from the last."""
    yield [(0, count)]
    yield [(each, each + 1) for each in reversed(range(count))]
    cuts = sorted({0, count // 3, count // 2, count})
    yield list(pairwise(cuts))


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
    programs = [_program(piece, memory, target) for piece in pieces]
    seen = []
    for way in range(3):
        memory.bytes[out.buffer][GUARD:-GUARD] = 0x5A
        status = np.zeros(1, np.int64)
        for call in programs:
            call(status, way)
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


_CALLS = {}


def _program(piece, memory, target):
    """A call that carries a piece out, its chunks divided in one of three ways."""
    if (piece.kernel, target) not in _CALLS:
        code = code_of(piece.kernel, target)
        _CALLS[piece.kernel, target] = (code, *compiled(code, target))
    code, functions, _engine = _CALLS[piece.kernel, target]

    def call(status, way):
        scratch = np.full(code.scratch_nbytes + 64 + GUARD, 0xA5, np.uint8)
        pointers = [
            status.ctypes.data if each is STATUS else memory.pointer(each)
            for each in piece.operands
        ]
        start = scratch.ctypes.data + -scratch.ctypes.data % 64
        table = (ctypes.c_void_p * (len(pointers) + 1))(*pointers, start)
        for function, count in functions:
            for begin, end in list(splits(count))[way]:
                function(ctypes.addressof(table), begin, end)
        behind = start - scratch.ctypes.data + code.scratch_nbytes
        assert (scratch[behind:] == 0xA5).all()

    return call
