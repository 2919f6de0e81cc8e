"""Random bits by counting: Philox-4x32-10, and permutations from it.

A *key* is an int64 array of two words: the key of the generator (64 bits) and the stream (the
upper half of its 128-bit counter). Element ``i`` of an array of random bits depends on the key
and on ``i`` alone (the lower half of the counter), so any machine computes it in any order to
the same bits. :mod:`graphnn.ops.random` is what users call.

Source: Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC11.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Shape, Size
from graphnn.core.dtypes import INT32, INT64, DType
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, shape_text

__all__: list[str] = []

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
"""Added to the two halves of the key after every round."""

BLOCK = 4096
"""Elements that are computed together: what is between stays in the cache."""

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: Sequence[Array], key: Sequence[Array]) -> list[Array]:
    """Philox-4x32-10: four random words for every counter.

    Parameters
    ----------
    counter : four arrays or scalars of uint64 below 2**32
        They broadcast together.
    key : two arrays or scalars of uint64 below 2**32

    Returns
    -------
    list of four arrays of uint64 below 2**32
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    first, second = map(np.uint64, MULTIPLIERS)
    for _ in range(ROUNDS):
        p0, p1 = first * c0, second * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = ((k + np.uint64(step)) & _LOW for k, step in zip((k0, k1), KEY_STEPS, strict=True))
    return [c0, c1, c2, c3]


class RandomBitsOp(Op):
    """Uniform random integers, all values of the dtype alike.

    Element ``i`` in row-major order is made of the words that Philox gives for the counter
    ``(i, stream)``: int32 is word 0, int64 has word 0 for its upper and word 1 for its lower half.
    Of several keys, along leading axes, each gives numbers of its own.
    """

    name = "random_bits"
    axis_attrs = ()

    def infer(self, key: TensorSpec, *, shape: Shape, dtype: DType) -> TensorSpec:
        check_key(self.name, TensorSpec(key.shape[-1:], key.dtype))
        if dtype not in (INT32, INT64):
            raise DTypeError(f"random_bits: int32 or int64, not {dtype.name}")
        return TensorSpec((*key.shape[:-1], *shape), dtype)

    def evaluate(self, key: Array, *, shape: Any, dtype: DType) -> Array:
        keys = np.ascontiguousarray(key).view(np.uint64).reshape(-1, 2)
        word, stream = keys[:, :1], keys[:, 1:]
        count = math.prod(shape)
        bits = np.empty((len(keys), count), dtype=np.uint32 if dtype == INT32 else np.uint64)
        for start in range(0, count, BLOCK):
            index = np.arange(start, min(start + BLOCK, count), dtype=np.uint64)
            high, low, _, _ = philox((*_halves(index), *_halves(stream)), _halves(word))
            bits[:, start : start + BLOCK] = high if dtype == INT32 else (high << _HALF) | low
        return bits.view(dtype).reshape((*key.shape[:-1], *shape))

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> None:
        return None

    def vjp(self, node: Node, cotangent: Node) -> Sequence[None]:
        return (None,)


class RandomPermutationOp(Op):
    """The numbers below ``size`` in random order: that of their int64 random bits."""

    name = "random_permutation"
    axis_attrs = ()

    def infer(self, key: TensorSpec, *, size: Size) -> TensorSpec:
        check_key(self.name, TensorSpec(key.shape[-1:], key.dtype))
        return TensorSpec((*key.shape[:-1], size), INT64)

    def evaluate(self, key: Array, *, size: int) -> Array:
        bits = RANDOM_BITS.evaluate(key, shape=(size,), dtype=INT64)
        return np.argsort(bits, kind="stable").astype(INT64, copy=False)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> None:
        return None

    def vjp(self, node: Node, cotangent: Node) -> Sequence[None]:
        return (None,)


RANDOM_BITS, RANDOM_PERMUTATION = RandomBitsOp(), RandomPermutationOp()
register(RANDOM_BITS)
register(RANDOM_PERMUTATION)


def _halves(word: Any) -> tuple[Any, Any]:
    """Lower and upper 32 bits."""
    return word & _LOW, word >> _HALF


def check_key(what: str, key: TensorSpec) -> None:
    """Refuse what is not a key.

    Raises
    ------
    ShapeError
        If it does not have two words.
    DTypeError
        If they are not int64.
    """
    hint = "make one with gn.random.key(seed)"
    if key.shape != (2,):
        raise ShapeError(f"{what}: a key has shape (2,), not {shape_text(key.shape)}", hint=hint)
    if key.dtype != INT64:
        raise DTypeError(f"{what}: a key is int64, not {key.dtype.name}", hint=hint)


def random_bits(key: Node, shape: Shape, dtype: DType) -> Node:
    """Uniform random int32 or int64 numbers; the key is used up."""
    return make_node(RANDOM_BITS, (key,), {"shape": shape, "dtype": dtype})


# ---------------------------------------------------------- the reference, for tests


def _words(of: Any, count: int, flip: int = 0) -> list[list[int]]:
    """Four Philox words for each of the counters 0, 1, … of a key."""
    word, stream = (int(each) % 2**64 for each in of)
    word ^= flip
    blocks = []
    for index in range(count):
        c = [index % 2**32, index >> 32, stream % 2**32, stream >> 32]
        k = [word % 2**32, word >> 32]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ k[0], b % 2**32, (a >> 32) ^ c[3] ^ k[1], a % 2**32]
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        blocks.append(c)
    return blocks


def reference_bits(of: Any, shape: Any, flip: int = 0) -> Any:
    """What `random_bits` gives in int64, but unsigned: an object array of Python ints.

    The oracle of the tests, in plain Python numbers; ``flip`` changes bits of the key.
    """
    found = [(block[0] << 32) | block[1] for block in _words(of, math.prod(shape), flip)]
    return np.array(found, dtype=object).reshape(shape)
