"""Nodes: identity, immutability, what they refuse, names and lines."""

import copy
import functools
import gc
import operator
import sys
import threading
import weakref

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.node import freeze
from graphnn.core.op import REGISTRY, Op, register


def test_same_expression_is_same_node():
    x, y = gn.input("x", shape=(3,)), gn.input("y", shape=(3,))
    assert gn.tanh(x * y + 1.0) is gn.tanh(x * y + 1.0)
    assert x * y is not y * x
    assert gn.sum(x, axis=0) is gn.sum(x)
    assert hash(x + y) == hash(x + y)


def test_inputs_and_parameters_are_never_merged():
    assert gn.input("x", shape=(3,)) is not gn.input("x", shape=(3,))
    assert gn.parameter([1.0]) is not gn.parameter([1.0])


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1.0, 1.0, True),
        (np.float32("nan"), np.float32("nan"), True),
        (0.0, -0.0, False),
        (1, 1.0, False),
        (1, True, False),
        (np.float32(1), np.float64(1), False),
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0], 1.0, False),
    ],
)
def test_small_constants_agree_as_bits_do(a, b, same):
    assert (gn.constant(a) is gn.constant(b)) is same


def test_large_constants_are_compared_by_identity_and_copied():
    array = np.zeros(1000, dtype=np.float32)
    first, second = gn.constant(array), gn.constant(array)
    assert first is not second
    array[0] = 5.0
    assert gn.evaluate(first)[0] == 0.0


def test_attributes_differ_as_their_types_do():
    assert freeze((1, True, 1.0)) == freeze((1, True, 1.0))
    assert freeze(1) != freeze(True)
    assert freeze(1.0) != freeze(1)
    assert freeze(0.0) != freeze(-0.0)
    assert freeze(float("nan")) == freeze(float("nan"))


def test_nodes_are_immutable():
    x = gn.input("x", shape=(3,))
    for name in ("op", "inputs", "spec", "anything"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(x, name, None)
    with pytest.raises(AttributeError, match="immutable"):
        del x.op
    with pytest.raises(TypeError):
        gn.sum(x).attrs["axes"] = ()
    assert copy.copy(x) is x
    assert copy.deepcopy([x])[0] is x


def test_unused_nodes_are_forgotten():
    x = gn.input("x", shape=(3,))
    reference = weakref.ref(gn.tanh(x) * 3.0)
    gc.collect()
    assert reference() is None


def test_a_long_chain_is_freed_without_recursion():
    x = gn.input("x", shape=(3,))
    y = x
    for _ in range(100_000):
        y = gn.tanh(y)
    first = weakref.ref(y)
    del y
    assert first() is None


def test_building_from_threads_gives_one_node():
    x = gn.input("x", shape=(3,))
    found = []

    def build():
        y = x
        for i in range(200):
            y = gn.sin(y) + float(i)
        found.append(y)

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_symbolic_values_refuse_to_be_concrete():
    x = gn.input("x", shape=(3,))
    with pytest.raises(TypeError, match=r"gn\.where"):
        bool(x > 0)
    with pytest.raises(TypeError, match=r"gn\.exp, not np\.exp"):
        np.asarray(x)
    with pytest.raises(TypeError):
        np.exp(x)
    for convert in (float, int):
        with pytest.raises(TypeError, match="symbolic"):
            convert(gn.sum(x))
    with pytest.raises(TypeError, match="0-d"):
        len(gn.sum(x))
    assert len(list(x)) == 3
    assert [each.shape for each in gn.input("m", shape=(2, 3))] == [(3,), (3,)]


def test_arrays_give_way_to_nodes():
    x = gn.input("x", shape=(3,))
    array = np.ones(3, dtype=np.float32)
    for node in (array + x, array * x, array - x, array / x, array @ x, array < x):
        assert isinstance(node, gn.Node)
    assert np.allclose(gn.evaluate(array - x, {x: [1.0, 2.0, 3.0]}), [0.0, -1.0, -2.0])


def test_repr_is_short():
    h = gn.tanh(gn.input("x", shape=("batch", 4))).named("h[3]")
    assert repr(h) == "<Node h[3] = tanh (batch, 4) float32>"
    assert repr(gn.constant(1.0)) == "<Node constant () float32>"


def test_names_scopes_steps_and_lines():
    x = gn.input("x", shape=(3,))
    with gn.name_scope("encoder"), gn.name_scope("cell"), gn.time_step(4):
        h = gn.tanh(x).named("h")
    known = gn.provenance(h)
    assert known.name == "h" == h.name
    assert known.scope == "encoder/cell"
    assert known.step == 4
    assert known.role == "forward"
    assert known.sources[0].path == __file__
    assert gn.tanh(x) is h
    lines = {source.line for source in gn.provenance(h).sources}
    assert len(lines) == 2  # both lines that built it


def test_lines_are_those_of_the_user_and_not_of_the_standard_library():
    x = gn.input("x", shape=(3,))
    y = functools.singledispatch(gn.tanh)(x)  # which calls tanh from a file of its own
    (line,) = gn.provenance(y).sources
    assert (line.path, line.function) == (__file__, sys._getframe().f_code.co_name)


def test_gradient_nodes_remember_where_they_come_from():
    x = gn.input("x", shape=(3,))
    with gn.time_step(7):
        y = gn.sin(x)
    g = gn.grad(gn.sum(y), x)
    known = gn.provenance(g)
    assert known.role == "backward"
    assert known.step == 7
    assert known.origin is y
    assert known.sources == gn.provenance(y).sources


def test_no_dtype_is_not_float64():
    with pytest.raises(gn.DTypeError, match="None is not supported"):
        gn.input("x", shape=(2,), dtype=None)


def test_parameter_value():
    w = gn.parameter([[1.0, 2.0]], name="w")
    assert w.dtype == np.float32
    assert w.trainable
    w.value[...] = 9.0  # a copy
    assert w.value.tolist() == [[1.0, 2.0]]
    memory = w.array
    w.value = [[3.0, 4.0]]
    assert w.array is memory
    assert w.array.ctypes.data % 64 == 0
    with pytest.raises(gn.ShapeError, match=r"shape \(1, 2\), the value \(2,\)"):
        w.value = [1.0, 2.0]
    with pytest.raises(gn.DTypeError, match="float32"):
        w.value = np.array([[1j, 2j]])
    with pytest.raises(AttributeError):
        w.trainable = False


def test_registry_refuses_a_second_op_of_one_name():
    class Copy(Op):
        name = "add"

    with pytest.raises(ValueError, match="already registered"):
        register(Copy())
    assert REGISTRY["add"] is gn.add


def test_comparing_with_values_is_refused_because_it_would_compare_identities():
    x = gn.input("x", shape=(3,))
    assert x != gn.input("x", shape=(3,))
    assert x == x
    assert x != "x"
    for other in (3, 0.5, True, np.ones(3), np.float32(1)):
        with pytest.raises(TypeError, match=r"gn\.equal"):
            operator.eq(x, other)
    with pytest.raises(TypeError, match=r"gn\.any"):
        operator.contains(x, 3)
    with pytest.raises(gn.DTypeError, match=r"Python's False[\s\S]*gn\.equal"):
        gn.where(x == gn.sin(x), 1.0, 2.0)


def test_numpy_functions_on_nodes_name_ours():
    x = gn.input("x", shape=(3,))
    for function in (np.sum, np.mean, np.stack):
        with pytest.raises(TypeError, match=rf"gn\.{function.__name__} does"):
            function(x)


def test_repr_shortens_names():
    assert repr(gn.constant(1.0) + 2.0).count("\n") == 0
    assert len(repr((gn.constant(2.0) + 2.0).named("n\n" * 1000))) < 120


def test_values_that_an_integer_dtype_cannot_hold_are_refused():
    for value in (1.5, [0.0, np.nan], np.array([2.5]), np.inf):
        with pytest.raises(gn.DTypeError, match="is not an integer, but int32 was asked for"):
            gn.constant(value, "int32")
    assert gn.evaluate(gn.constant(2.0, "int32")) == 2
    with pytest.raises(gn.DTypeError, match="300 does not fit int8"):
        gn.parameter([300], dtype="int8")
    with pytest.raises(gn.DTypeError, match=r"300\.0 does not fit int8"):
        gn.parameter([300.0], dtype="int8")
    with pytest.raises(gn.DTypeError, match="None is not a number or an array"):
        gn.input("x", shape=(2,)) + None
