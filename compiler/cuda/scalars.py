"""Scalars in CUDA C++: types, numbers, and the expression of every primitive.

`compiler/native/scalars.py` does the same for LLVM; both have the semantics of the operators'
NumPy kernels. Half floats are held as ``float``, rounded to what they can represent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphnn.compiler.native.floats import EXACT
from graphnn.compiler.native.scalars import identity
from graphnn.core.dtypes import as_dtype

__all__ = [
    "HALVES",
    "apply",
    "as_register",
    "as_stored",
    "combined",
    "identity",
    "literal",
    "load",
    "register",
    "register_nbytes",
    "store",
    "stored",
]

HALVES = frozenset({"float16", "bfloat16"})
FLOATS = HALVES | {"float32", "float64"}

_REGISTER = {
    "bool": "bool",
    "int8": "i8",
    "uint8": "u8",
    "int16": "short",
    "int32": "int",
    "int64": "i64",
    "float16": "float",
    "bfloat16": "float",
    "float32": "float",
    "float64": "double",
    "complex64": "gn_complex<float>",
    "complex128": "gn_complex<double>",
}
_STORED = {**_REGISTER, "bool": "u8", "float16": "u16", "bfloat16": "u16"}
_INFIX = {
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
    "logical_and": "&&",
    "logical_or": "||",
    "logical_xor": "!=",
}
_FLOAT_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


def register(dtype: str) -> str:
    """The type of a value while it is computed with."""
    return _REGISTER[dtype]


def register_nbytes(dtype: str) -> int:
    """Bytes of a value while it is computed with."""
    return 4 if dtype in HALVES else as_dtype(dtype).itemsize


def stored(dtype: str) -> str:
    """The type of a value in memory."""
    return _STORED[dtype]


def as_register(dtype: str, text: str) -> str:
    """What lies in memory, as it is computed with."""
    if dtype == "bool":
        return f"({text} != 0)"
    return f"gn_load_{dtype}({text})" if dtype in HALVES else text


def as_stored(dtype: str, value: str) -> str:
    """A value as it lies in memory."""
    return f"gn_store_{dtype}({value})" if dtype in HALVES else f"({_STORED[dtype]}){value}"


def load(dtype: str, address: str) -> str:
    """The element at an address (of bytes), as it is computed with."""
    return as_register(dtype, f"*({_STORED[dtype]}*)({address})")


def store(dtype: str, address: str, value: str) -> str:
    """The statement that writes a value to an address."""
    return f"*({_STORED[dtype]}*)({address}) = {as_stored(dtype, value)};"


def literal(dtype: str, text: str) -> str:
    """The constant of a `graphnn.compiler.kernel.Literal`."""
    if dtype not in FLOATS:
        return f"({register(dtype)}){_whole(int(text))}"
    number = float.fromhex(text)
    is_double = dtype == "float64"
    if not math.isfinite(number):
        bits = (_BITS64 if is_double else _BITS32)[str(number)]
        return f"gn_double(0x{bits}ull)" if is_double else f"gn_float(0x{bits}u)"
    written = repr(number) if is_double else f"{number.hex()}f"
    return f"({written})" if written.startswith("-") else written


def _whole(number: int) -> str:
    """An integer; the least int64 is the negative of what is no int64."""
    if number == -(1 << 63):
        return "0x8000000000000000ull"
    return f"({number}ll)"


_BITS32 = {"nan": "7fc00000", "inf": "7f800000", "-inf": "ff800000"}
_BITS64 = {"nan": "7ff8000000000000", "inf": "7ff0000000000000", "-inf": "fff0000000000000"}


def apply(op: str, result: str, args: Sequence[str], dtypes: Sequence[str]) -> str:
    """A primitive applied to values.

    Parameters
    ----------
    op : str
        Name of the operator, or "cast".
    result : str
        Dtype of the result.
    args : sequence of str
        Variables or numbers.
    dtypes : sequence of str
        Of the arguments.
    """
    if op == "cast":
        return _cast(result, args[0], dtypes[0])
    if op == "where":
        return f"({args[0]} ? {args[1]} : {args[2]})"
    if op == "logical_not":
        return f"!{args[0]}"
    if op in _INFIX:
        return f"({args[0]} {_INFIX[op]} {args[1]})"
    if dtypes[0] not in FLOATS:
        return f"gn_{op}({', '.join(args)})"
    if op == "negative":
        return f"-{args[0]}"
    infix = _FLOAT_INFIX.get(op)
    made = f"({args[0]} {infix} {args[1]})" if infix else f"gn_{op}({', '.join(args)})"
    return f"gn_round_{result}({made})" if result in HALVES and op not in EXACT else made


def combined(op: str, x: str, y: str) -> str:
    """Two values of a reduction in one; sums of half floats stay unrounded."""
    return f"gn_{op}::of({x}, {y})"


def _cast(result: str, x: str, dtype: str) -> str:
    if result == dtype:
        return x
    if result == "bool":
        return f"({x} != 0)"
    if result in FLOATS:
        if result in HALVES:
            wide = f"gn_to_odd({x})" if (dtype, result) == ("float64", "float16") else f"(float){x}"
            return f"gn_round_{result}({wide})"
        return f"({register(result)}){x}"
    through = "gn_to_int64" if result == "int64" else "gn_to_int32"
    return f"({register(result)}){through}({x})"
