"""The dtypes graphnn knows, their short names, and the one promotion rule.

The rule: ``bool`` gives way to integers, integers to floats; between integers the narrowest
that holds both wins; two *different* floats never mix silently. Python scalars are weak: they
take the dtype of what they meet, unless their kind is higher (``int_node + 0.5`` is float32).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from graphnn.core.errors import DTypeError

__all__ = [
    "BFLOAT16",
    "BOOL",
    "DTYPES",
    "FLOAT16",
    "FLOAT32",
    "FLOAT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "DType",
    "DTypeLike",
    "as_dtype",
    "is_bool",
    "is_floating",
    "is_half",
    "is_integer",
    "promote",
    "short_name",
    "weak_dtype",
]

DType: TypeAlias = "np.dtype[Any]"
DTypeLike: TypeAlias = "str | type | DType"

BOOL: DType = np.dtype("bool")
INT8: DType = np.dtype("int8")
INT16: DType = np.dtype("int16")
INT32: DType = np.dtype("int32")
INT64: DType = np.dtype("int64")
UINT8: DType = np.dtype("uint8")
FLOAT16: DType = np.dtype("float16")
BFLOAT16: DType = np.dtype(ml_dtypes.bfloat16)
FLOAT32: DType = np.dtype("float32")
FLOAT64: DType = np.dtype("float64")

_SHORT = {
    BOOL: "bool",
    INT8: "i8",
    INT16: "i16",
    INT32: "i32",
    INT64: "i64",
    UINT8: "u8",
    FLOAT16: "f16",
    BFLOAT16: "bf16",
    FLOAT32: "f32",
    FLOAT64: "f64",
}
DTYPES: tuple[DType, ...] = tuple(_SHORT)
_FLOATS = frozenset({FLOAT16, BFLOAT16, FLOAT32, FLOAT64})
_INTEGERS = frozenset({INT8, INT16, INT32, INT64, UINT8})
_BY_NAME: dict[Any, DType] = {dtype.name: dtype for dtype in DTYPES} | {
    bool: BOOL,
    int: INT64,
    float: FLOAT32,
}


def as_dtype(dtype: DTypeLike) -> DType:
    """The NumPy dtype that a name, a Python or NumPy type, or a dtype stands for.

    Python's ``int`` is int64, ``float`` is float32 (graphnn's default).

    Raises
    ------
    DTypeError
        If graphnn does not support it (object, string, complex, other widths).
    """
    try:
        found = _BY_NAME.get(dtype)
        if found is None and dtype is not None:  # None is float64 to NumPy
            found = _BY_NAME.get(np.dtype(dtype).newbyteorder("=").name)
    except TypeError:
        found = None
    if found is None:
        shown = dtype.name if isinstance(dtype, np.dtype) else repr(dtype)
        raise DTypeError(
            f"dtype {shown} is not supported",
            hint="one of " + ", ".join(dtype.name for dtype in DTYPES),
        )
    return found


def is_floating(dtype: DType) -> bool:
    """Whether the dtype is one of the four floats."""
    return dtype in _FLOATS


def is_integer(dtype: DType) -> bool:
    """Whether the dtype is an integer (bool is not)."""
    return dtype in _INTEGERS


def is_bool(dtype: DType) -> bool:
    """Whether the dtype is bool."""
    return dtype == BOOL


def is_half(dtype: DType) -> bool:
    """Whether the dtype is stored in 16 bits and computed in float32."""
    return dtype in (FLOAT16, BFLOAT16)


def short_name(dtype: DType) -> str:
    """The name used in dumps and pictures: ``f32``, ``i64``, ``bool``."""
    return _SHORT[dtype]


def _rank(dtype: DType) -> int:
    return 0 if is_bool(dtype) else 1 if is_integer(dtype) else 2


def promote(what: str, *dtypes: DType) -> DType:
    """The dtype that several dtypes share under the one promotion rule.

    Parameters
    ----------
    what : str
        Name of the operator, for the error.
    *dtypes : DType
        At least one.

    Raises
    ------
    DTypeError
        If two different floats meet.
    """
    common = dtypes[0]
    for dtype in dtypes[1:]:
        if dtype == common:
            continue
        if is_floating(common) and is_floating(dtype):
            raise DTypeError(
                f"{what}: {common.name} and {dtype.name} do not mix silently",
                hint=f"cast one of them, e.g. gn.cast(x, {common.name!r})",
            )
        if _rank(common) == _rank(dtype):
            common = np.promote_types(common, dtype)
        elif _rank(dtype) > _rank(common):
            common = dtype
    return common


def weak_dtype(value: bool | int | float, among: DType | None) -> DType:
    """The dtype that a Python scalar takes beside arrays of dtype ``among`` (None: alone)."""
    own = BOOL if isinstance(value, bool) else INT64 if isinstance(value, int) else FLOAT32
    if among is not None and _rank(among) >= _rank(own):
        return among
    return own
