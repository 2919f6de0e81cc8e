"""The checks can fail: each breaks something on purpose and sees the check that notices it."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from checks import check_feeds, check_forward, check_reject, check_special
from derivatives import (
    check_first_order,
    check_no_wrong_derivative,
    check_not_vacuous,
    check_second_order,
    precise_dtypes,
)
from drawing import Case
from random_graphs import OPERATORS, Leaf, Recipe, Step, check_compilation

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.backends import interpreted as interpreter
from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.pattern import Apply, Exactness, Rule, RuleBook, Var, op, rule
from graphnn.compiler.unit import Unit
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node
from graphnn.core.op import REGISTRY
from graphnn.ops.contract import OPERATIONS, Arg, Reject

fails = pytest.raises(AssertionError)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is broken here are NumPy's kernels, and how they are called."""
    monkeypatch.setitem(BACKENDS, "numpy", InterpretedExecutable)


def case(name: str, index: int = 1) -> Case:
    return Case(OPERATIONS[name], index)


# --------------------------------------------------------------------------------- derivatives


def test_wrong_sign_of_a_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.sin, "_partials", lambda x, y: (-gn.cos(x),))
    with fails:
        check_first_order([case("sin")], "float64", "reference")


def test_swapped_partials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.multiply, "_partials", lambda x, y, result: (x, y))
    with fails:
        check_first_order([case("multiply")], "float64", "numpy")


def test_partial_that_is_right_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.sin, "_partials", lambda x, y: (gn.stop_gradient(gn.cos(x)),))
    check_first_order([case("sin")], "float64", "reference")
    with fails:
        check_second_order([case("sin")], "float64")


def test_partial_that_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.sin, "_partials", lambda x, y: (None,))
    with fails:
        check_not_vacuous(OPERATIONS["sin"])
    with fails:
        check_first_order([case("sin")], "float64", "reference")


def test_partial_of_complex_numbers_that_is_conjugated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.sin, "_partials", lambda x, y: (gn.conj(gn.cos(x)),))
    check_first_order([case("sin", 0)], "float64", "reference")
    with fails:
        check_first_order([case("sin", 0)], "complex128", "reference")


@pytest.mark.parametrize("operator", ["imag", "rfft", "irfft"])
def test_adjoint_instead_of_a_transpose(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(REGISTRY[operator])
    right = kind.transpose

    def adjoint(self: Any, node: Node, cotangent: Node, index: int) -> Node:
        return gn.conj(right(self, node, gn.conj(cotangent), index))

    monkeypatch.setattr(kind, "transpose", adjoint)
    with fails:
        check_first_order(
            [case(operator, 0)], precise_dtypes(OPERATIONS[operator])[-1], "reference"
        )


def test_partial_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.floor_divide, "_partials", lambda x, y, result: (1, None))
    with fails:
        check_no_wrong_derivative(case("floor_divide"), "float64")


@pytest.mark.parametrize(
    ("operator", "name"),
    [("dot_general", "matmul"), ("sum", "sum"), ("slice", "getitem"), ("gather", "take")],
)
def test_transpose_that_is_twice_too_large(
    operator: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(REGISTRY[operator])
    right = kind.transpose

    def wrong(self: Any, node: Node, cotangent: Node, index: int) -> Node | None:
        found = right(self, node, cotangent, index)
        return None if found is None else found * 2.0

    monkeypatch.setattr(kind, "transpose", wrong)
    with fails:
        check_first_order([case(name, 0)], "float64", "reference")


# ------------------------------------------------------------------------------------- kernels


def test_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.exp, "kernel", np.expm1)
    for backend in ("reference", "numpy"):
        with fails:
            check_forward([case("exp")], "float32", backend)


def test_samples_that_fail_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.exp, "kernel", np.expm1)
    with pytest.raises(AssertionError, match=r"^1 of 2 samples fail alone\nexp-1-"):
        check_forward([case("exp"), case("sin")], "float32", "reference")


def test_kernel_of_too_few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.exp, "kernel", lambda x: np.exp(x) * (1.0 + 2.0**-16))
    with fails:
        check_forward([case("exp")], "float32", "reference")
    check_forward([case("exp")], "bfloat16", "reference")


def test_kernel_that_drops_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.maximum, "kernel", np.fmax)
    with fails:
        check_special(OPERATIONS["maximum"], "float32", "numpy")


def test_kernel_that_loses_the_sign_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.negative, "kernel", lambda x: 0 - x)
    with fails:
        check_special(OPERATIONS["negative"], "float64", "reference")


def test_kernel_that_writes_to_its_operand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.negative, "kernel", lambda x: np.negative(x, out=x))
    with fails:
        check_feeds([case("negative")], "float32", "reference")


def test_rejection_in_other_words() -> None:
    with fails:
        check_reject(OPERATIONS["sum"], Reject(ShapeError, "too many", Arg((3,)), 2))
    with fails:
        check_reject(OPERATIONS["sum"], Reject(ShapeError, "out of range", Arg((3,)), 0))


# -------------------------------------------------------------------------------- the compiler


def check_every_operator() -> None:
    """Each operator of the pool once, between two arrays, with gradients and an update."""
    leaves = (Leaf((2, 3), 1, (), False), Leaf((2, 3), 2, (), True))
    for number in range(OPERATORS):
        steps = (Step(0, 0, 0, 0), Step(number, 2, 1, 1), Step(number, 1, 2, 0))
        check_compilation(Recipe(leaves, steps, (3,), with_gradient=True), "float32")


def test_every_operator_of_the_pool() -> None:
    check_every_operator()


x = Var("x")


def _wrong(pattern: Apply, build: Callable[[Node], Node]) -> Rule:
    return rule(Exactness.EXACT, pattern)(build)


@pytest.mark.parametrize(
    "broken",
    [
        _wrong(op("divide", x, 4.0), lambda x: x),
        _wrong(op("sqrt", op("square", x)), lambda x: x),
        _wrong(op("tanh", x), lambda x: x * 0.999),
        _wrong(op("flip", x), lambda x: x),
    ],
    ids=["quotient", "root of a square", "three digits", "lost flip"],
)
def test_wrong_rewrite_rule(broken: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    simplify = import_module("graphnn.compiler.passes.simplify")
    monkeypatch.setattr(simplify, "_book", lambda kinds: RuleBook([broken]))
    with fails:
        check_every_operator()


def test_wrong_kernel_of_the_executor_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate_into(self: Any, out: Any, value: Any, **attrs: Any) -> None:
        out[...] = np.cumsum(value, attrs["axis"])  # whatever the direction

    monkeypatch.setattr(type(REGISTRY["cumsum"]), "evaluate_into", evaluate_into)
    with fails:
        check_every_operator()


def test_buffers_that_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    right = InterpretedExecutable.__init__

    def wrong(self: InterpretedExecutable, unit: Unit) -> None:
        assert unit.plan is not None
        offsets = (0,) * len(unit.plan.offsets)
        right(self, replace(unit, plan=replace(unit.plan, offsets=offsets)))

    monkeypatch.setattr(InterpretedExecutable, "__init__", wrong)
    with fails:
        check_every_operator()


def test_updates_that_see_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two parameters that swap: writing one before the other is read leaves two copies."""
    swap = Recipe(
        (Leaf((2,), 1, (), True), Leaf((2,), 2, (), True)),
        (Step(0, 0, 0, 0),),
        (1, 0),
        with_gradient=False,
    )
    check_compilation(swap, "float32")
    right = interpreter.bind_host

    def wrong(instruction: Any, memory: Any) -> Callable[[], None]:
        bound = right(instruction, memory)
        return bound if instruction.op is not None else lambda: None

    monkeypatch.setattr(interpreter, "bind_host", wrong)
    with fails:
        check_compilation(swap, "float32")
