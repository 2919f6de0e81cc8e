"""Attention beside PyTorch's, with masks of all kinds, and at its corners."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from beside_torch import compare
from drawing import Array

import graphnn as gn
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node

attention = gn.scaled_dot_product_attention

SEEDS = range(6)
KINDS = ("none", "causal", "mask", "keys", "bias", "infinite bias", "bias and mask", "all")


@pytest.fixture
def torch() -> Any:
    """The second opinion."""
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def random_mask(rng: np.random.Generator, *shape: int) -> Array:
    """True for most keys."""
    return np.array(rng.random(shape) < 0.7)


def drawn(seed: int) -> tuple[np.random.Generator, list[Array], tuple[int, ...]]:
    """A generator; queries, keys and values of a random size; the shape of the scores."""
    rng = np.random.default_rng(seed)
    batch, kept, group, length, keys, features, wide = map(int, rng.integers(1, 5, 7))
    shapes = (
        (batch, kept * group, length, features),
        (batch, kept, keys, features),
        (batch, kept, keys, wide),
    )
    arrays = [rng.normal(size=shape) for shape in shapes]
    return rng, arrays, (batch, kept * group, length, keys)


def example() -> tuple[list[Array], list[Node], tuple[int, ...]]:
    """Queries, keys and values; inputs for them; the shape of the scores. Two heads share one."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((2, 4, 3, 2), (2, 2, 4, 2), (2, 2, 4, 5))]
    inputs = [gn.input(f"x{i}", each.shape, "float64") for i, each in enumerate(arrays)]
    return arrays, inputs, (2, 4, 3, 4)


# ------------------------------------------------------------------------------ beside PyTorch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_masks_and_biases(torch: Any, kind: str, seed: int) -> None:
    """Values and gradients, also by the bias; PyTorch takes one mask, so they are combined."""
    rng, arrays, scores = drawn(seed)
    batch, _, length, keys = scores
    mask, bias = None, None
    if kind in ("mask", "bias and mask", "all"):
        mask = random_mask(rng, *scores)
    elif kind == "keys":
        mask = random_mask(rng, batch, 1, 1, keys)
    if kind in ("bias", "bias and mask", "all"):
        bias = rng.normal(size=(length, keys))
    elif kind == "infinite bias":
        bias = np.where(random_mask(rng, length, keys), rng.normal(size=(length, keys)), -np.inf)
    is_causal = kind in ("causal", "all")
    scale = float(rng.uniform(0.1, 1.0)) if seed % 2 else None

    def ours(query: Node, key: Node, value: Node, bias: Node | None = None) -> Node:
        return attention(query, key, value, mask, bias=bias, is_causal=is_causal, scale=scale)

    def theirs(query: Any, key: Any, value: Any, *biases: Any) -> Any:
        seen = np.ones(scores, bool) if mask is None else np.broadcast_to(mask, scores)
        seen = seen & np.tri(length, keys, dtype=bool) if is_causal else seen
        hidden = torch.tensor(~seen)
        start = torch.zeros(scores, dtype=torch.float64)
        added = sum(biases, start=start).masked_fill(hidden, -np.inf)
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=added, scale=scale, enable_gqa=True
        )

    compare(ours, theirs, *arrays, *([] if bias is None else [bias]))


@pytest.mark.parametrize("seed", SEEDS)
def test_shapes_without_heads_or_batch(torch: Any, seed: int) -> None:
    rng, arrays, _ = drawn(seed)
    query, key, value = (each[0, :1] for each in arrays)
    theirs = torch.nn.functional.scaled_dot_product_attention
    compare(attention, theirs, query[0], key[0], value[0])
    compare(attention, theirs, query, key, value)
    queries = rng.normal(size=(2, 3, *query.shape))
    compare(attention, theirs, queries, key, value)
    compare(
        lambda *x: attention(*x, is_causal=True),
        lambda *x: theirs(*x, is_causal=True),
        *arrays[1:2] * 3,
    )


# ------------------------------------------------------------------------------- what is hidden


def test_a_query_that_sees_no_key_gives_zero() -> None:
    arrays, inputs, scores = example()
    shape = scores[-2:]
    no_row, not_first = np.ones(shape, bool), np.ones(shape, bool)
    no_row[1] = False
    not_first[0, 0] = False  # all that the causal mask leaves to the first query
    for row, is_causal, mask in [(1, False, no_row), (0, True, not_first)]:
        bias = np.where(mask, 0.0, -np.inf)
        for options in ({"mask": mask}, {"bias": bias}):
            result = attention(*inputs, **options, is_causal=is_causal)
            length = gn.sum(result * result)
            slopes = gn.grad(length, inputs)
            curvature = gn.hvp(length, inputs, arrays)
            program = gn.compile(inputs, [result, *slopes, *curvature])
            value, by_query, *others = program(*arrays)
            assert np.all(value[:, :, row] == 0.0)
            assert np.all(by_query[:, :, row] == 0.0)
            assert np.all(np.any(np.delete(value, row, 2) != 0.0, axis=-1))
            assert all(np.isfinite(each).all() for each in others)


@pytest.mark.parametrize("is_causal", [False, True])
def test_what_is_hidden_does_not_matter(is_causal: bool) -> None:
    (query, key, value), inputs, scores = example()
    mask = None if is_causal else np.arange(scores[-1]) < scores[-1] - 1
    program = gn.compile(inputs, attention(*inputs, mask, is_causal=is_causal))
    other_key, other_value = key.copy(), value.copy()
    other_key[..., -1, :], other_value[..., -1, :] = 1e3, -1e3  # three queries, four keys
    np.testing.assert_array_equal(
        program(query, key, value), program(query, other_key, other_value)
    )
    seen = gn.compile(inputs, attention(*inputs))
    assert np.any(seen(query, key, value) != seen(query, other_key, other_value))


# -------------------------------------------------------------------------------------- dropout


def test_dropout_zeroes_weights_and_scales_the_others() -> None:
    (query, key, value), inputs, scores = example()
    chance, of = 0.4, gn.random.key(7)
    dropped = attention(*inputs, dropout_rate=chance, dropout_key=of)
    factors = gn.random.dropout_mask(of, chance, scores, "float64")
    result, kept = gn.compile(inputs, [dropped, factors])(query, key, value)
    key, value = np.repeat(key, 2, 1), np.repeat(value, 2, 1)
    powers = np.exp(np.einsum("bhle,bhse->bhls", query, key) / np.sqrt(query.shape[-1]))
    weights = powers / powers.sum(-1, keepdims=True)
    assert 0.2 < np.mean(kept == 0.0) < 0.6
    np.testing.assert_allclose(result, (weights * kept) @ value, rtol=1e-12, atol=1e-12)


def test_dropout_without_a_key_differs_from_call_to_call() -> None:
    arrays, inputs, _ = example()
    program = gn.compile(inputs, attention(*inputs, dropout_rate=0.5))
    assert np.any(program(*arrays) != program(*arrays))


# ---------------------------------------------------------------------------- dtypes and sizes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_half_floats_are_rounded_once(dtype: str, is_causal: bool) -> None:
    eps = float(ml_dtypes.finfo(dtype).eps)
    for seed in SEEDS:
        _, arrays, _ = drawn(seed)
        halves = [each.astype(dtype) for each in arrays]
        found, wanted = (
            gn.evaluate(attention(*map(gn.constant, given), is_causal=is_causal), {})
            for given in (halves, [each.astype(np.float64) for each in halves])
        )
        assert found.dtype == np.dtype(dtype)
        error = np.abs(found.astype(np.float64) - wanted)
        assert np.all(error <= 0.51 * eps * np.abs(wanted) + 1e-6)


def test_large_scores_do_not_overflow() -> None:
    q = gn.input("q", (2, 3))
    result = attention(q, q, q, scale=1.0)
    value, slope = gn.compile(q, [result, gn.grad(gn.sum(result), q)])([[1e4, 0, 0], [0, 2e4, 0]])
    np.testing.assert_array_equal(value, [[1e4, 0, 0], [0, 2e4, 0]])
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients_reuse_the_weights(is_causal: bool) -> None:
    _, inputs, _ = example()
    result = attention(*inputs, bias=gn.ones((3, 4), "float64"), is_causal=is_causal)
    slopes = gn.grad(gn.sum(result * result), inputs)
    program = gn.compile(inputs, [result, *slopes])
    names = [node.op.name for each in program.instructions for node in each.nodes]
    assert names.count("exp") == 1
    assert names.count("dot_general") == 6  # two forward, and two for each of them backward


def test_sizes_may_have_names() -> None:
    arrays, fixed, scores = example()
    query = gn.input("query", ("batch", 4, "length", "features"), "float64")
    key = gn.input("key", ("batch", 2, "keys", "features"), "float64")
    value = gn.input("value", ("batch", 2, "keys", "wide"), "float64")
    mask = gn.input("mask", ("length", "keys"), "bool")
    result = attention(query, key, value, mask, is_causal=True)
    assert result.shape == (query.shape[0], 4, query.shape[2], value.shape[3])
    slopes = gn.grad(gn.sum(result), [query, key, value])
    given = random_mask(np.random.default_rng(0), *scores[-2:])
    found = gn.compile([query, key, value, mask], [result, *slopes])(*arrays, given)
    known = attention(*fixed, given, is_causal=True)
    expected = gn.compile(fixed, [known, *gn.grad(gn.sum(known), fixed)])(*arrays)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)


def test_heads_of_a_named_number_cannot_be_grouped() -> None:
    query = gn.input("query", (4, "length", 8))
    key = gn.input("key", ("heads", "length", 8))
    with pytest.raises(ShapeError, match="has 4 heads, keys or values have heads, no divisor"):
        attention(query, key, key)
