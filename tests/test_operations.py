"""The table: every operation, by the facts it is registered with."""

from collections.abc import Callable
from typing import Any

import pytest
from checks import (
    BACKENDS,
    check_constants,
    check_feeds,
    check_forward,
    check_reject,
    check_special,
    dtypes_of,
)
from drawing import Case, cases, is_drawable

from graphnn.ops.contract import OPERATIONS, Operation, Reject
from graphnn.ops.elementwise import ElementwiseOp

every_case = pytest.mark.parametrize("case", cases(), ids=str)
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
def test_constants_give_what_feeds_give(case: Case) -> None:
    check_constants(case)


@every_case
@on_both
def test_layout_of_feeds_does_not_matter(case: Case, backend: str) -> None:
    check_feeds(case, backend)


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS.values() if isinstance(each.function, ElementwiseOp) and "f" in each.dtypes],
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
