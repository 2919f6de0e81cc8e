"""The table: every operation, by the facts it is registered with."""

from collections.abc import Callable

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
    operators_of,
    precise_dtypes,
)
from drawing import Case, cases, drawable

from graphnn.core.op import REGISTRY
from graphnn.ops.contract import OPERATIONS, Operation, Reject
from graphnn.ops.elementwise import ElementwiseOp


def every_operation(
    dtypes_of: Callable[[Operation], list[str]], *, differentiable: bool | None = None
) -> pytest.MarkDecorator:
    """A test for every operation and dtype, of all samples whose values the dtype holds."""
    return pytest.mark.parametrize(
        ("cases", "dtype"),
        [
            pytest.param(found, dtype, id=f"{operation.name}-{dtype}")
            for operation in OPERATIONS.values()
            if differentiable is None or operation.differentiable == differentiable
            for dtype in dtypes_of(operation)
            if (found := drawable(operation, dtype))
        ],
    )


@every_operation(dtypes_of)
def test_values_are_those_of_the_reference(cases: list[Case], dtype: str) -> None:
    check_forward(cases, dtype, *BACKENDS)


@every_operation(main_dtypes)
def test_constants_give_what_feeds_give(cases: list[Case], dtype: str) -> None:
    check_constants(cases, dtype)


@every_operation(main_dtypes)
def test_layout_of_feeds_does_not_matter(cases: list[Case], dtype: str) -> None:
    check_feeds(cases, dtype, *BACKENDS)


@every_operation(precise_dtypes, differentiable=True)
def test_first_derivative(cases: list[Case], dtype: str) -> None:
    check_first_order(cases, dtype, *BACKENDS)


@every_operation(precise_dtypes, differentiable=True)
def test_second_derivative(cases: list[Case], dtype: str) -> None:
    check_second_order(cases, dtype)


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
def test_special_values(operation: Operation, dtype: str) -> None:
    check_special(operation, dtype, *BACKENDS)


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
    "argument": "what stands for the arguments of a step inside of a scan; see test_scan.py",
    "cond": "an operation on functions; see test_conditionals.py",
    "parameter": "a leaf that no operation makes",
    "scan": "an operation on functions; see test_scan.py",
    "size_of": "a number, unless a dimension has a name",
    "while_loop": "an operation on functions; see test_while_loop.py",
}
"""Operators that do not appear in the table, and why."""


def test_every_operator_is_reached() -> None:
    """A new operator is tested through some operation, or it is listed with a reason."""
    known = {name for name, op in REGISTRY.items() if op.__module__.startswith("graphnn.")}
    assert known - set().union(*map(operators_of, cases())) == set(UNREACHED)
