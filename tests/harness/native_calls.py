"""Small native functions to build segments from, written by hand."""

import ctypes

import numpy as np

from graphnn.compiler.native.code import Code
from graphnn.compiler.native.library import Request, host_library

_LOOP = """
define void @NAME(ptr %args, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %args
  %from.at = getelementptr ptr, ptr %args, i64 1
  br label %look
look:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %going = icmp slt i64 %i, %end
  br i1 %going, label %body, label %out
body:
BODY
  %next = add i64 %i, 1
  br label %look
out:
  ret void
}
"""

MIX = """
  %from = load ptr, ptr %from.at
  %place = getelementptr i64, ptr %to, i64 %i
  %scaled = mul i64 %i, 7
  %moved = add i64 %scaled, 3
  %other = urem i64 %moved, 64
  %seen.at = getelementptr i64, ptr %from, i64 %other
  %seen = load i64, ptr %seen.at
  %old = load i64, ptr %place
  %five = mul i64 %old, 5
  %sum = add i64 %five, %seen
  %new = add i64 %sum, 1
  store i64 %new, ptr %place
"""
"""``to[i] = 5 * to[i] + from[(7 * i + 3) % 64] + 1``: not what it is if anything comes too early,
too late, twice or never."""

COUNT = """
  %place = getelementptr i64, ptr %to, i64 %i
  %old = load i64, ptr %place
  %new = add i64 %old, 1
  store i64 %new, ptr %place
"""
"""``to[i] += 1``"""

FAIL = """
  %is_it = icmp eq i64 %i, 5
  %nothing = alloca i64
  %where = select i1 %is_it, ptr %to, ptr %nothing
  store i64 77, ptr %where
"""
"""Chunk 5 sets the word to 77; the others, which may run beside it, do not touch it."""


def generator(body):
    """What makes the code of such a function of 64 chunks."""
    return lambda name: Code(_LOOP.replace("NAME", name).replace("BODY", body), ((name, 64),))


def address_of(body):
    (loaded,) = host_library().load([Request(f"tests {body}", generator(body))])
    return loaded.parts[0][0]


def call_now(address, *arrays, begin=0, end=64):
    """Call a part of a kernel from Python."""
    pointers = np.array([each.ctypes.data for each in arrays], "int64")
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)
    function(pointers.ctypes.data, begin, end)


def interval(array):
    return array.ctypes.data, array.ctypes.data + array.nbytes


def mixed(to, source):
    """The same as `MIX`, by NumPy; int64 wraps around in both."""
    i = np.arange(64)
    to[:] = 5 * to + source[(7 * i + 3) % 64] + 1
