"""The table: every operation, by the facts it is registered with."""

import pytest
from checks import (
    BACKENDS,
    check_complex_refused,
    check_constants,
    check_feeds,
    check_forward,
    check_reject,
    check_special,
    dtypes_of,
    main_dtypes,
)
from derivatives import (
    BY_DEFINITION,
    check_first_order,
    check_no_wrong_derivative,
    check_not_vacuous,
    check_second_order,
    has_derivative,
    operators_of,
    precise_dtypes,
)
from drawing import Case, cases, is_drawable

from graphnn.core.op import REGISTRY
from graphnn.ops.contract import OPERATIONS, Operation, Reject
from graphnn.ops.elementwise import ElementwiseOp

every_case = pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case}-{dtype}")
        for case in cases()
        for dtype in main_dtypes(case.operation)
        if is_drawable(case.sample, dtype)
    ],
)
differentiable = pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case}-{dtype}")
        for case in cases(differentiable=True)
        for dtype in precise_dtypes(case.operation)
        if has_derivative(case, dtype)
    ],
)
on_both = pytest.mark.parametrize("backend", BACKENDS)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case}-{dtype}")
        for case in cases()
        for dtype in dtypes_of(case.operation)
        if is_drawable(case.sample, dtype)
    ],
)
@on_both
def test_values_are_those_of_the_reference(case: Case, dtype: str, backend: str) -> None:
    check_forward(case, dtype, backend)


@every_case
def test_constants_give_what_feeds_give(case: Case, dtype: str) -> None:
    check_constants(case, dtype)


@every_case
@on_both
def test_layout_of_feeds_does_not_matter(case: Case, dtype: str, backend: str) -> None:
    check_feeds(case, dtype, backend)


@differentiable
@on_both
def test_first_derivative(case: Case, dtype: str, backend: str) -> None:
    check_first_order(case, dtype, backend)


@differentiable
def test_second_derivative(case: Case, dtype: str) -> None:
    check_second_order(case, dtype)


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS.values() if each.differentiable],
    ids=lambda each: each.name,
)
def test_derivative_is_not_vacuous(operation: Operation) -> None:
    check_not_vacuous(operation)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case}-{dtype}")
        for case in cases(differentiable=False)
        for dtype in precise_dtypes(case.operation)
        if case.operation.name not in BY_DEFINITION
    ],
)
def test_what_is_not_differentiable_has_no_wrong_derivative(case: Case, dtype: str) -> None:
    check_no_wrong_derivative(case, dtype)


@pytest.mark.parametrize(
    "operation",
    [
        each
        for each in OPERATIONS.values()
        if isinstance(each.function, ElementwiseOp) and "f" in each.dtypes
    ],
    ids=lambda each: each.name,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@on_both
def test_special_values(operation: Operation, dtype: str, backend: str) -> None:
    check_special(operation, dtype, backend)


@pytest.mark.parametrize(
    ("operation", "reject"),
    [
        pytest.param(operation, reject, id=f"{operation.name}-{number}-{reject.words}")
        for operation in OPERATIONS.values()
        for number, reject in enumerate(operation.rejects)
    ],
)
def test_wrong_arguments_are_refused(operation: Operation, reject: Reject) -> None:
    check_reject(operation, reject)


# A cast takes them if it makes others of them; test_complex.py has what it refuses.
@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS.values() if "c" not in each.dtypes and each.name != "cast"],
    ids=lambda each: each.name,
)
def test_complex_numbers_are_refused_where_they_are_not_supported(operation: Operation) -> None:
    check_complex_refused(operation)


UNREACHED = {
    "again": "a view with a number, made by rematerialization alone",
    "parameter": "a leaf that no operation makes",
    "size_of": "a number, unless a dimension has a name",
}
"""Operators that do not appear in the table, and why."""


def test_every_operator_is_reached() -> None:
    """A new operator is tested through some operation, or it is listed with a reason."""
    known = {name for name, op in REGISTRY.items() if op.__module__.startswith("graphnn.")}
    assert known - set().union(*map(operators_of, cases())) == set(UNREACHED)
