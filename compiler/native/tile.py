"""Evaluating a kernel's values at several points at once, and memory accesses with strides.

A *strip* is a row of points along one axis, one for each lane of a vector; fewer lanes than there
are may be in use. For code generators that have found an address for each operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphnn.compiler.kernel import Apply, Index, Kernel, Literal, Load, Product
from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of, suffix_of, vector_of
from graphnn.compiler.native.scalars import (
    apply,
    from_storage,
    literal,
    storage_type,
    to_storage,
)

__all__ = ["ITEMSIZE", "Strip", "evaluate", "load_strip", "load_vector", "store_strip"]

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


def load_vector(b: Builder, address: V, type_: str, valid: int, align: int) -> V:
    """A vector from memory; lanes that are not in use are zero and not read."""
    lanes = lanes_of(type_)
    if valid == lanes:
        return b.load(address, type_, align)
    # AVX2 has masked loads, for elements of four and eight bytes; AVX-512 for all.
    if b.target.vector_bytes >= 64 or (b.target.vector_bytes == 32 and align >= 4):
        name = f"llvm.masked.load.{suffix_of(type_)}.p0"
        b.declared.add(f"declare {type_} @{name}(ptr, <{lanes} x i1>, {type_})")
        where = f"ptr align {align} {address.text}, {_mask(lanes, valid)}"
        return b.emit(type_, f"call {type_} @{name}({where}, {type_} zeroinitializer)")
    short = b.load(address, vector_of(element_of(type_), valid), align)
    if valid == 1:
        return b.emit(type_, f"insertelement {type_} zeroinitializer, {short}, i32 0")
    picked = ", ".join(f"i32 {min(lane, valid)}" for lane in range(lanes))
    others = f"{short.type} zeroinitializer"
    return b.emit(type_, f"shufflevector {short}, {others}, <{lanes} x i32> <{picked}>")


def store_vector(b: Builder, value: V, address: V, valid: int, align: int) -> None:
    """Write the lanes that are in use."""
    lanes = lanes_of(value.type)
    if valid == lanes:
        b.store(value, address, align)
    elif valid == 1:
        b.store(b.lane(value, 0), address, align)
    elif b.target.vector_bytes >= 64:
        name = f"llvm.masked.store.{suffix_of(value.type)}.p0"
        b.declared.add(f"declare void @{name}({value.type}, ptr, <{lanes} x i1>)")
        b.do(f"call void @{name}({value}, ptr align {align} {address.text}, {_mask(lanes, valid)})")
    else:  # masked stores are slow or missing: two or three shorter ones
        short = vector_of(element_of(value.type), valid)
        picked = ", ".join(f"i32 {lane}" for lane in range(valid))
        text = f"shufflevector {value}, {value.type} poison, <{valid} x i32> <{picked}>"
        b.store(b.emit(short, text), address, align)


def _mask(lanes: int, valid: int) -> V:
    bits = ", ".join(f"i1 {int(lane < valid)}" for lane in range(lanes))
    return V(f"<{bits}>", vector_of("i1", lanes))


def load_strip(b: Builder, dtype: str, address: V, stride: int, strip: Strip) -> V:
    """Elements of a dtype, ``stride`` bytes apart, as they are held in registers."""
    stored, size = storage_type(dtype), ITEMSIZE[dtype]
    if stride == 0:
        return b.splat(from_storage(b, dtype, b.load(address, stored, size)), strip.lanes)
    if stride == size or strip.lanes == 1:
        wide = vector_of(stored, strip.lanes)
        return from_storage(b, dtype, load_vector(b, address, wide, strip.valid, size))
    value = V("zeroinitializer", vector_of(stored, strip.lanes))
    for lane in range(strip.valid):
        element = b.load(b.at(address, lane * stride), stored, size)
        value = b.emit(value.type, f"insertelement {value}, {element}, i32 {lane}")
    return from_storage(b, dtype, value)


def store_strip(b: Builder, dtype: str, value: V, address: V, stride: int, strip: Strip) -> None:
    """Write a vector of registers as elements of a dtype, ``stride`` bytes apart."""
    stored, size = to_storage(b, dtype, value), ITEMSIZE[dtype]
    if stride == size or strip.lanes == 1:
        store_vector(b, stored, address, strip.valid, size)
        return
    for lane in range(strip.valid):
        b.store(b.lane(stored, lane), b.at(address, lane * stride), size)


def evaluate(
    b: Builder,
    kernel: Kernel,
    strip: Strip,
    addresses: Sequence[V],
    strides: Sequence[int],
    index: Callable[[int], V],
    product: V | None = None,
) -> None:
    """Compute a kernel without reductions at a strip of points, and store what it gives.

    Parameters
    ----------
    addresses : sequence of V
        Of every operand at the first point.
    strides : sequence of int
        Bytes from one point to the next, for every operand.
    index : callable
        The positions along an axis of the domain, an int64 for each lane.
    product : V, optional
        What a contraction has summed up at these points.
    """
    values: list[V] = []
    dtypes: list[str] = []
    for each in kernel.values:
        match each:
            case Load(operand):
                dtype = kernel.operands[operand].dtype
                value = load_strip(b, dtype, addresses[operand], strides[operand], strip)
            case Literal(dtype, text):
                value = literal(b, dtype, text, strip.lanes)
            case Index(axis):
                dtype, value = "int64", b.splat(index(axis), strip.lanes)
            case Product(dtype):
                assert product is not None, "only a contraction's epilogue has a product"
                value = product
            case Apply(op, dtype, args):
                picked = [values[arg] for arg in args]
                value = apply(b, op, dtype, picked, [dtypes[arg] for arg in args])
            case _:
                raise AssertionError(f"{type(each).__name__} has no place in a strip")
        values.append(value)
        dtypes.append(dtype)
    for operand, number in kernel.stores:
        dtype = kernel.operands[operand].dtype
        assert dtype == dtypes[number], "a store does not convert"
        store_strip(b, dtype, values[number], addresses[operand], strides[operand], strip)
