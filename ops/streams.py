"""Keys of random numbers, and the default stream for those who do not want to think of keys.

The default stream is the state of two parameters that are not trained: ``RNG_SEED`` and
``RNG_COUNTER``. Programs that read the counter update it: the compiler adds
``RNG_COUNTER + 1`` to their updates. Saving both values resumes the stream.

Every call of :func:`default_key` is a *place*, and they are numbered. All steps of a loop have the
same places, whether the loop is traced once or written out; the number of the step is folded in.

All of this is exported by :mod:`graphnn.ops.random`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from graphnn.core.dtypes import INT64, is_integer
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.core.state import parameter
from graphnn.core.values import require_entries
from graphnn.ops.axes import as_shape
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.joining import stack
from graphnn.ops.logic import bitwise_xor
from graphnn.ops.operands import as_node, cast_to
from graphnn.ops.philox import check_key, random_bits, reference_bits

__all__ = [
    "RNG_COUNTER",
    "RNG_SEED",
    "default_key",
    "fold_in",
    "key",
    "load_state_dict",
    "seed",
    "split",
    "state_dict",
]

KEY = Arg((2,), 0, 2**31 - 1, kind="int")
NO_KEY = (
    Reject(ShapeError, "a key has shape (2,)", 5, (3,)),
    Reject(DTypeError, "a key is int64", [1.0, 2.0], (3,)),
)

_FOLD, _SPLIT = 0x3C6EF372FE94F82B, 0x510E527FADE682D1
"""What the key's word is changed by, so that new keys never repeat what is drawn with the key."""


@operation(
    name="random.key",
    reference=lambda seed: np.array([seed, 0]),
    samples=[Sample(0), Sample(-5), Sample(Arg((), 0, 99, kind="int"))],
    rejects=[
        Reject(DTypeError, "a seed is an integer", 0.5),
        Reject(ShapeError, "a seed is one number", [1, 2]),
    ],
    differentiable=False,
)
def key(seed: Any) -> Node:
    """A key from a seed.

    Parameters
    ----------
    seed : int or Node
        64 bits; different seeds give unrelated numbers.

    Returns
    -------
    Node
        int64 of shape (2,).

    Examples
    --------
    >>> import graphnn as gn
    >>> k = gn.random.key(0)
    >>> gn.evaluate(gn.random.normal(k, (2,))).shape
    (2,)
    """
    return stack([_word("key: a seed", seed), constant(0, INT64)])


def _word(what: str, value: Any) -> Node:
    """A 0-d int64 node from an integer of any size, or a node."""
    if isinstance(value, int):
        return constant(_wrapped(value), INT64)
    node = as_node(value)
    if not is_integer(node.dtype):
        raise DTypeError(f"{what} is an integer, not {node.dtype.name}")
    if node.shape != ():
        raise ShapeError(f"{what} is one number, not {shape_text(node.shape)}")
    return cast_to(node, INT64)


def _wrapped(number: int) -> int:
    return (int(number) + 2**63) % 2**64 - 2**63


def _flipped(of: Node, word: int) -> Node:
    return bitwise_xor(of, constant([word, 0], INT64))


def _signed(bits: Any) -> Any:
    return (
        np.array([int(each) for each in bits.ravel()], np.uint64).view(np.int64).reshape(bits.shape)
    )


@operation(
    name="random.split",
    reference=lambda key, n=2: _signed(reference_bits(key, (n, 2), _SPLIT)),
    samples=[Sample(KEY), Sample(KEY, 5), Sample(KEY, 0)],
    rejects=NO_KEY[:1],
    differentiable=False,
)
def split(key: Any, n: Any = 2) -> Node:
    """Several new keys from one.

    Parameters
    ----------
    key : Node
    n : size, default 2

    Returns
    -------
    Node
        int64 of shape (n, 2): one key per row.

    Examples
    --------
    >>> import graphnn as gn
    >>> first, second = gn.random.split(gn.random.key(0))
    """
    given = as_key("split", key)
    return random_bits(_flipped(given, _SPLIT), (*as_shape("split", n), 2), INT64)


def _reference_fold_in(of: Any, data: Any) -> Any:
    return _signed(reference_bits(of, (2,), _FOLD)) ^ np.array([0, int(data)])


@operation(
    name="random.fold_in",
    reference=_reference_fold_in,
    samples=[Sample(KEY, 7), Sample(KEY, Arg((), 0, 99, kind="int"))],
    rejects=[
        Reject(ShapeError, "a key has shape (2,)", 5, 1),
        Reject(DTypeError, "data is an integer", KEY, 0.5),
    ],
    differentiable=False,
)
def fold_in(key: Any, data: Any) -> Node:
    """A new key from a key and a number, such as a step or the index of a layer.

    Parameters
    ----------
    key : Node
    data : int or Node
        Different numbers give unrelated keys.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> step = gn.input("step", dtype="int64")
    >>> mask = gn.random.bernoulli(gn.random.fold_in(gn.random.key(0), step), 0.5, (3,))
    """
    if isinstance(data, int):
        word = constant([0, _wrapped(data)], INT64)
    else:
        word = stack([constant(0, INT64), _word("fold_in: data", data)])
    fresh = random_bits(_flipped(as_key("fold_in", key), _FOLD), (2,), INT64)
    return bitwise_xor(fresh, word)


RNG_SEED = parameter(0, name="rng_seed", dtype=INT64, trainable=False)
"""Seed of the default stream."""

RNG_COUNTER = parameter(0, name="rng_counter", dtype=INT64, trainable=False)
"""How many calls of programs have drawn from the default stream."""

_places = itertools.count()


@dataclass(frozen=True)
class _Place:
    """Where a key is asked for.

    Attributes
    ----------
    path : tuple of int
        Numbers of the loops around it, from the outermost one, and its own within a step.
    steps : tuple of (Node or int)
        The steps of these loops.
    """

    path: tuple[int, ...]
    steps: tuple[Node | int, ...] = ()


class LoopPlaces:
    """The places in one loop, the same for all its steps.

    The loop is a place itself, from the first key on that one of its steps asks for: one without
    random numbers changes nothing for what is built after it.
    """

    def __init__(self) -> None:
        self._around = _step.get()
        self._own: _Place | None = None

    @contextmanager
    def step(self, number: Node | int) -> Iterator[None]:
        """Trace one step, whose number is a symbol or known."""
        token = _step.set(_StepPlaces(self, number))
        try:
            yield
        finally:
            _step.reset(token)

    @property
    def own(self) -> _Place:
        """The place of the loop itself."""
        if self._own is None:
            self._own = _next_place(self._around)
        return self._own


@dataclass(frozen=True)
class _StepPlaces:
    """Where a step that is being traced has come to."""

    loop: LoopPlaces
    number: Node | int
    places: Iterator[int] = field(default_factory=itertools.count)


_step: ContextVar[_StepPlaces | None] = ContextVar("step", default=None)
"""The innermost step that is being traced."""


def _next_place(step: _StepPlaces | None) -> _Place:
    if step is None:
        return _Place((next(_places),))
    loop = step.loop.own
    return _Place((*loop.path, next(step.places)), (*loop.steps, step.number))


@contextmanager
def outside_of_loops() -> Iterator[None]:
    """Build a graph of its own, which cannot read the step that is being traced."""
    token = _step.set(None)
    try:
        yield
    finally:
        _step.reset(token)


def seed(n: int) -> None:
    """Start the default stream anew; exported as ``gn.seed``.

    What is built and called after it draws the same numbers as after any other
    call with the same seed. Programs that exist already see the new seed, too. Like everywhere, a
    seed set between building two layers lets both draw the same numbers: set it first.

    Parameters
    ----------
    n : int

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.seed(0)
    >>> gn.evaluate(gn.random.uniform(shape=(2,))).shape
    (2,)
    """
    global _places
    RNG_SEED.value = _wrapped(n)
    RNG_COUNTER.value = 0
    _places = itertools.count()


def state_dict() -> dict[str, int]:
    """Where the default stream stands; exported as ``gn.random.state_dict``.

    With it, ``gn.random`` is a part of a checkpoint: ``gn.io.save(path, random=gn.random)``.

    Returns
    -------
    dict of str to int
        The seed, how many calls have drawn, and how many places have been numbered.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.seed(3)
    >>> gn.random.state_dict()
    {'seed': 3, 'calls': 0, 'places': 0}
    """
    global _places
    places = next(_places)
    _places = itertools.count(places)
    return {
        "seed": int(RNG_SEED.array),
        "calls": int(RNG_COUNTER.array),
        "places": places,
    }


def load_state_dict(state: Mapping[str, Any]) -> None:
    """Let the default stream go on from where it stood; exported as ``gn.random.load_state_dict``.

    Programs that were built in the same order as then, after the same ``gn.seed``, draw the same
    numbers as then.

    Parameters
    ----------
    state : mapping of str to int
        As :func:`state_dict` gives it.

    Raises
    ------
    CheckpointError
        If it is not the state of a stream.
    """
    global _places
    require_entries("stream of random numbers", state_dict(), state)
    RNG_SEED.value = state["seed"]
    RNG_COUNTER.value = state["calls"]
    _places = itertools.count(int(state["places"]))


def default_key() -> Node:
    """A fresh key from the default stream: another one in every place and at every call.

    Within a loop it is another one in every step of ``gn.scan`` and ``gn.unroll``, which draw the
    same numbers, and in every round of ``gn.while_loop``. A key that is asked for outside, and
    read by the step, is the same for all steps.

    Returns
    -------
    Node
        int64 of shape (2,).

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.seed(0)
    >>> _, drawn = gn.scan(lambda c, _: (c, gn.random.uniform(shape=())), 0.0, length=3)
    >>> len(set(gn.evaluate(drawn).tolist()))
    3
    """
    place = _next_place(_step.get())
    at_call = fold_in(key(RNG_SEED), RNG_COUNTER)
    # Places come first: what is folded in before the steps is computed outside of the loop.
    return reduce(fold_in, (*place.path, *place.steps), at_call)


def host_generator() -> np.random.Generator:
    """A fresh NumPy generator from the default stream, for values that are drawn at once."""
    return np.random.default_rng([int(RNG_SEED.array) % 2**64, next(_places)])


def as_key(what: str, given: Any) -> Node:
    """The key given, or a fresh one."""
    if given is None:
        return default_key()
    node = as_node(given)
    check_key(what, node.tensor)
    return node
