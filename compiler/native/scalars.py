"""Scalar primitives."""
from __future__ import annotations
from collections.abc import Sequence
from graphnn.compiler.native.builder import Builder, V, lanes_of, vector_of

_T = {"float32": "float", "float64": "double", "float16": "half", "bfloat16": "bfloat", "bool": "i8"}

def register_type(dtype: str) -> str:
    if dtype in ("float16", "bfloat16"): return "float"
    if dtype == "bool": return "i1"
    return storage_type(dtype)

def storage_type(dtype: str) -> str:
    return _T.get(dtype) or "i" + dtype.lstrip("uint")

def from_storage(b: Builder, dtype: str, stored: V) -> V:
    if dtype in ("float16", "bfloat16"): return b.cast("fpext", stored, "float")
    if dtype == "bool": return b.compare("icmp ne", stored, b.integer(0, stored.type))
    return stored

def to_storage(b: Builder, dtype: str, value: V) -> V:
    if dtype in ("float16", "bfloat16"): return b.cast("fptrunc", value, storage_type(dtype))
    if dtype == "bool": return b.cast("zext", value, "i8")
    return value

def literal(b: Builder, dtype: str, text: str, lanes: int) -> V:
    t = vector_of(register_type(dtype), lanes)
    return b.real(float.fromhex(text), t) if dtype.startswith(("f", "b")) and dtype != "bool" else b.integer(int(text), t)

def apply(b: Builder, op: str, result: str, args: Sequence[V], dtypes: Sequence[str]) -> V:
    f = result.startswith("f") or result == "bfloat16"
    if op == "cast":
        (a,) = args
        if dtypes[0] == result: return a
        if result in ("float16", "bfloat16"):
            return from_storage(b, result, to_storage(b, result, a))
        raise NotImplementedError
    name = {"add": "add", "multiply": "mul", "subtract": "sub"}.get(op)
    if name: v = b.binary(("f" if f else "") + name, *args)
    elif op == "maximum": v = b.intrinsic("maximum", *args)
    else: raise NotImplementedError(op)
    if result in ("float16", "bfloat16"): v = from_storage(b, result, to_storage(b, result, v))
    return v
