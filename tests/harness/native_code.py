"""Generated code, compiled and linked as the library does it, that is called on arrays."""

import ctypes
from itertools import pairwise

import numpy as np

from graphnn.compiler.native.objects import compile_object, link_objects
from graphnn.compiler.native.target import host_target

PART = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)

ONE_BY_ONE = 1 << 30
"""More ranges than there are chunks: each chunk is run alone."""

GUARD = 256
"""Bytes behind the scratch memory that must stay as they are."""


class NativeCode:
    """The functions of generated code, for a processor whose code runs here."""

    def __init__(self, code, target=None):
        compiled = compile_object(code.ir, target or host_target())
        addresses = link_objects([compiled], [name for name, _ in code.parts])
        self.parts = [(PART(addresses[name]), n_chunks) for name, n_chunks in code.parts]
        self.scratch_nbytes = code.scratch_nbytes

    def __call__(self, *operands, splits=1):
        """Run on arrays, given by their first elements, or on addresses.

        The chunks of each part are run in so many ranges, the last one first.
        """
        scratch = np.full(64 + self.scratch_nbytes + GUARD, 0xFF, np.uint8)  # NaN, if it is read
        skipped = -scratch.ctypes.data % 64
        addresses = [each if isinstance(each, int) else each.ctypes.data for each in operands]
        table = np.array([*addresses, scratch.ctypes.data + skipped], np.uint64)
        for function, n_chunks in self.parts:
            for begin, end in reversed(ranges(n_chunks, splits)):
                function(table.ctypes.data, begin, end)
        assert (scratch[skipped + self.scratch_nbytes :] == 0xFF).all()


def ranges(count, splits):
    """So many ranges of chunks, about as long as each other."""
    splits = min(splits, count)
    return list(pairwise(sorted({count * i // splits for i in range(splits + 1)})))


def empty(rng, shape, dtype="float32"):
    """Memory for a result in a random order of axes, and the elements around it."""
    order = rng.permutation(len(shape))
    whole = np.full([shape[axis] + 1 for axis in order], 77, dtype)
    inner = whole[(*(slice(0, shape[axis]) for axis in order), ...)]
    return whole, inner.transpose(np.argsort(order))
