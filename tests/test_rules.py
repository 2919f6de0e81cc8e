"""Every rewrite rule: what it makes of a graph, and that the values stay what they were.

Exact rules keep every bit, or come closer to the truth in extended precision. A rule without a
case fails `test_every_rule_has_a_case`.
"""

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from family_cases import FAMILIES
from rewriting import BY_NAME, Case, apply_alone
from rule_cases import ALGEBRA, CHOICES, MOVEMENT
from stability_cases import STABLE

import graphnn as gn
from graphnn.compiler.pattern import Exactness
from graphnn.compiler.rules import RULES, STABILITY
from graphnn.core.dtypes import as_dtype

CASES = [*ALGEBRA, *CHOICES, *MOVEMENT, *STABLE, *FAMILIES]
EACH = pytest.mark.parametrize("case", CASES, ids=str)


def special_values(dtype: str) -> list[float]:
    if as_dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return [info.min, info.max, 0, 1, 2, 3, 77]
    finfo = ml_dtypes.finfo(as_dtype(dtype))
    large = [float(finfo.max), float(finfo.max) ** 0.5, 300.0]
    small = [float(finfo.tiny), float(finfo.smallest_subnormal), float(finfo.eps), 1e-3]
    positive = [0.0, 0.3, 1.0, 2.5, 17.0, *small, *large, np.inf]
    return [*positive, *(-each for each in positive), np.nan]


def moderate_values() -> list[float]:
    """Without what overflows or underflows by itself: for rules that change the last bits."""
    return [0.0, -0.0, np.inf, -np.inf, np.nan, *np.linspace(-30, 30, 41)]


def drawn(case: Case, dtype: str) -> list[Any]:
    """An array per input."""
    exactness = BY_NAME[case.rule].exactness
    if case.rows is not None:
        return [np.array(case.rows, dtype)]
    values = special_values(dtype)
    if exactness is Exactness.REASSOCIATING:
        values = moderate_values()
    if exactness is Exactness.VALUE_UNSAFE:
        values = list(np.linspace(0.1, 30, 41))
    if any(isinstance(arg, tuple) for arg in case.args):
        generator = np.random.default_rng(0)
        arrays = [np.asarray(9 * generator.normal(size=arg)).astype(dtype) for arg in case.args]
        for each in arrays:
            each.flat[0] = -0.0
        return arrays
    columns = zip(
        *itertools.product(*((True, False) if arg == "b" else values for arg in case.args)),
        strict=True,
    )
    stored = as_dtype(dtype)
    return [
        np.array(column, bool if arg == "b" else stored)
        for arg, column in zip(case.args, columns, strict=True)
    ]


def inputs_for(arrays: list[Any]) -> list[gn.Node]:
    return [gn.input(f"x{i}", each.shape, each.dtype) for i, each in enumerate(arrays)]


def evaluate(nodes: list[gn.Node], inputs: list[gn.Node], arrays: list[Any]) -> list[Any]:
    return gn.compile(inputs, nodes, backend="reference", optimize="O0")(*arrays)


def same_bits(one: Any, other: Any) -> Any:
    """Where two arrays agree bit for bit; all NaNs are one."""
    if one.dtype.kind in "biu":
        return one == other
    equal = (one == other) & (np.signbit(one) == np.signbit(other))
    return equal | (np.isnan(one) & np.isnan(other))


@EACH
def test_graph(case: Case) -> None:
    inputs = inputs_for(drawn(case, case.dtypes[0]))
    before, after = case.before(*inputs), case.after(*inputs)
    rule = BY_NAME[case.rule]
    assert apply_alone(rule, before) is after
    assert apply_alone(rule, after) is after
    first = inputs[0]
    unrelated = gn.logical_xor(first, first) if first.dtype == bool else gn.argmax(gn.tanh(first))
    assert apply_alone(rule, unrelated) is unrelated


def each_dtype() -> list[Any]:
    return [
        pytest.param(case, dtype, id=f"{case}-{dtype}") for case in CASES for dtype in case.dtypes
    ]


@pytest.mark.parametrize(("case", "dtype"), each_dtype())
def test_values(case: Case, dtype: str) -> None:
    arrays = drawn(case, dtype)
    inputs = inputs_for(arrays)
    with np.errstate(all="ignore"):
        before, after = evaluate([case.before(*inputs), case.after(*inputs)], inputs, arrays)
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
        if BY_NAME[case.rule].exactness is not Exactness.EXACT:
            tolerance = 0 if after.dtype.kind in "biu" else 8 * ulp_of_one(after.dtype)
            np.testing.assert_allclose(
                after.astype("f8"), before.astype("f8"), rtol=tolerance, atol=tolerance
            )
        elif case.truth is None:
            differs = ~same_bits(before, after)
            assert not differs.any(), (case, before[differs], after[differs])
        else:
            assert_closer(case, arrays, before, after)


def ulp_of_one(dtype: Any) -> float:
    return float(ml_dtypes.finfo(dtype).eps)


def assert_closer(case: Case, arrays: list[Any], before: Any, after: Any) -> None:
    """After a rule, a result is nowhere farther from the truth by more than a few last bits."""
    assert case.truth is not None
    truth = np.asarray(case.truth(*(each.astype(np.longdouble) for each in arrays)))
    rounded = truth.astype(after.dtype)
    finfo = ml_dtypes.finfo(after.dtype)
    slack = 4 * np.maximum(abs(truth) * float(finfo.eps), float(finfo.smallest_subnormal))
    error_before, error_after = abs(before - truth), abs(after - truth)
    fine = same_bits(before, after) | same_bits(after, rounded)
    fine |= np.isfinite(truth) & (error_after <= np.fmax(error_before, slack))
    worse = ~fine
    assert not worse.any(), (
        f"{case}: {arrays[0].reshape(-1)[: worse.size][worse.reshape(-1)[: arrays[0].size]]} "
        f"gave {before[worse]}, gives {after[worse]}, should be {truth[worse]}"
    )
    if case.improves:
        missed = np.isfinite(truth) & ~(error_before <= slack)
        better = missed & (error_after <= error_before / 2)
        better |= missed & np.isnan(error_before) & np.isfinite(error_after)
        assert better.any(), f"{case} improves nothing"


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(BY_NAME)
    assert len(BY_NAME) == len(RULES.rules), "two rules share a name"
    for rule in RULES.rules:
        assert "``" in (rule.build.__doc__ or ""), f"{rule.name} does not say what it does"
        assert " -> " in rule.build.__doc__, rule.name


def test_stability_rules_are_exact() -> None:
    assert {rule.exactness for rule in STABILITY} == {Exactness.EXACT}
