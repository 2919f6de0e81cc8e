"""The source of a program: Python that computes the same, IR and assembly of every kernel."""

import keyword

import numpy as np
import pytest
from llvmlite import binding as llvm

import graphnn as gn
import graphnn.ops
from graphnn.core.op import REGISTRY


def run(program, feeds):
    """Results and new state by the Python source."""
    names = {}
    exec(compile(program.source(), "program", "exec"), names)
    states = [each.array.copy() for each in program.unit.states]
    constants = [each.attrs["value"].array for each in program.unit.constants]
    return names["program"](*feeds, states=states, constants=constants)


def training_step():
    rng = np.random.default_rng(0)
    x, t = gn.input("x", shape=(8, 6)), gn.input("t", shape=(8,), dtype="int64")
    model = gn.nn.Sequential(gn.nn.Dense(6, 5, rng=rng), gn.nn.ReLU(), gn.nn.Dense(5, 3, rng=rng))
    loss = gn.losses.cross_entropy(model(x), t)
    updates = gn.optim.Adam(1e-2).minimize(loss, model.parameters())
    feeds = [rng.normal(size=(8, 6)).astype("float32"), rng.integers(0, 3, 8)]
    return gn.compile([x, t], loss, updates), feeds


def test_python_of_a_training_step_computes_the_same():
    program, feeds = training_step()
    results, updates = run(program, feeds)
    before = [each.value.copy() for each in program.updates]
    loss = program(*feeds)
    np.testing.assert_allclose(results[0], loss, rtol=1e-5)
    for parameter, old, new in zip(program.unit.updated, before, updates, strict=True):
        np.testing.assert_allclose(new, parameter.value, rtol=1e-4, atol=1e-6)
        assert not np.array_equal(old, new)


def test_python_says_which_lines_are_computed_together():
    program, _ = training_step()
    text = program.source()
    comments = [line.strip() for line in text.splitlines() if line.startswith("    # ")]
    assert len(comments) == len(program.instructions)
    assert comments[0].startswith("# 0 gemm: matmul+add")
    assert all("test_source.py:" in each for each in comments)
    # One line for every node that is no feed.
    assert text.count("\n    v") == len(set(program.unit.graph.nodes)) - 2


def test_python_with_tuples_shapes_constants_and_odd_names():
    x = gn.input("v1", shape=(3, 4))
    y = gn.input("lambda", shape=(4,))
    table = gn.constant(np.arange(80, dtype="float32").reshape(20, 4))
    values, indices = gn.top_k(x + y, 2)
    outputs = [
        values,
        indices,
        table[2:5] * x.T[:, 0],
        gn.where(y > 0, np.float32(np.inf), -0.0),
        gn.concatenate([x, x[:, ::-1]], axis=1),
        gn.zeros((30,)) + x[0, 0],
        (y * 3).astype("bfloat16"),
    ]
    program = gn.compile([x, y], outputs)
    rng = np.random.default_rng(1)
    feeds = [rng.normal(size=(3, 4)).astype("float32"), rng.normal(size=4).astype("float32")]
    results, updates = run(program, feeds)
    assert updates == []
    for got, want in zip(results, program(*feeds), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_names_of_operators_are_names_of_python():
    graphnn.ops.load_all()
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in REGISTRY)


def test_llvm_is_the_code_of_every_distinct_kernel():
    x, y = gn.input("x", shape=(40, 30)), gn.input("y", shape=(40, 30))
    program = gn.compile([x, y], [gn.sum(gn.exp(x)), gn.sum(gn.exp(y)), x @ y.T])
    text = program.source("llvm")
    kernels = {each.kernel for each in program.instructions}
    assert 0 < len(kernels) < len(program.instructions)  # two instructions share one
    for index in range(len(kernels)):
        assert f"@kernel{index}" in text
    assert f"@kernel{len(kernels)}" not in text
    for number, each in enumerate(program.instructions):
        assert f"; {number} {each.kind}: {each.label}  (test_source.py:" in text
    for module in text.split("; 0 ")[1:]:
        assert "define void" in module


def test_llvm_of_one_kernel_is_a_module():
    x = gn.input("x", shape=(40,))
    text = gn.compile(x, gn.tanh(x)).source("llvm")
    with llvm.create_context() as context, llvm.parse_assembly(text, context) as module:
        module.verify()
        assert [each.name for each in module.functions if not each.is_declaration]


def test_assembly_has_a_label_for_every_function():
    x = gn.input("x", shape=(40,))
    text = gn.compile(x, gn.tanh(x)).source("asm")
    assert "\nkernel0" in text or "\n_kernel0" in text
    assert "0 kernel: tanh" in text
    assert "define" not in text


def test_source_of_the_host_is_python_alone():
    x = gn.input("x", shape=(5, 5))
    program = gn.compile(x, gn.cholesky(x @ x.T))
    assert "ops.cholesky" in program.source()
    host = next(n for n, each in enumerate(program.instructions) if each.kind == "host")
    assert f"# {host} host: cholesky" in program.source()
    assert f"; {host} " not in program.source("llvm")


def test_unknown_kind_of_source():
    x = gn.input("x", shape=(5,))
    with pytest.raises(gn.ArgumentError, match="no kind of source 'c'"):
        gn.compile(x, -x).source("c")


def nested_scan():
    """A scan within a scan, its gradient, and state that it becomes."""
    rng = np.random.default_rng(0)
    x = gn.input("x", (4, 3, 5))
    h = gn.parameter(rng.normal(size=5).astype("float32"), "h")
    table = gn.constant(rng.normal(size=(4, 5)).astype("float32"))

    def step(h, rows):
        h, ys = gn.scan(lambda g, row: (gn.tanh(g * table[1] + row), g * row), h, rows)
        return h, ys * gn.one_hot(gn.argmax(h), 5)

    last, ys = gn.scan(step, h, x, reverse=True)
    loss = gn.sum(gn.sin(ys)) + gn.sum(last)
    program = gn.compile(x, [loss, ys, gn.grad(loss, x)], {h: last})
    return program, rng.normal(size=(4, 3, 5)).astype("float32")


def test_python_of_scans_calls_a_function_for_every_step():
    program, fed = nested_scan()
    text = program.source()
    assert "def step0(argument0" in text
    assert "[4 x 3 x]" in text
    results, (new,) = run(program, [fed])
    wanted = program(fed)
    for got, each in zip(results, wanted, strict=True):
        np.testing.assert_allclose(got, each, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new, program.unit.updated[0].value, rtol=1e-5)


def test_python_of_equal_bodies_has_one_function():
    x, y = gn.input("x", (4, 5)), gn.input("y", (4, 5))
    scans = [gn.scan(lambda h, x: (gn.tanh(h + x), h), gn.ones(5), each) for each in (x, y)]
    program = gn.compile([x, y], scans)
    assert program.source().count("def step") == 1
    feeds = [np.full((4, 5), value, "float32") for value in (0.5, -1.0)]
    results, _ = run(program, feeds)
    for got, wanted in zip(results, (e for pair in program(*feeds) for e in pair), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_names_of_feeds_that_scans_use_for_something_else():
    x = gn.input("step0", (4, 5))
    y = gn.input("apply_steps", (5,))
    program = gn.compile([x, y], gn.scan(lambda h, x: (gn.tanh(h + x) * y, None), y, x)[0])
    feeds = [np.full((4, 5), 0.5, "float32"), np.arange(5, dtype="float32")]
    (got,), _ = run(program, feeds)
    np.testing.assert_allclose(got, program(*feeds), rtol=1e-6)
