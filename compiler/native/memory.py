"""Reading and writing strips of memory: contiguous, strided, the same for all lanes, in part.

A *strip* is a row of elements, one for each lane of a vector. The last one of a row may have
fewer elements than lanes. Sizes are static, so how many is known when code is printed and masks
are constants; memory behind the row is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of, suffix_of, vector_of
from graphnn.compiler.native.scalars import from_storage, storage_type, to_storage

__all__ = ["ITEMSIZE", "Strip", "load_strip", "mask_of", "pick", "store_strip"]

ITEMSIZE = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}
"""Bytes of an element in memory."""


@dataclass(frozen=True, slots=True)
class Strip:
    """So many lanes, of which the first ``valid`` are in use."""

    lanes: int
    valid: int


def mask_of(strip: Strip) -> V:
    """True for the lanes that are in use."""
    bits = ", ".join(f"i1 {int(lane < strip.valid)}" for lane in range(strip.lanes))
    if strip.lanes == 1:
        return V(str(int(strip.valid > 0)), "i1")
    return V(f"<{bits}>", vector_of("i1", strip.lanes))


def load_strip(b: Builder, dtype: str, address: V, stride: int, strip: Strip) -> V:
    """The elements ``address + lane * stride``, as they are held in registers.

    Parameters
    ----------
    b : Builder
    dtype : str
        Of the elements in memory.
    address : V
        Of the first lane.
    stride : int
        Bytes from lane to lane.
    strip : Strip
        Lanes that are not in use are 0 and not read.
    """
    stored, size = storage_type(dtype), ITEMSIZE[dtype]
    if stride == 0:
        return b.splat(from_storage(b, dtype, b.load(address, stored, size)), strip.lanes)
    if stride == size or strip.lanes == 1:
        value = _load_row(b, address, vector_of(stored, strip.lanes), strip, size)
        return from_storage(b, dtype, value)
    addresses = [b.at(address, lane * stride) for lane in range(strip.valid)]
    return pick(b, dtype, addresses, strip.lanes)


def pick(b: Builder, dtype: str, addresses: Sequence[V], lanes: int) -> V:
    """One element from each address; lanes without an address are 0."""
    stored, size = storage_type(dtype), ITEMSIZE[dtype]
    if lanes == 1:
        return from_storage(b, dtype, b.load(addresses[0], stored, size))
    value = V("zeroinitializer", vector_of(stored, lanes))
    for lane, address in enumerate(addresses):
        element = b.load(address, stored, size)
        value = b.emit(value.type, f"insertelement {value}, {element}, i32 {lane}")
    return from_storage(b, dtype, value)


def store_strip(b: Builder, dtype: str, value: V, address: V, stride: int, strip: Strip) -> None:
    """Write the lanes that are in use to ``address + lane * stride``, as elements of a dtype."""
    stored, size = to_storage(b, dtype, value), ITEMSIZE[dtype]
    if stride == size or strip.lanes == 1:
        _store_row(b, stored, address, strip, size)
        return
    for lane in range(strip.valid):
        b.store(b.lane(stored, lane), b.at(address, lane * stride), size)


def _load_row(b: Builder, address: V, type_: str, strip: Strip, align: int) -> V:
    """Neighbours in memory."""
    if strip.valid == strip.lanes:
        return b.load(address, type_, align)
    # AVX2 has masked loads, for elements of four and eight bytes; AVX-512 for all.
    if b.target.vector_bytes >= 64 or (b.target.vector_bytes == 32 and align >= 4):
        name = f"llvm.masked.load.{suffix_of(type_)}.p0"
        b.declared.add(f"declare {type_} @{name}(ptr, <{strip.lanes} x i1>, {type_})")
        where = f"ptr align {align} {address.text}, {mask_of(strip)}"
        return b.emit(type_, f"call {type_} @{name}({where}, {type_} zeroinitializer)")
    short = b.load(address, vector_of(element_of(type_), strip.valid), align)
    if strip.valid == 1:
        return b.emit(type_, f"insertelement {type_} zeroinitializer, {short}, i32 0")
    picked = ", ".join(f"i32 {min(lane, strip.valid)}" for lane in range(strip.lanes))
    others = f"{short.type} zeroinitializer"
    return b.emit(type_, f"shufflevector {short}, {others}, <{strip.lanes} x i32> <{picked}>")


def _store_row(b: Builder, value: V, address: V, strip: Strip, align: int) -> None:
    lanes, valid = lanes_of(value.type), strip.valid
    if valid == lanes:
        b.store(value, address, align)
    elif valid == 1:
        b.store(b.lane(value, 0), address, align)
    elif b.target.vector_bytes >= 64:
        name = f"llvm.masked.store.{suffix_of(value.type)}.p0"
        b.declared.add(f"declare void @{name}({value.type}, ptr, <{lanes} x i1>)")
        where = f"ptr align {align} {address.text}, {mask_of(strip)}"
        b.do(f"call void @{name}({value}, {where})")
    else:  # masked stores are slow or missing: two or three shorter ones
        short = vector_of(element_of(value.type), valid)
        picked = ", ".join(f"i32 {lane}" for lane in range(valid))
        text = f"shufflevector {value}, {value.type} poison, <{valid} x i32> <{picked}>"
        b.store(b.emit(short, text), address, align)
