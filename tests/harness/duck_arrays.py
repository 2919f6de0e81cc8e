"""Arrays that are NumPy's by another name: what computes on them would on CuPy's.

They know the protocols by which NumPy's functions hand arrays over, take no function and no
argument that CuPy has not, and refuse to become arrays of NumPy on the way.
"""

import inspect
from typing import Any

import numpy as np

# fmt: off
UFUNCS = frozenset({
    "absolute", "add", "arccos", "arcsin", "arctan", "bitwise_and", "bitwise_or", "bitwise_xor",
    "ceil", "conjugate", "cos", "cosh", "divide", "equal", "exp", "exp2", "expm1", "greater",
    "invert", "isfinite", "isinf", "isnan", "left_shift", "less", "less_equal", "log", "log10",
    "log1p", "log2", "logical_not", "matmul", "maximum", "minimum", "multiply", "negative",
    "not_equal", "power", "reciprocal", "right_shift", "sign", "sin", "sinh", "sqrt", "square",
    "subtract", "tan", "tanh",
})
# fmt: on
FUNCTIONS = {
    "arange": "start, stop=None, step=1, dtype=None",
    "argsort": "a, axis=-1, kind=None",
    "concatenate": "tup, axis=0, out=None, *, dtype=None, casting='same_kind'",
    "fft.fftn": "a, s=None, axes=None, norm=None",
    "fft.ifftn": "a, s=None, axes=None, norm=None",
    "fft.irfft": "a, n=None, axis=-1, norm=None",
    "fft.rfft": "a, n=None, axis=-1, norm=None",
    "flip": "a, axis=None",
    "imag": "val",
    "linalg.cholesky": "a",
    "linalg.det": "a",
    "linalg.eigh": "a, UPLO='L'",
    "linalg.inv": "a",
    "linalg.qr": "a, mode='reduced'",
    "linalg.slogdet": "a",
    "linalg.solve": "a, b",
    "linalg.svd": "a, full_matrices=True, compute_uv=True",
    "prod": "a, axis=None, dtype=None, out=None, keepdims=False",
    "real": "val",
    "sum": "a, axis=None, dtype=None, out=None, keepdims=False",
    "swapaxes": "a, axis1, axis2",
    "take_along_axis": "a, indices, axis",
    "where": "condition, x=None, y=None",
    "zeros_like": "a, dtype=None, order='K', subok=None, shape=None",
}
# fmt: off
METHODS = frozenset({
    "T", "all", "any", "astype", "conj", "copy", "dtype", "flags", "imag", "mT", "max", "ndim",
    "ravel", "real", "reshape", "shape", "size", "strides", "sum", "swapaxes", "transpose", "view",
})
# fmt: on
"""What is used, as CuPy 14 has it."""


class Duck(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of NumPy that shows nothing but what an array of CuPy has."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("an array of the device would be copied to the host")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        require(method == "__call__" and ufunc.__name__ in UFUNCS, f"{ufunc.__name__} {method}")
        return wrapped(ufunc(*bare(args), **bare(kwargs)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
        require(name in FUNCTIONS, name)
        signature_of(FUNCTIONS[name]).bind(*args, **kwargs)
        return wrapped(function(*bare(args), **bare(kwargs)))

    def __getitem__(self, index: Any) -> Any:
        return wrapped(self.array[bare(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("an array of the host would be copied to the device")
        self.array[bare(index)] = bare(value)

    def __len__(self) -> int:
        return len(self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __bool__(self) -> bool:
        return bool(self.array)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        require(name in METHODS, f"ndarray.{name}")
        found = getattr(self.array, name)
        if not callable(found):
            return wrapped(found)
        return lambda *args, **kwargs: wrapped(found(*bare(args), **bare(kwargs)))


class OnDevice:
    """A result that lies on a device: what CuPy would copy at a word, and nothing it computes.

    NumPy's functions and operators, matplotlib and scikit-learn meet the error of CuPy.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.__cuda_array_interface__: dict[str, Any] = {}

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __float__(self) -> float:
        return float(self._array)

    def __int__(self) -> int:
        return int(self._array)

    def get(self) -> Any:
        """A copy on the host."""
        return self._array


def require(is_there: bool, name: str) -> None:
    if not is_there:
        raise AssertionError(f"{name} is not in the list of what CuPy has")


def signature_of(text: str) -> inspect.Signature:
    """The signature that a function of CuPy has: "a, axis=-1"."""
    return inspect.signature(eval(f"lambda {text}: None"))


def bare(tree: Any) -> Any:
    """NumPy's arrays in place of ducks."""
    if isinstance(tree, Duck):
        return tree.array
    if isinstance(tree, tuple | list):
        return type(tree)(map(bare, tree))
    if isinstance(tree, dict):
        return {name: bare(each) for name, each in tree.items()}
    return tree


def wrapped(tree: Any) -> Any:
    """Ducks in place of NumPy's arrays and numbers."""
    if isinstance(tree, np.ndarray | np.generic):
        return Duck(tree)
    return tuple(map(wrapped, tree)) if isinstance(tree, list | tuple) else tree
