"""Compiled functions that are methods, and what they look like to others.

A function of operators alone also runs on NumPy arrays: that is the oracle.
"""

import copy
import gc
import inspect
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
from traced import Layer, array, expect

import graphnn as gn

# ------------------------------------------------------------------------------------- methods


class Scale:
    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.runs = 0

    __hash__ = None  # programs belong to the object, not to what it equals

    @gn.function
    def apply(self, x):
        """Times the factor."""
        self.runs += 1
        return x * self.factor

    @gn.function(static_argnames="n")
    def repeat(self, x, n):
        return self.apply(x) if n == 0 else self.repeat(self.apply(x), n - 1)


def test_methods():
    double, triple = Scale(2.0), Scale(3.0)
    x = array(3)
    for _ in range(2):
        expect(double.apply(x), x * np.float32(2.0))
        expect(triple.apply(x=x), x * np.float32(3.0))
    assert (double.runs, triple.runs) == (1, 1)
    expect(triple.repeat(x, 2), x * np.float32(27.0))
    assert double.apply.__name__ == "apply"
    assert double.apply.__doc__ == "Times the factor."
    assert double.apply.cache_size == 1
    assert Scale.apply.cache_size == 0
    assert repr(double.apply) == "<gn.function apply(x): 1 program>"
    assert [node.name for node in double.apply.trace(x).inputs] == ["x"]
    assert double.apply.program(x) is double.apply.program(array(3))


def test_the_programs_of_an_object_end_with_it():
    scale = Scale(2.0)
    scale.apply(array(3))
    assert len(Scale.apply._methods) == 1
    gone = weakref.ref(scale)
    del scale
    gc.collect()
    assert gone() is None
    assert len(Scale.apply._methods) == 0


def test_the_arrays_of_a_dataclass_are_fed_to_its_methods():
    layer = Layer(array(3, 2), array(2))
    x = array(4, 3)
    for _ in range(3):
        np.testing.assert_allclose(layer.apply(x), x @ layer.w + layer.b, rtol=1e-5)
        layer.w = layer.w + 1
        layer = Layer(array(3, 2), array(2))
    assert layer.apply.cache_size == 1
    assert [node.name for node in layer.apply.trace(x).inputs] == ["self.w", "self.b", "x"]


def test_what_a_decorated_function_shows():
    @gn.function
    def scaled(x: Any, *, factor: float = 2.0) -> Any:
        """Times a factor."""
        return x * factor

    assert (scaled.__name__, scaled.__doc__) == ("scaled", "Times a factor.")
    assert scaled.__wrapped__(3.0) == 6.0
    assert list(inspect.signature(scaled).parameters) == ["x", "factor"]
    assert repr(scaled) == "<gn.function scaled(x, factor): 0 programs>"
    with pytest.raises(TypeError, match=r"scaled\(\): missing a required argument: 'x'"):
        scaled(factor=1.0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        scaled(1.0, power=2)


def test_functions_without_a_signature():
    class Opaque:
        @property
        def __signature__(self):
            raise ValueError

        def __call__(self, x, y):
            return x - y

    assert gn.function(Opaque())(3.0, y=1.0) == 2.0


def test_what_cannot_have_methods_of_its_own_is_told_why():
    class Slotted:
        __slots__ = ("k",)

        @gn.function
        def apply(self, x):
            return x

    with pytest.raises(gn.ArgumentError, match=r"a Slotted has __slots__[\s\S]*add '__weakref__'"):
        Slotted().apply(1.0)
    for kind in (staticmethod, classmethod):
        with pytest.raises(gn.ArgumentError, match=f"write @{kind.__name__} above @gn.function"):
            gn.function(kind(lambda x: x))

    class Kinds:
        factor = 3.0

        @staticmethod
        @gn.function
        def double(x):
            return 2.0 * x

        @classmethod
        @gn.function
        def scale(cls, x):
            return cls.factor * x

    assert (Kinds().double(2.0), Kinds.double(2.0)) == (4.0, 4.0)
    assert (Kinds().scale(2.0), Kinds.scale(2.0)) == (6.0, 6.0)


@gn.function
def pickled(x):
    return x + 1.0


@gn.custom_jvp
def pickled_rule(x):
    return x


def test_copies_and_pickles_are_the_function_itself():
    pickled(1.0)
    for each in (pickled, pickled_rule, gn.function, gn.grad, gn.exp, gn.conv):
        assert copy.copy(each) is copy.deepcopy([each])[0] is each
        assert pickle.loads(pickle.dumps(each)) is each
    scale = Scale(2.0)
    scale.run = scale.apply
    other = copy.deepcopy(scale)
    other.factor = 5.0
    assert (other.run(3.0), scale.run(3.0)) == (15.0, 6.0)  # each of its own object
    assert pickle.loads(pickle.dumps(Scale(4.0).apply))(3.0) == 12.0
