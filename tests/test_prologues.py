"""Factors that are computed while they are packed: same bits as if they were computed before."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler import pipeline
from graphnn.compiler.backends import native_calls
from graphnn.compiler.native.contraction import blocking, prologues
from graphnn.compiler.native.library import Library
from graphnn.compiler.native.target import host_target
from graphnn.compiler.passes.fuse_prologues import fuse_prologues


def inputs_of(shape, dtype="float32"):
    """A factor, something of its shape, a row of it, a number for every row; the other factor."""
    m, k, n = shape
    named = {"x": (m, k), "y": (m, k), "row": (k,), "column": (m, 1), "w": (k, n)}
    return {name: gn.input(name, sizes, dtype) for name, sizes in named.items()}


PRODUCTS = {
    "scale": lambda x, y, row, column, w: (x * 2.0) @ w,
    "mask": lambda x, y, row, column, w: gn.where(y > 0, x, 0.0) @ w,
    "derivative": lambda x, y, row, column, w: (x * y * (1.0 - y * y)) @ w,
    "row": lambda x, y, row, column, w: gn.relu(x + row) @ w,
    "column": lambda x, y, row, column, w: (x * column - row) @ w,
    "transposed": lambda x, y, row, column, w: gn.transpose(w) @ gn.transpose(x * y),
    "reduced over rows": lambda x, y, row, column, w: gn.transpose(x * y) @ gn.exp(y),
    "both": lambda x, y, row, column, w: (x * y) @ (w * 0.5),
    "right": lambda x, y, row, column, w: x @ gn.maximum(w, 0.1),
    "reshaped": lambda x, y, row, column, w: (
        gn.reshape(gn.reshape(x, (-1,)) * gn.reshape(y, (-1,)), x.shape) @ w
    ),
}


def drawn(nodes):
    random = np.random.default_rng(0)
    return [
        random.normal(size=[int(size) for size in each.shape]).astype(each.dtype) for each in nodes
    ]


@pytest.fixture
def always_packed(monkeypatch):
    """Products pack both factors whatever that costs; their code is kept apart from other code."""
    library = Library(host_target(), None)
    monkeypatch.setattr(native_calls, "host_library", lambda: library)
    monkeypatch.setattr(blocking, "_choices", lambda is_packed: (True,))
    monkeypatch.setattr(blocking, "_along", lambda *_: iter(()))
    monkeypatch.setattr(prologues, "SCATTERED", 0.0)
    blocking.make_plan.cache_clear()
    yield
    blocking.make_plan.cache_clear()


def unfused(inputs, outputs, monkeypatch):
    """The program without the pass."""
    passes = tuple(each for each in pipeline.O2 if each is not fuse_prologues)
    assert len(passes) == len(pipeline.O2) - 1
    with monkeypatch.context() as patched:
        patched.setitem(pipeline.LEVELS, "O2", passes)
        return gn.compile(inputs, outputs)


def kinds(program):
    return [each.kind for each in program.instructions]


@pytest.mark.usefixtures("always_packed")
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((33, 70, 45), "float32"), ((64, 48, 32), "float64"), ((7, 130, 21), "float16")],
)
def test_values_are_those_of_the_unfused_program(name, shape, dtype, monkeypatch):
    nodes = inputs_of(shape, dtype)
    inputs, product = list(nodes.values()), PRODUCTS[name](**nodes)
    arrays = drawn(inputs)
    program = gn.compile(inputs, product)
    plain = unfused(inputs, product, monkeypatch)
    assert kinds(program).count("kernel") < kinds(plain).count("kernel")
    made = program(*arrays)
    assert made.tobytes() == plain(*arrays).tobytes()
    assert gn.compile(inputs, product, debug="verify")(*arrays).tobytes() == made.tobytes()
    expected = gn.compile(inputs, product, native="never")(*arrays)
    eps = float(np.finfo(made.dtype).eps)
    np.testing.assert_allclose(
        made.astype("f8"), expected.astype("f8"), rtol=30 * eps, atol=300 * eps
    )


@pytest.mark.usefixtures("always_packed")
def test_threads_change_no_bit():
    nodes = inputs_of((64, 200, 96))
    inputs, product = list(nodes.values()), PRODUCTS["both"](**nodes)
    before, made = gn.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            gn.set_num_threads(count)
            made.append(gn.compile(inputs, product)(*drawn(inputs)).tobytes())
    finally:
        gn.set_num_threads(before)
    assert len(set(made)) == 1


def reason(inputs, outputs):
    """Why the first value that might have been a prologue is none."""
    program = gn.compile(inputs, outputs)
    (line,) = (each for each in program.explain().splitlines() if "because" in each)
    return line.split("because: ")[1]


@pytest.mark.usefixtures("always_packed")
def test_why_a_factor_is_computed_before():
    nodes = inputs_of((33, 70, 45))
    x, y, w = nodes["x"], nodes["y"], nodes["w"]
    inputs = list(nodes.values())
    scaled = x * y
    assert "needed elsewhere" in reason(inputs, (scaled @ w, scaled))
    assert "twice" in reason(inputs, scaled @ gn.transpose(scaled))
    assert "longer to compute than to pack" in reason(inputs, gn.tanh(x) @ w)
    assert "other axes" in reason(inputs, (x * y)[:20] @ w)


def test_a_factor_that_is_not_packed_is_computed_before():
    x, y, w = gn.input("x", (2, 3)), gn.input("y", (2, 3)), gn.input("w", (3, 4))
    assert "without packing" in reason([x, y, w], (x * y) @ w)


@pytest.mark.usefixtures("always_packed")
def test_what_is_overwritten_before_the_product_is_read_before():
    """The parameter that the factor is made of changes between the two."""
    x = gn.input("x", (16, 16))
    w = gn.parameter(np.eye(16, dtype="float32"), "w")
    y = gn.exp(x @ (w * 3.0))
    program = gn.compile(x, y, {w: w + 1.0})
    slow = gn.compile(x, y, {w: w + 1.0}, backend="reference", optimize="O0")
    given = np.random.default_rng(0).normal(size=(16, 16)).astype("float32") * 0.1
    made = [program(given) for _ in range(2)]
    w.value = np.eye(16, dtype="float32")
    for each in made:
        np.testing.assert_allclose(each, slow(given), rtol=2e-5)


def scanned(step, xs, first, monkeypatch):
    """The program of a scan, which has the same bits without the pass; its explanation."""
    outputs = gn.core.structure.flatten(gn.scan(step, first, xs))
    program = gn.compile([xs], outputs)
    fed = drawn([xs])
    plain = unfused([xs], outputs, monkeypatch)
    for got, wanted in zip(program(*fed), plain(*fed), strict=True):
        assert got.tobytes() == wanted.tobytes()
    return program, kinds(plain).count("kernel") - kinds(program).count("kernel")


@pytest.mark.usefixtures("always_packed")
def test_a_factor_of_a_step_is_computed_while_it_is_packed(monkeypatch):
    """What it reads moves; but it is not read where the product writes."""
    xs, ones = gn.input("xs", (3, 33, 33)), gn.ones((33, 33))
    _, fused = scanned(lambda h, x: (gn.tanh((h * x) @ x), None), xs, ones, monkeypatch)
    assert fused == 0
    program, fused = scanned(lambda h, x: (gn.tanh((x * 0.1) @ h), None), xs, ones, monkeypatch)
    assert fused == 1
    (product,) = (each for each in program.instructions if each.kind == "gemm")
    assert any(any(view.moves) for view in product.inputs)


@pytest.mark.usefixtures("always_packed")
def test_a_factor_is_not_computed_across_loops(monkeypatch):
    """What is computed once before the loop is not computed in every round."""
    xs, w = gn.input("xs", (3, 33, 33)), gn.parameter(np.eye(33, dtype="float32"))
    scaled = w * 2.0
    _, fused = scanned(
        lambda h, x: (gn.tanh(h @ scaled + x), None), xs, gn.ones((33, 33)), monkeypatch
    )
    assert fused == 0
    # What a loop makes for each step is not computed by the product of all steps behind it.
    v = gn.constant(np.eye(33, dtype="float32")[:, :7] * 0.5)
    _, fused = scanned(
        lambda h, x: (gn.sin(h + x), (h * x) @ v), xs, gn.ones((33, 33)), monkeypatch
    )
    assert fused == 0


@pytest.mark.usefixtures("always_packed")
def test_a_carry_is_written_though_a_product_reads_it(monkeypatch):
    xs = gn.input("xs", (3, 33, 33))
    v = gn.constant(np.eye(33, dtype="float32")[:, :7] * 0.5)

    def step(carry, x):
        h, delayed = carry
        new = h * 0.5 + x
        return (new, new * x), gn.sum(gn.tanh(new @ v + (delayed * 1.5) @ v))

    ones = gn.ones((33, 33))
    (last, delayed), ys = gn.scan(step, (ones, ones), xs)
    fed = drawn([xs])
    for outputs in ([last, ys], [delayed, ys], [ys]):
        made = gn.compile([xs], outputs)(*fed)
        plain = unfused([xs], outputs, monkeypatch)(*fed)
        for got, wanted in zip(made, plain, strict=True):
            assert got.tobytes() == wanted.tobytes()
