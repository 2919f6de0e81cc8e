"""debug="verify" finds wrong native code and says where; debug="nan" looks inside groups."""

import re
from dataclasses import replace

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.backends import native_calls
from graphnn.compiler.backends.comparison import Expected, expect
from graphnn.compiler.native import loops
from graphnn.compiler.native.library import Library
from graphnn.compiler.native.target import host_target


@pytest.fixture
def sabotage(monkeypatch):
    """Makes loops compute something else, in a library of their own."""
    library = Library(host_target(), None)
    monkeypatch.setattr(native_calls, "host_library", lambda: library)
    right = loops.generate

    def replace_in_ir(pattern, instead):
        def wrong(kernel, target, name):
            code = right(kernel, target, name)
            return replace(code, ir=re.sub(pattern, instead, code.ir))

        monkeypatch.setattr(loops, "generate", wrong)

    return replace_in_ir


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_a_wrong_kernel_is_named(sabotage):
    sabotage(r"\bfadd\b", "fsub")
    x, y = gn.input("x", shape=(7, 5)), gn.input("y", shape=(7, 5))
    with gn.name_scope("layer3"):
        total = (x + y).named("total")
    program = gn.compile([x, y], total * 2.0, debug="verify")
    with pytest.raises(gn.VerifyError, match=r"instruction 0 \(kernel add\+multiply\)") as caught:
        program(noise(7, 5), noise(7, 5) ** 2)
    text = str(caught.value)
    assert "largest difference at (" in text
    assert "Node total" in text or "add" in text
    assert "test_debug_verify.py:" in text


def test_the_largest_difference_is_found(sabotage):
    sabotage(r"\bfadd\b", "fsub")
    x, y = gn.input("x", shape=(4,)), gn.input("y", shape=(4,))
    program = gn.compile([x, y], x + y, debug="verify")
    with pytest.raises(gn.VerifyError, match=r"at \(2,\): -98.0 instead of 102.0"):
        program([2.0, 2.0, 2.0, 2.0], [1.0, 0.0, 100.0, -1.0])
    program([2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, -0.0])  # here it makes no difference


def test_a_wrong_step_leaves_the_state_as_it_was(sabotage):
    sabotage(r"\bfmul\b", "fadd")
    x = gn.input("x", shape=(3,))
    v = gn.parameter([1.0, 2.0, 3.0], name="v")
    w = gn.parameter([1.0, 2.0, 3.0], name="w")
    program = gn.compile(x, (), {v: -v, w: w * x}, debug="verify")
    with pytest.raises(gn.VerifyError):
        program([5.0, 5.0, 5.0])
    assert v.value.tolist() == w.value.tolist() == [1.0, 2.0, 3.0]


def test_wrong_truth_values_are_found(sabotage):
    sabotage(r"\bfcmp ogt\b", "fcmp ole")
    x = gn.input("x", shape=(9,))
    with pytest.raises(gn.VerifyError, match="elements that differ: 9"):
        gn.compile(x, x > 0.5, debug="verify")(noise(9))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_right_programs_pass(dtype):
    rng = np.random.default_rng(0)
    x = gn.input("x", shape=(12, 6), dtype=dtype)
    t = gn.input("t", shape=(12,), dtype="int64")
    w = gn.parameter(rng.normal(size=(6, 4)), dtype=dtype, name="w")
    hidden = gn.gelu(x @ w)
    centred = hidden - gn.mean(hidden, axis=0, keepdims=True)
    loss = gn.losses.cross_entropy(centred, t) + gn.sum(gn.sort(hidden)) * 0.01
    updates = gn.optim.SGD(0.1, momentum=0.9).minimize(loss, [w])
    feeds = [rng.normal(size=(12, 6)).astype(x.dtype), rng.integers(0, 4, 12)]
    outputs = [loss, gn.argmax(hidden, axis=1), hidden > 0]
    made = [gn.compile([x, t], outputs, debug=debug) for debug in ("verify", "")]
    stepping = gn.compile([x, t], loss, updates, debug="verify")
    for got, want in zip(*(each(*feeds) for each in made), strict=True):
        np.testing.assert_array_equal(got, want)
    before = w.value.copy()
    stepping(*feeds)
    assert not np.array_equal(before, w.value)


def test_errors_of_users_are_told_in_words():
    x, index = gn.input("x", shape=(3,)), gn.input("i", shape=(1,), dtype="int64")
    program = gn.compile([x, index], gn.take(x, index), debug="verify")
    with pytest.raises(gn.FeedError, match="index 3 is out of range") as caught:
        program([1.0, 2.0, 3.0], [3])
    assert "while computing" in "".join(caught.value.__notes__)
    assert program([1.0, 2.0, 3.0], [2]) == [3.0]


# ---------------------------------------------------------------------------- the error model


def expected(build, *arrays):
    inputs = [gn.input(f"x{n}", each.shape, each.dtype) for n, each in enumerate(arrays)]
    (made,) = expect((build(*inputs),), dict(zip(inputs, arrays, strict=True)))
    return made


def test_roundings_pass_and_errors_do_not():
    x = np.abs(noise(1000)) + 1.0
    want = expected(gn.sqrt, x)
    assert want.wide.dtype == np.float64
    assert want.compare(np.sqrt(x)) is None
    assert want.compare(np.sqrt(x) * np.float32(1 + 1e-7)) is None
    assert want.compare(np.sqrt(x) * np.float32(1 + 1e-5)) is not None
    one = np.sqrt(x)
    one[317] *= 1.001
    assert want.compare(one).index == (317,)


def test_cancellation_is_no_error():
    x = (1e4 + noise(64)).astype("float32")
    want = expected(lambda v: gn.sum(v - 1e4), x)
    other = np.float32(0)
    for each in x - np.float32(1e4):  # NumPy adds in pairs
        other += each
    assert want.compare(np.asarray(other)) is None
    assert want.compare(np.asarray(other * np.float32(1.01))) is not None


def test_infinities_and_nans_have_their_places():
    x = np.array([0.0, 1.0, -1.0, 4.0], "float32")
    want = expected(gn.log, x)
    right = np.array([-np.inf, 0.0, np.nan, np.log(4.0)], "float32")
    assert want.compare(right) is None
    for index, wrong in ((0, np.inf), (0, 5.0), (1, np.nan), (2, 0.0), (3, np.inf)):
        changed = right.copy()
        changed[index] = wrong
        assert want.compare(changed).index == (index,)


def test_what_is_not_rounded_is_exact():
    x = np.arange(5000)
    want = expected(lambda v: v * 3, x)
    assert want.is_exact
    assert want.compare(x * 3) is None
    wrong = x * 3
    wrong[77] += 1
    assert want.compare(wrong).index == (77,)
    assert Expected.exactly(noise(3)).compare(noise(3) + np.float32(1e-6)) is not None


# -------------------------------------------------------------------------------- debug="nan"


def test_debug_nan_names_what_would_be_inside_a_group():
    x = gn.input("x", shape=(3,))
    grown = gn.exp(x)
    line = gn.provenance(grown).sources[0].line
    y = 1.0 / (3.0 + grown)  # finite again
    assert len(gn.compile(x, y).instructions) == 1
    program = gn.compile(x, y, debug="nan")
    assert np.isfinite(program([1.0, 2.0, 3.0])).all()
    with pytest.raises(gn.NonFiniteError, match=r"\(infinity\): <Node exp") as caught:
        program([1.0, 1000.0, 3.0])
    assert f"test_debug_verify.py:{line}" in str(caught.value)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sums_that_cancel_and_slopes_that_vanish_are_no_errors(dtype):
    """Roundings on the way are all that is left of such results; NumPy may be exact by luck."""
    x = gn.input("x", shape=(3, 4), dtype=dtype)
    outputs = [
        gn.sum(gn.layer_norm(x), axis=1),
        gn.grad(gn.sum(gn.tanh(gn.tanh(x @ x.T))), x),
        gn.mean(gn.tanh(x)),
    ]
    for output in outputs:
        program = gn.compile(x, output, debug="verify")
        for seed in range(20):
            program(2 * np.random.default_rng(seed).normal(size=(3, 4)).astype(dtype))
