"""What every operation must satisfy in its values; each check raises AssertionError."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from drawing import Array, Case, draw
from together import Together, as_list, joined, naming_failures, raised_by

import graphnn as gn
from graphnn.core.dtypes import as_dtype, is_bool, is_complex, is_inexact, real_dtype
from graphnn.core.errors import DTypeError, GraphnnError
from graphnn.ops.contract import Operation, Reject
from graphnn.ops.elementwise import ElementwiseOp
from graphnn.ops.operands import dtype_kind

BACKENDS = ("reference", "numpy")

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int64", "int8")
COMPLEXES = ("complex128", "complex64")

ULPS = {"float64": 64, "float32": 64, "float16": 8, "bfloat16": 8}
"""Tolerance in units in the last place, at the size of the largest value of a result.

A result is a few dozen rounded operations at most, and their errors add up like a random walk
(samples have tens of elements). The half floats are computed in float32 and rounded when they
are stored, which a composite does at every primitive: a handful of times.
"""


def dtypes_of(operation: Operation) -> list[str]:
    """The dtypes an operation is tested in."""
    names = {"f": FLOATS, "c": COMPLEXES, "i": INTEGERS, "b": ("bool",)}
    return [name for kind in "fcib" if kind in operation.dtypes for name in names[kind]]


def main_dtypes(operation: Operation) -> list[str]:
    """The dtypes of checks that do not depend on precision: one real and one complex."""
    return [main_dtype(operation)] + ["complex64"] * ("c" in operation.dtypes)


def main_dtype(operation: Operation) -> str:
    """The dtype of checks that one dtype is enough for."""
    return "float32" if "f" in operation.dtypes else "int64" if "i" in operation.dtypes else "bool"


def tolerance(*dtypes: Any) -> float:
    """Relative tolerance of a result that was computed in the coarsest of some dtypes."""
    floats = [real_dtype(as_dtype(each)) for each in dtypes if is_inexact(as_dtype(each))]
    return max((ULPS[d.name] * float(ml_dtypes.finfo(d).eps) for d in floats), default=0.0)


def widen(array: Array) -> Array:
    """What a reference gets: floats in float64, complex in complex128, the rest as it is."""
    if not is_inexact(array.dtype):
        return array
    return array.astype(np.complex128 if is_complex(array.dtype) else np.float64)


def assert_close(actual: Array, expected: Any, rtol: float, what: str) -> None:
    """Values within ``rtol`` of the largest finite one; NaN and infinities where expected."""
    wanted = np.asarray(expected)
    if is_complex(actual.dtype):
        assert_close(actual.real, wanted.real, rtol, what)
        assert_close(actual.imag, wanted.imag, rtol, what)
        return
    if is_inexact(actual.dtype):
        # Where the reference lies beyond a narrower dtype, infinity is right.
        with np.errstate(over="ignore"):
            wanted = wanted.astype(actual.dtype)
    wanted, given = wanted.astype(np.float64), actual.astype(np.float64)
    finite = np.abs(wanted[np.isfinite(wanted)])
    atol = rtol * max(1.0, float(finite.max(initial=0.0)))
    np.testing.assert_allclose(given, wanted, rtol=0.0, atol=atol, err_msg=what)


@naming_failures
def check_forward(cases: Sequence[Case], dtype: str, *backends: str) -> None:
    """Operations give the values of their references, in the shape and dtype of their nodes."""
    graph = Together.of(cases, dtype)
    nodes = graph.outputs()
    before = [array.tobytes() for array in graph.arrays]
    with np.errstate(all="ignore"):
        expected = [
            as_list(drawn.call(case.operation.reference, map(widen, drawn.arrays)))
            for case, drawn in zip(cases, graph.drawn, strict=True)
        ]
    for backend in backends:
        program = gn.compile(joined(graph.inputs), nodes, backend=backend, verify=True)
        results = program(*graph.arrays)
        assert [array.tobytes() for array in graph.arrays] == before, f"{backend} wrote to a feed"
        for case, made, found, references in zip(cases, nodes, results, expected, strict=True):
            what = f"{case} in {dtype} on {backend}"
            for node, result, wanted in zip(made, found, references, strict=True):
                assert (result.shape, result.dtype) == (node.shape, node.dtype), what
                assert result.shape == np.shape(wanted), what
                _assert_same_kind(result, wanted, dtype, what)
                assert_close(result, wanted, tolerance(dtype, node.dtype), what)


def _assert_same_kind(result: Array, wanted: Any, dtype: str, what: str) -> None:
    """A predicate gives bool, a count integers and a size real numbers, as in the reference."""
    given = np.asarray(wanted).dtype
    if is_inexact(as_dtype(dtype)) and dtype_kind(result.dtype) != given.kind:
        raise AssertionError(f"{what}: {result.dtype}, but {given} in the reference")
    assert is_bool(result.dtype) == (given.kind == "b"), what


@naming_failures
def check_constants(cases: Sequence[Case], dtype: str) -> None:
    """Constants give what feeds give: folding computes as the interpreter does.

    (Native code has functions of its own, whose last bits may differ from NumPy's.)
    With exact rules alone, for a constant leaves no ``x / c`` to be made a product.
    """
    graph = Together.of(cases, dtype)
    nodes = joined(graph.outputs())
    program = gn.compile(joined(graph.inputs), nodes, optimize="O1", native="never")
    fed = program(*graph.arrays)
    constants = [[gn.constant(array) for array in each.arrays] for each in graph.drawn]
    nodes = joined(graph.outputs(constants))
    folded = gn.compile([], nodes, optimize="O1", native="never", verify=True)()
    for one, other in zip(fed, folded, strict=True):
        if is_complex(one.dtype):
            # NumPy rounds a single complex product otherwise when it overwrites an operand.
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            assert_close(one, other, 2.0 * float(np.finfo(one.dtype).eps), f"constants in {dtype}")
        else:
            np.testing.assert_array_equal(one, other, strict=True)


@naming_failures
def check_feeds(cases: Sequence[Case], dtype: str, *backends: str) -> None:
    """The layout of a feed in memory changes no bit of the result, and nothing writes to it."""
    graph = Together.of(cases, dtype)
    nodes = joined(graph.outputs())
    layouts = {name: [f(array) for array in graph.arrays] for name, f in LAYOUTS.items()}
    for backend in backends:
        program = gn.compile(joined(graph.inputs), nodes, backend=backend)
        expected = [result.tobytes() for result in program(*graph.arrays)]
        for name, feeds in layouts.items():
            results = program(*feeds)
            assert [each.tobytes() for each in results] == expected, f"{name} on {backend} differ"
            for feed, array in zip(feeds, graph.arrays, strict=True):
                np.testing.assert_array_equal(feed, array, err_msg=f"wrote to {name} feeds")


def _strided(array: Array) -> Array:
    """The same values with a gap after every element."""
    wide = np.zeros((*array.shape, 2), array.dtype)
    wide[..., 0] = array
    return wide[..., 0]


def _reversed(array: Array) -> Array:
    """The same values, stored backwards along every axis."""
    backwards = (slice(None, None, -1),) * array.ndim
    return array[backwards].copy()[backwards]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _swapped(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder())


LAYOUTS = {
    "strided": _strided,
    "reversed": _reversed,
    "column-major": lambda array: np.array(array, order="F"),
    "read-only": _read_only,
    "byte-swapped": _swapped,
}

EVERYWHERE = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan)
"""Values, and pairs and triples of values, that every elementwise operation is evaluated at."""


UNSIGNED_ZERO = {"clip", "maximum", "minimum", "relu", "relu6"}
"""Operations that choose between 0 and -0, which are equal: either is right, as in NumPy."""


def special_operands(operation: Operation) -> list[Array]:
    """An operation's special values beside `EVERYWHERE`, one array per operand."""
    op = operation.function
    assert isinstance(op, ElementwiseOp)
    anything = [(True, False) if i in op.masks else EVERYWHERE for i in range(op.arity)]
    own = [each if isinstance(each, tuple) else (each,) for each in operation.special]
    rows = [*itertools.product(*anything), *own]
    return [
        np.array(column, bool if i in op.masks else np.float64)
        for i, column in enumerate(zip(*rows, strict=True))
    ]


def check_special(operation: Operation, dtype: str, *backends: str) -> None:
    """At special values an elementwise operation is its reference: NaN, infinity, sign of zero."""
    operands = [
        each if is_bool(each.dtype) else each.astype(dtype) for each in special_operands(operation)
    ]
    inputs = [gn.input(f"x{i}", each.shape, each.dtype) for i, each in enumerate(operands)]
    output = operation.function(*inputs)
    with np.errstate(all="ignore"):
        expected = np.asarray(operation.reference(*map(widen, operands)))
        expected = expected.astype(output.dtype)
    for backend in backends:
        result = gn.compile(inputs, output, backend=backend, verify=True)(*operands)
        for place, (given, wanted) in enumerate(zip(result, expected, strict=True)):
            at = ", ".join(str(each[place]) for each in operands)
            what = f"{operation.name}({at}) in {dtype} on {backend} is {given}, not {wanted}"
            assert_close(given, wanted, tolerance(dtype), what)
            if operation.name not in UNSIGNED_ZERO:
                for one, other in ((given.real, wanted.real), (given.imag, wanted.imag)):
                    assert other != 0.0 or np.signbit(one) == np.signbit(other), what


def check_reject(operation: Operation, reject: Reject) -> None:
    """Wrong arguments are refused while the graph is built, in words, at the caller's line."""
    drawn = draw(reject, "float32", np.random.default_rng(0))
    error = raised_by(lambda: drawn.call(operation.function, drawn.inputs()))
    assert isinstance(error, reject.error), f"{operation.name} takes {reject!r}: {error!r}"
    assert reject.words in str(error), f"{reject.words!r} is not in {error}"
    if isinstance(error, GraphnnError):
        place = Path(draw.__code__.co_filename).name  # Drawn.call makes the call
        assert f"built at {place}:" in str(error), f"no line of the caller's in {error}"


def check_complex_refused(operation: Operation) -> None:
    """An operation that does not say that it takes complex numbers refuses them in words."""
    for sample in operation.samples:
        drawn = draw(sample, "complex64", np.random.default_rng(0))
        inputs = drawn.inputs()
        if any(is_complex(node.dtype) for node in inputs):
            error = raised_by(partial(drawn.call, operation.function, inputs))
            assert isinstance(error, DTypeError), f"{operation.name} takes complex64: {error!r}"
