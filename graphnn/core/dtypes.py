"""The dtypes graphnn knows, their short names, and the one promotion rule.

The rule: ``bool`` gives way to integers, integers to floats, floats to complex numbers of the same
precision; between integers the narrowest that holds both wins; two *different* precisions never
mix silently. Python scalars are weak: they take the dtype of what they meet, unless their kind is
higher (``int_node + 0.5`` is float32).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from graphnn.core.errors import DTypeError

__all__ = [
    "BFLOAT16",
    "BOOL",
    "COMPLEX64",
    "COMPLEX128",
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
    "complex_dtype",
    "is_bool",
    "is_complex",
    "is_floating",
    "is_half",
    "is_inexact",
    "is_integer",
    "name_of",
    "promote",
    "real_dtype",
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
COMPLEX64: DType = np.dtype("complex64")
COMPLEX128: DType = np.dtype("complex128")

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
    COMPLEX64: "c64",
    COMPLEX128: "c128",
}
DTYPES: tuple[DType, ...] = tuple(_SHORT)
_FLOATS = frozenset({FLOAT16, BFLOAT16, FLOAT32, FLOAT64})
_REAL = {COMPLEX64: FLOAT32, COMPLEX128: FLOAT64}
_COMPLEX = {FLOAT16: COMPLEX64, BFLOAT16: COMPLEX64, FLOAT32: COMPLEX64, FLOAT64: COMPLEX128}
_INTEGERS = frozenset({INT8, INT16, INT32, INT64, UINT8})
_BY_NAME: dict[Any, DType] = {
    **{dtype.name: dtype for dtype in DTYPES},
    **{dtype: dtype for dtype in DTYPES},
    bool: BOOL,
    int: INT64,
    float: FLOAT32,
    complex: COMPLEX64,
}


def as_dtype(dtype: DTypeLike) -> DType:
    """The NumPy dtype that a name, a Python or NumPy type, or a dtype stands for.

    Python's ``int`` is int64, ``float`` is float32 (graphnn's default), ``complex`` complex64.

    Raises
    ------
    DTypeError
        If graphnn does not support it (object, string, other widths).
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


def is_complex(dtype: DType) -> bool:
    """Whether the dtype is complex."""
    return dtype in _REAL


def is_inexact(dtype: DType) -> bool:
    """Whether the dtype is a float or complex: derivatives flow through these."""
    return dtype in _FLOATS or dtype in _REAL


def is_integer(dtype: DType) -> bool:
    """Whether the dtype is an integer (bool is not)."""
    return dtype in _INTEGERS


def is_bool(dtype: DType) -> bool:
    """Whether the dtype is bool."""
    return dtype == BOOL


def is_half(dtype: DType) -> bool:
    """Whether the dtype is stored in 16 bits and computed in float32."""
    return dtype in (FLOAT16, BFLOAT16)


def real_dtype(dtype: DType) -> DType:
    """The dtype of the real part of a complex number; other dtypes as they are."""
    return _REAL.get(dtype, dtype)


def complex_dtype(dtype: DType) -> DType:
    """The dtype of complex numbers whose parts hold a float; complex dtypes as they are."""
    return _COMPLEX.get(dtype, dtype)


@cache
def name_of(dtype: DType) -> str:
    """``dtype.name``, which NumPy puts together anew each time."""
    return str(dtype.name)


def short_name(dtype: DType) -> str:
    """The name used in dumps and pictures: ``f32``, ``i64``, ``bool``."""
    return _SHORT[dtype]


_RANK: dict[DType, int] = {
    BOOL: 0,
    **dict.fromkeys(_INTEGERS, 1),
    **dict.fromkeys(_FLOATS, 2),
    **dict.fromkeys(_REAL, 3),
}
"""Which kind gives way to which."""


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
        If two floats (or the parts of complex numbers) of different dtypes meet.
    """
    common = dtypes[0]
    for dtype in dtypes[1:]:
        if dtype == common:
            continue
        are_inexact = is_inexact(common) and is_inexact(dtype)
        if are_inexact and real_dtype(common) != real_dtype(dtype):
            raise DTypeError(
                f"{what}: {common.name} and {dtype.name} do not mix silently",
                hint=_how_to_mix(common, dtype),
            )
        if _RANK[common] == _RANK[dtype]:
            common = np.promote_types(common, dtype)
        elif _RANK[dtype] > _RANK[common]:
            common = dtype
    return common


def _how_to_mix(one: DType, other: DType) -> str:
    """A cast that loses nothing but digits: never of a complex number to a float."""
    target = one
    if is_complex(one) != is_complex(other):
        target = real_dtype(one if is_complex(one) else other)
    return f"cast one of them, e.g. gn.cast(x, {target.name!r})"


def weak_dtype(value: bool | int | float | complex, among: DType | None) -> DType:
    """The dtype that a Python scalar takes beside arrays of dtype ``among`` (None: alone).

    Raises
    ------
    DTypeError
        For a complex number beside a half float: there is no complex dtype of that precision.
    """
    for own in (bool, int, float, complex):  # also subclasses, such as NumPy's float64
        if isinstance(value, own):
            dtype = _BY_NAME[own]
            break
    if among is None:
        return dtype
    if dtype is COMPLEX64 and is_half(among):
        raise DTypeError(
            f"there are no complex numbers of the precision of {among.name}",
            hint="cast the half float first, e.g. gn.cast(x, 'float32')",
        )
    if dtype is COMPLEX64 and is_floating(among):
        return complex_dtype(among)
    return among if _RANK[among] >= _RANK[dtype] else dtype
