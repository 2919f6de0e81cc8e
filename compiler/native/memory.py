"""Reading and writing vectors: contiguous, strided, backwards, the same for all lanes, in part.

The last vector of a row may have fewer elements than lanes. Sizes are static, so how many is
known when code is printed and masks are constants; memory behind the row is never touched.
"""

from __future__ import annotations

from graphnn.compiler.native.builder import Builder, V, lanes_of, suffix_of, vector_of
from graphnn.compiler.native.scalars import from_storage, storage_type, to_storage
from graphnn.core.dtypes import as_dtype

__all__ = ["mask_of", "pick", "read", "write"]


def mask_of(lanes: int, count: int) -> V:
    """True for the first ``count`` lanes."""
    bits = ", ".join(f"i1 {int(lane < count)}" for lane in range(lanes))
    return V(f"<{bits}>", vector_of("i1", lanes)) if lanes > 1 else V(str(int(count > 0)), "i1")


def read(b: Builder, dtype: str, address: V, stride: int, lanes: int, count: int) -> V:
    """The elements ``address + lane * stride`` as a value in registers.

    Parameters
    ----------
    b : Builder
    dtype : str
        Of the elements in memory.
    address : V
        Of the first lane.
    stride : int
        Bytes from lane to lane.
    lanes, count : int
        Lanes of the result, and how many of them exist in memory; the others are 0.

    Returns
    -------
    V
    """
    element, itemsize = storage_type(dtype), as_dtype(dtype).itemsize
    if stride == 0 or lanes == 1:
        one = from_storage(b, dtype, b.load(address, element, itemsize))
        return b.splat(one, lanes)
    if stride == itemsize:
        stored = _read_contiguous(b, element, itemsize, address, lanes, count)
    else:
        stored = _gathered(b, element, itemsize, [b.at(address, i * stride) for i in range(count)])
        stored = _widened(b, stored, lanes)
    return from_storage(b, dtype, stored)


def pick(b: Builder, dtype: str, addresses: list[V], lanes: int) -> V:
    """One element from each address; lanes without an address are 0."""
    element, itemsize = storage_type(dtype), as_dtype(dtype).itemsize
    stored = _gathered(b, element, itemsize, addresses)
    return from_storage(b, dtype, _widened(b, stored, lanes))


def write(b: Builder, dtype: str, value: V, address: V, stride: int, count: int) -> None:
    """Write the first ``count`` lanes to ``address + lane * stride``."""
    itemsize, lanes = as_dtype(dtype).itemsize, lanes_of(value.type)
    stored = to_storage(b, dtype, value)
    if lanes == 1 or (stride == itemsize and count == lanes):
        b.store(stored, address, itemsize)
    elif stride == itemsize:
        mask, align = mask_of(lanes, count), V(str(itemsize), "i32")
        name = f"llvm.masked.store.{suffix_of(stored.type)}.p0"
        b.call(name, "void", stored, address, align, mask)
    else:
        for lane in range(count):
            b.store(b.lane(stored, lane), b.at(address, lane * stride), itemsize)


def _read_contiguous(
    b: Builder, element: str, itemsize: int, address: V, lanes: int, count: int
) -> V:
    wide = vector_of(element, lanes)
    if count == lanes:
        return b.load(address, wide, itemsize)
    mask, align = mask_of(lanes, count), V(str(itemsize), "i32")
    name = f"llvm.masked.load.{suffix_of(wide)}.p0"
    return b.call(name, wide, address, align, mask, V("zeroinitializer", wide))


def _gathered(b: Builder, element: str, itemsize: int, addresses: list[V]) -> V:
    """A vector of what is at some addresses, one lane each."""
    wide = vector_of(element, len(addresses))
    if len(addresses) == 1:
        return b.load(addresses[0], element, itemsize)
    total = V("zeroinitializer", wide)
    for lane, address in enumerate(addresses):
        one = b.load(address, element, itemsize)
        total = b.emit(wide, f"insertelement {total}, {one}, i32 {lane}")
    return total


def _widened(b: Builder, value: V, lanes: int) -> V:
    """The vector with zeros behind it."""
    count = lanes_of(value.type)
    if count == lanes:
        return value
    if count == 1:
        wide = vector_of(value.type, lanes)
        return b.emit(wide, f"insertelement {wide} zeroinitializer, {value}, i32 0")
    order = ", ".join(f"i32 {min(lane, count)}" for lane in range(lanes))
    zeros = V("zeroinitializer", value.type)
    wide = value.type.replace(f"<{count} ", f"<{lanes} ")
    return b.emit(wide, f"shufflevector {value}, {zeros}, <{lanes} x i32> <{order}>")
