"""The driver, and what each pass makes of a small graph."""

import gc
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from random_graphs import Recipe, build, recipes
from rewriting import raw, vector

import graphnn as gn
from graphnn.compiler.driver import Driver, Pass
from graphnn.compiler.passes.canonicalize import canonicalize
from graphnn.compiler.passes.expand import expand
from graphnn.compiler.passes.fold_constants import fold_constants
from graphnn.compiler.passes.lower import lower
from graphnn.compiler.passes.plan_memory import plan_memory
from graphnn.compiler.passes.schedule import schedule
from graphnn.compiler.passes.simplify import simplify
from graphnn.compiler.passes.specialize import specialize
from graphnn.compiler.pipeline import LEVELS
from graphnn.compiler.unit import Options, Storage, Unit

BACKENDS = ("reference", "numpy")


def unit_of(*outputs: gn.Node, updates: Any = None, **fields: Any) -> Unit:
    inputs = gn.core.graph.as_graph(outputs).inputs
    changes = dict(updates or {})
    graph = gn.Graph(inputs, (*outputs, *changes.values()))
    return Unit(graph, tuple(changes), Options(verify=True), **fields)


def after(unit: Unit, *passes: Pass) -> Unit:
    return Driver().run(unit, passes)[0]


def rewritten(node: gn.Node, *passes: Pass, **fields: Any) -> gn.Node:
    return after(unit_of(node, **fields), *passes).graph.outputs[0]


# --------------------------------------------------------------------------------- the driver


def test_report_has_a_record_for_every_pass() -> None:
    x = vector()
    for level, passes in LEVELS.items():
        report = gn.compile(x, gn.exp(x) - 1.0, optimize=level).report
        names = [each.__name__ for each in passes]
        assert [each.name for each in report.passes] == [*names, "emit"]
        assert all(each.milliseconds >= 0 for each in report.passes)
        assert report.milliseconds == sum(each.milliseconds for each in report.passes)
    (record,) = [each for each in report.passes if each.name == "simplify"]
    assert (record.nodes_before, record.nodes_after) == (4, 2)
    assert "exp_minus_one x1" in str(report)


def test_the_reference_interpreter_has_instructions_when_somebody_looks_at_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = []

    def watched(work: Pass) -> Pass:
        @wraps(work)
        def noted(unit: Unit, driver: Driver) -> Unit:
            ran.append(work.__name__)
            return work(unit, driver)

        return noted

    passes = LEVELS["O2"]
    monkeypatch.setitem(LEVELS, "O2", tuple(map(watched, passes)))
    x = gn.input("x", shape=(2,))
    program = gn.compile(x, gn.tanh(x) + 1.0, backend="reference")
    np.testing.assert_array_equal(program(np.zeros(2, "float32")), [1.0, 1.0])
    assert ran[-1] == "schedule"
    assert "kernel: tanh" in program.explain()
    assert program.arena_nbytes > 0
    assert ran == [each.name for each in program.passes.passes]
    assert ran == [each.__name__ for each in passes]


def test_passes_without_work_return_the_same_object() -> None:
    x, w = vector(shape=(3, 4)), gn.parameter(np.ones((4, 2), "float32"))
    unit = unit_of(gn.tanh(x @ w + 0.5))
    for each in (specialize, canonicalize, fold_constants, simplify, expand):
        assert each(unit, Driver()) is unit, each.__name__


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_garbage_collector_rests_during_a_pass_alone(was_enabled: bool) -> None:
    seen: list[bool] = []

    def look(unit: Unit, driver: Driver) -> Unit:
        seen.append(gc.isenabled())
        return unit

    def fail(unit: Unit, driver: Driver) -> Unit:
        raise RuntimeError("no luck")

    unit = unit_of(gn.tanh(gn.input("x", shape=(3,))))
    (gc.enable if was_enabled else gc.disable)()
    try:
        after(unit, look)
        assert gc.isenabled() is was_enabled
        with pytest.raises(RuntimeError, match="no luck"):
            after(unit, fail)
        assert gc.isenabled() is was_enabled
    finally:
        gc.enable()
    assert seen == [False]


def test_a_broken_pass_is_named() -> None:
    x = vector()
    unit = unit_of(gn.exp(x))

    def lose_an_input(unit: Unit, driver: Driver) -> Unit:
        return replace(unit, graph=gn.Graph((), unit.graph.outputs))

    def schedule_backwards(unit: Unit, driver: Driver) -> Unit:
        return replace(unit, schedule=unit.graph.nodes[::-1])

    def share_everything(unit: Unit, driver: Driver) -> Unit:
        assert unit.plan is not None
        plan = replace(unit.plan, offsets=(0,) * len(unit.plan.offsets))
        return replace(unit, plan=plan)

    def forget_the_first(unit: Unit, driver: Driver) -> Unit:
        return replace(unit, instructions=unit.instructions[1:])

    for broken, words in ((lose_an_input, "not fed"), (schedule_backwards, "before one of its")):
        with pytest.raises(gn.VerifyError, match=f"after pass {broken.__name__}.*{words}") as found:
            after(unit, broken)
        assert "fuel" in str(found.value)
    y = vector(shape=(2, 2)) @ vector(shape=(2, 2))
    planned = after(unit_of(gn.exp(y) @ y), schedule, lower, plan_memory)
    with pytest.raises(gn.VerifyError, match=r"after pass share_everything.*share memory"):
        after(planned, share_everything)
    with pytest.raises(gn.VerifyError, match=r"after pass forget_the_first.*before it is written"):
        after(planned, forget_the_first)


def test_a_plan_that_overwrites_what_is_still_needed_is_refused() -> None:
    """A kernel may write over what it reads, but exactly there; results are apart to the end."""
    x = vector(shape=(8, 8))
    kept, y = gn.expm(x), gn.inv(x)
    unit = Unit(gn.Graph((x,), (kept, gn.exp(y))), options=Options(verify=True))
    planned = after(unit, schedule, lower, plan_memory)

    def at(*offsets: int) -> Pass:
        def place(unit: Unit, driver: Driver) -> Unit:
            assert unit.plan is not None
            return replace(unit, plan=replace(unit.plan, offsets=offsets, nbytes=1024))

        return place

    assert [each.nbytes for each in planned.buffers] == [256, 256, 256]
    after(planned, at(0, 256, 256))
    for offsets in ((0, 0, 256), (0, 256, 320)):
        with pytest.raises(gn.VerifyError, match="share memory"):
            after(planned, at(*offsets))


def test_an_update_must_keep_its_spec() -> None:
    w = gn.parameter([1.0, 2.0])
    unit = unit_of(updates={w: w * 2.0})

    def widen(unit: Unit, driver: Driver) -> Unit:
        wide = tuple(gn.cast(each, "float64") for each in unit.graph.outputs)
        return replace(unit, graph=gn.Graph((), wide))

    with pytest.raises(gn.VerifyError, match=r"after pass widen.*update of f32\[2\] by f64\[2\]"):
        after(unit, widen)


# ------------------------------------------------------------------- passes from graph to graph


def test_specialize() -> None:
    x = gn.input("x", ("batch", 3))
    unit = unit_of(gn.reshape(gn.exp(x), (-1,)), sizes={"batch": 4})
    special = after(unit, specialize)
    assert special.graph.outputs[0].shape == (12,)
    assert special.graph.inputs[0].shape == (4, 3)
    assert special.graph.inputs[0].name == "x"
    assert specialize(special, Driver()) is special


def test_canonicalize() -> None:
    x, y = vector(), vector()
    assert rewritten(1.0 + x, canonicalize) is x + 1.0
    assert rewritten(2.0 - x, canonicalize) is 2.0 - x
    assert rewritten(gn.exp(gn.stop_gradient(x)), canonicalize) is gn.exp(x)
    packed = raw("tuple", gn.exp(x), y)
    assert rewritten(raw("project", packed, index=1) * y, canonicalize) is y * y

    @gn.custom_vjp
    def double(x: gn.Node) -> gn.Node:
        return x + x

    assert rewritten(double(x), canonicalize) is x + x


def test_fold_constants() -> None:
    x = vector()
    folded = rewritten(x * (gn.exp(gn.constant(0.0)) + 1.0), fold_constants)
    assert folded is x * gn.constant(2.0)
    spread = gn.broadcast_to(gn.constant(1.0), (1000,))
    assert rewritten(gn.sum(spread), fold_constants) is gn.sum(spread)
    assert rewritten(gn.sigmoid(gn.constant(0.0)), fold_constants) is gn.constant(0.5)


def test_folding_makes_nothing_huge() -> None:
    large = gn.arange(1 << 23, dtype="int64")
    assert rewritten(large + 1, fold_constants) is large + 1


def test_expand() -> None:
    x = vector()
    expected = gn.maximum(x, 0.0) + gn.log1p(gn.exp(-abs(x)))
    assert rewritten(gn.softplus(x), expand) is expected
    nodes = after(unit_of(gn.log_softmax(gn.gelu(x))), expand).graph.nodes
    assert all(node.op.has_kernel or node.op.is_source for node in nodes)
    composite = gn.softmax(x)
    line = gn.provenance(composite).sources[0]
    made = after(unit_of(composite), expand).graph.outputs[0]
    assert gn.provenance(made).made_by == "expand"
    assert line in gn.provenance(made).sources


# --------------------------------------------------------------- schedule, instructions, memory


def test_schedule_puts_updates_after_the_last_read() -> None:
    x, w = vector(), gn.parameter(np.ones(4, "float32"), name="w")
    new = w - 0.1 * x
    loss = gn.sum(gn.exp(w) * x)
    order = after(unit_of(loss, updates={w: new}), schedule).schedule
    assert order.index(new) > order.index(gn.exp(w))
    assert set(order) == set(gn.Graph((x,), (loss, new)).nodes)


def test_lower_makes_views_of_what_only_moves() -> None:
    x = vector(shape=(2, 3))
    unit = after(unit_of(gn.exp(x.T[1:])), schedule, lower)
    (instruction,) = unit.instructions
    assert instruction.kind == "kernel"
    (view,) = instruction.inputs
    assert (view.offset, view.shape, view.strides) == (4, (2, 2), (4, 12))
    assert view.buffer is unit.feeds[0].buffer
    assert unit.results[0].shape == (2, 2)


def test_lower_copies_where_a_reshape_cannot_be_a_view() -> None:
    x = vector(shape=(2, 3))
    unit = after(unit_of(gn.exp(x.T.reshape(6))), schedule, lower)
    assert [each.kind for each in unit.instructions] == ["copy", "kernel"]


def test_plan_memory_reuses_what_is_dead() -> None:
    """A chain needs as much memory as two of its nodes, however long it is."""
    sizes = set()
    for length in (4, 40, 400):
        x = y = vector(shape=(32, 32))
        w = gn.constant(np.eye(32, dtype="float32"))
        for _ in range(length):
            y = gn.tanh(y @ w)
        sizes.add(gn.compile(x, y, verify=True).arena_nbytes)
    assert len(sizes) == 1
    assert max(sizes) <= 3 * 32 * 32 * 4


def test_plan_memory_overwrites_in_elementwise_chains() -> None:
    x = y = vector(shape=(1024,))
    for _ in range(50):
        y = gn.tanh(y)
    program = gn.compile(x, y, verify=True)
    assert program.arena_nbytes == 1024 * 4


def assert_no_overlap(unit: Unit) -> None:
    """Live buffers are apart, but for a kernel that overwrites an input of its result's size."""
    assert unit.plan is not None
    plan, count = unit.plan, len(unit.buffers)
    spans = [(plan.offsets[i], plan.offsets[i] + unit.buffers[i].nbytes) for i in range(count)]
    for i in range(count):
        assert spans[i][1] <= plan.nbytes
        assert plan.offsets[i] % 64 == 0
        for j in range(i):
            first, second = sorted((i, j), key=lambda each: plan.live[each])
            ends, begins = plan.live[first][1], plan.live[second][0]
            apart = spans[i][1] <= spans[j][0] or spans[j][1] <= spans[i][0]
            is_dead = any(last < start for start, last in (plan.live[i], plan.live[j]))
            if apart or is_dead or ends < begins:
                continue
            assert ends == begins, f"buffers {i} and {j} share memory"
            assert unit.instructions[ends].kind == "kernel"
            assert spans[i] == spans[j]


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(recipes)
def test_live_buffers_never_overlap(recipe: Recipe) -> None:
    built = build(recipe, "float32", "float32")
    for level in ("O0", "O2"):
        program = gn.compile(
            built.inputs, built.outputs, built.updates, optimize=level, verify=True
        )
        assert_no_overlap(program.specialize({}).unit)


# ----------------------------------------------------------------------------- in-place updates

ON_EACH = pytest.mark.parametrize("backend", BACKENDS)
AT_EACH = pytest.mark.parametrize("optimize", list(LEVELS))


def writes_to_state(program: gn.Program) -> list[str]:
    return [
        each.kind
        for each in program.instructions
        if each.outputs[0].buffer.storage is Storage.STATE
    ]


@ON_EACH
@AT_EACH
def test_two_parameters_swap(backend: str, optimize: str) -> None:
    a, b = gn.parameter([1.0, 2.0]), gn.parameter([3.0, 4.0])
    program = gn.compile([], (), {a: b, b: a}, backend=backend, optimize=optimize, verify=True)
    program()
    assert (a.value.tolist(), b.value.tolist()) == ([3.0, 4.0], [1.0, 2.0])
    program()
    assert (a.value.tolist(), b.value.tolist()) == ([1.0, 2.0], [3.0, 4.0])


@ON_EACH
@AT_EACH
def test_a_result_may_be_the_old_value(backend: str, optimize: str) -> None:
    w = gn.parameter([1.0, 2.0])
    program = gn.compile(
        [], [w, w[::-1], w * 1.0], {w: w + 1.0}, backend=backend, optimize=optimize, verify=True
    )
    for old in ([1.0, 2.0], [2.0, 3.0]):
        assert [each.tolist() for each in program()] == [old, old[::-1], old]
    assert w.value.tolist() == [3.0, 4.0]


@ON_EACH
@AT_EACH
def test_moments_and_weights_as_in_adam(backend: str, optimize: str) -> None:
    x = vector(shape=(3,))
    w, m = gn.parameter(np.ones(3, "float32")), gn.parameter(np.zeros(3, "float32"))
    gradient = 2.0 * (w - x)
    moment = 0.9 * m + 0.1 * gradient
    program = gn.compile(
        x,
        gn.sum(w),
        {m: moment, w: w - 0.5 * moment},
        backend=backend,
        optimize=optimize,
        verify=True,
    )
    weights, moments = np.ones(3), np.zeros(3)
    for _ in range(3):
        assert program([1.0, 2.0, 3.0]) == pytest.approx(weights.sum(), rel=1e-6)
        moments = 0.9 * moments + 0.1 * 2.0 * (weights - [1, 2, 3])
        weights = weights - 0.5 * moments
    np.testing.assert_allclose(w.value, weights, rtol=1e-6)
    np.testing.assert_allclose(m.value, moments, rtol=1e-6)
    assert set(writes_to_state(program)) == {"kernel"}


@ON_EACH
@AT_EACH
def test_an_update_waits_for_who_reads_the_parameter_elsewhere(backend: str, optimize: str) -> None:
    w = gn.parameter(np.arange(4.0, dtype="float32").reshape(2, 2))
    old = w.value.copy()
    new = w - w.T
    program = gn.compile(
        [], gn.exp(w.T) @ w, {w: new}, backend=backend, optimize=optimize, verify=True
    )
    np.testing.assert_allclose(program(), np.exp(old.T) @ old, rtol=1e-6)
    np.testing.assert_array_equal(w.value, old - old.T)


@ON_EACH
def test_an_update_that_changes_nothing(backend: str) -> None:
    w = gn.parameter([1.0, 2.0])
    program = gn.compile([], (), {w: w * 1.0}, backend=backend, verify=True)
    program()
    assert w.value.tolist() == [1.0, 2.0]
    assert not program.instructions


@ON_EACH
def test_one_value_for_two_parameters(backend: str) -> None:
    a, b = gn.parameter([1.0, 2.0]), gn.parameter([3.0, 4.0])
    total = a + b
    result = gn.compile([], total, {a: total, b: total}, backend=backend, verify=True)()
    assert result.tolist() == a.value.tolist() == b.value.tolist() == [4.0, 6.0]
