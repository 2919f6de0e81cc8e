"""Scalar primitives: the code of every elementwise operator that has a NumPy kernel, and of casts.

The one place where code generators ask for the meaning of a `graphnn.compiler.kernel.Apply`, a
`Literal` or a `Reduce`. Values are as `register_type` says, scalars or vectors; results have the
bits that the reference has wherever IEEE arithmetic fixes them, and are within `max_ulp` elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.casts import cast
from graphnn.compiler.native.floats import EXACT, FLOATS
from graphnn.compiler.native.integers import INTEGERS
from graphnn.compiler.native.math.functions import FUNCTIONS
from graphnn.compiler.native.math.lanes import Lanes
from graphnn.compiler.native.storage import (
    HALVES,
    from_storage,
    register_type,
    rounded,
    storage_type,
    to_storage,
)

__all__ = [
    "apply",
    "combine",
    "from_storage",
    "identity",
    "is_native",
    "literal",
    "max_ulp",
    "register_type",
    "rounded",
    "storage_type",
    "to_storage",
]

_FLOATS = frozenset({"float32", "float64"}) | HALVES
_INTEGERS = frozenset({"int8", "uint8", "int16", "int32", "int64"})
_REAL = _FLOATS | _INTEGERS | {"bool"}
_LEAST = {
    "bool": "0",
    "uint8": "0",
    **{f"int{width}": str(-(1 << (width - 1))) for width in (8, 16, 32, 64)},
}
_LARGEST = {
    "bool": "1",
    "uint8": "255",
    **{f"int{width}": str((1 << (width - 1)) - 1) for width in (8, 16, 32, 64)},
}
_COMBINED = {
    "sum": "add",
    "prod": "multiply",
    "max": "maximum",
    "min": "minimum",
    "any": "logical_or",
    "all": "logical_and",
}


def literal(b: Builder, dtype: str, text: str, lanes: int = 1) -> V:
    """The constant of a `graphnn.compiler.kernel.Literal`, in all lanes."""
    type_ = vector_of(register_type(dtype), lanes)
    if dtype in _FLOATS:
        return b.real(float.fromhex(text), type_)
    return b.integer(int(text), type_)


def is_native(op: str, dtypes: Sequence[str]) -> bool:
    """Whether there is code for a primitive (or "cast") on arguments of these dtypes."""
    if not all(dtype in _REAL for dtype in dtypes):
        return False
    if op in ("cast", "where"):
        return True
    if dtypes[0] in _FLOATS:
        return op in FLOATS or op in FUNCTIONS
    return op in INTEGERS


def apply(b: Builder, op: str, result: str, args: Sequence[V], dtypes: Sequence[str]) -> V:
    """A primitive applied to scalars or vectors.

    Parameters
    ----------
    b : Builder
    op : str
        Name of the operator, or "cast".
    result : str
        Dtype of the result.
    args : sequence of V
        Of the types that `register_type` gives, all with as many lanes.
    dtypes : sequence of str
        Of the arguments.

    Returns
    -------
    V
        A half float is rounded.
    """
    if op == "cast":
        return cast(b, result, args[0], dtypes[0])
    if op == "where":
        return b.select(*args)
    given = [Lanes(b, each) for each in args]
    if dtypes[0] not in _FLOATS:
        return INTEGERS[op](given, dtypes[0]).value
    made = (FLOATS.get(op) or FUNCTIONS[op].code)(given).value
    return made if op in EXACT else rounded(b, result, made)


def identity(op: str, dtype: str) -> str:
    """What a reduction starts with: the text of a `graphnn.compiler.kernel.Literal`."""
    is_float = dtype in _FLOATS
    if op in ("sum", "prod"):
        number = 0 if op == "sum" else 1
        return float(number).hex() if is_float else str(number)
    if op in ("any", "all"):
        return "0" if op == "any" else "1"
    if is_float:
        return "-inf" if op == "max" else "inf"
    return _LEAST[dtype] if op == "max" else _LARGEST[dtype]


def combine(b: Builder, op: str, dtype: str, a: V, c: V) -> V:
    """Two values of a reduction in one; sums of half floats stay unrounded."""
    if dtype in _FLOATS:
        return FLOATS[_COMBINED[op]]([Lanes(b, a), Lanes(b, c)]).value
    return INTEGERS[_COMBINED[op]]([Lanes(b, a), Lanes(b, c)], dtype).value


def max_ulp(op: str, dtype: str) -> float | None:
    """The largest error, in units of the last place of the exact result.

    0.5 is exact rounding. Half floats have the error of float32, rounded to them. None where
    there is no code, or where the error is bounded in absolute terms alone.
    """
    if not is_native(op, (dtype,)):
        return None
    if dtype in _FLOATS and op in FUNCTIONS:
        return FUNCTIONS[op].ulp64 if dtype == "float64" else FUNCTIONS[op].ulp32
    return 0.5
