"""Attention layers against formulas in NumPy and against PyTorch."""

import numpy as np
import pytest
from beside_torch import compare

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError

TIME, BATCH, QUERY, KEY, HIDDEN = 5, 3, 4, 2, 6
RNG = np.random.default_rng(0)
Q, K, V = (
    RNG.normal(size=shape) for shape in ((BATCH, QUERY), (TIME, BATCH, KEY), (TIME, BATCH, 3))
)
EQUAL = RNG.normal(size=(TIME, BATCH, QUERY))
LENGTHS = np.array([5, 2, 0])
MASK = np.arange(TIME)[:, None] < LENGTHS


def additive():
    return gn.nn.AdditiveAttention(QUERY, KEY, HIDDEN, dtype="float64")


def general(scaled=False):
    return gn.nn.DotAttention(QUERY, KEY, scaled=scaled, dtype="float64")


def additive_scores(layer, q, k):
    w, u, v = (p.value for p in (layer.query_weight, layer.key_weight, layer.score_weight))
    return float(v @ np.tanh(w.T @ q + u.T @ k))


def general_scores(layer, q, k):
    return float(q @ layer.weight.value @ k)


LAYERS = {
    "additive": (additive, additive_scores, K),
    "general": (general, general_scores, K),
    "scaled general": (
        lambda: general(scaled=True),
        lambda layer, q, k: general_scores(layer, q, k) / np.sqrt(KEY),
        K,
    ),
    "dot": (lambda: gn.nn.DotAttention(QUERY), lambda layer, q, k: float(q @ k), EQUAL),
    "scaled dot": (
        lambda: gn.nn.DotAttention(QUERY, scaled=True),
        lambda layer, q, k: float(q @ k) / 2.0,
        EQUAL,
    ),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def wanted(layer, scores, keys, values, mask):
    """Sample by sample and step by step."""
    contexts, weights = np.zeros((BATCH, values.shape[-1])), np.zeros((TIME, BATCH))
    for sample in range(BATCH):
        steps = [step for step in range(TIME) if mask[step, sample]]
        powers = [np.exp(scores(layer, Q[sample], keys[step, sample])) for step in steps]
        for step, power in zip(steps, powers, strict=True):
            weights[step, sample] = power / sum(powers)
            contexts[sample] += weights[step, sample] * values[step, sample]
    return contexts, weights


@each_layer
def test_values_are_those_of_the_formula(name):
    make, scores, keys = LAYERS[name]
    layer = make()
    q, k, v = (gn.input(n, x.shape, "float64") for n, x in (("q", Q), ("k", keys), ("v", V)))
    lengths, mask = gn.input("lengths", (BATCH,), "int64"), gn.input("mask", MASK.shape, "bool")
    program = gn.compile(
        [q, k, v, lengths, mask],
        [layer(q, k), layer(q, k, v, lengths=lengths), layer(q, k, v, mask=mask)],
    )
    plain, by_lengths, by_mask = program(Q, keys, V, LENGTHS, MASK)
    everything = np.ones_like(MASK)
    for found, expected in (
        (plain, wanted(layer, scores, keys, keys, everything)),
        (by_lengths, wanted(layer, scores, keys, V, MASK)),
        (by_mask, wanted(layer, scores, keys, V, MASK)),
    ):
        for actual, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(actual, right, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["additive", "scaled general", "dot"])
def test_both_modes_to_second_order(name):
    make, _, keys = LAYERS[name]
    layer = make()
    q, k, v = (gn.input(n, x.shape, "float64") for n, x in (("q", Q), ("k", keys), ("v", V)))
    found = layer(q, k, v, mask=MASK)
    gn.check_grads(found[0] * 3.0 + gn.sum(found[1] ** 2), {q: Q, k: keys, v: V}, order=2)


def test_padding_gets_no_gradient_even_where_nothing_is_seen():
    layer = additive()
    q, k, v = (gn.input(n, x.shape, "float64") for n, x in (("q", Q), ("k", K), ("v", V)))
    context, weights = layer(q, k, v, mask=MASK)
    loss = gn.sum(gn.sin(context)) + gn.sum(weights**2)
    slopes = gn.compile([q, k, v], gn.grad(loss, [q, k, v, layer.score_weight]))(Q, K, V)
    by_query, by_key, by_value, by_weight = slopes
    assert np.all(by_key[~MASK] == 0)
    assert np.all(by_value[~MASK] == 0)
    assert np.all(by_query[2] == 0)
    assert np.all(by_key[MASK] != 0)
    assert np.all(np.isfinite(by_weight))


@pytest.mark.parametrize("has_values", [False, True])
def test_what_is_padded_may_be_nan(has_values):
    layer, seen = additive(), MASK[:, :, None]

    def program(keys, values):
        nodes = [gn.input(name, a.shape, "float64") for name, a in (("k", keys), ("v", values))]
        context, weights = layer(Q, nodes[0], nodes[1] if has_values else None, lengths=LENGTHS)
        loss = gn.sum(context**2)
        wanted = [layer.key_weight, layer.query_weight, *nodes[: 1 + has_values]]
        return gn.compile(nodes, [context, weights, *gn.grad(loss, wanted)])(keys, values)

    clean = program(K, V)
    wild = program(np.where(seen, K, np.nan), np.where(seen, V, np.nan))
    for one, other in zip(clean, wild, strict=True):
        assert np.all(np.isfinite(one))
        np.testing.assert_array_equal(one, other)


def test_beside_torch():
    torch = pytest.importorskip("torch")
    layer = additive()

    def theirs(q, k, v, w, u, s):
        scores = torch.tanh(q @ w + k @ u) @ s
        scores = scores.masked_fill(~torch.tensor(MASK[:, :2]), -torch.inf)
        weights = torch.softmax(scores, 0)
        return torch.einsum("tb,tbf->bf", weights, v), weights

    def ours(q, k, v, w, u, s):
        layer.query_weight, layer.key_weight, layer.score_weight = w, u, s
        return layer(q, k, v, mask=MASK[:, :2])

    weights = [p.value for p in (layer.query_weight, layer.key_weight, layer.score_weight)]
    compare(ours, theirs, Q[:2], K[:, :2], V[:, :2], *weights)

    def torch_dot(q, k, v):
        rows = [each.transpose(0, 1) for each in (k, v)]
        return torch.nn.functional.scaled_dot_product_attention(q[:, None], *rows)[:, 0]

    def dot(q, k, v):
        return gn.nn.DotAttention(QUERY, scaled=True)(q, k, v)[0]

    compare(dot, torch_dot, Q, EQUAL, V)


def test_in_a_scan_the_product_with_the_keys_is_computed_once():
    layer = additive()
    keys = gn.input("keys", K.shape, "float64")

    def step(query, _):
        context, _ = layer(query, keys)
        return gn.tanh(context @ np.ones((KEY, QUERY)) + query), context

    _, contexts = gn.scan(step, gn.constant(Q), length=4)
    program = gn.compile(keys, contexts)
    (loop,) = program.loops
    inside = program.instructions[loop.begin : loop.end]
    assert program.loops[0].count == 4
    products = [each for each in inside if "matmul" in each.label]
    assert len(products) == 2  # with the query's weight, and that of the step
    query = Q
    for found in program(K):
        expected, _ = wanted_of(layer, query)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        query = np.tanh(expected @ np.ones((KEY, QUERY)) + query)


def wanted_of(layer, query):
    """The formula for all samples at once."""
    w, u, v = (p.value for p in (layer.query_weight, layer.key_weight, layer.score_weight))
    powers = np.exp(np.tanh(query @ w + K @ u) @ v)
    weights = powers / powers.sum(0)
    return np.einsum("tb,tbf->bf", weights, K), weights


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (ShapeError, "the query must have shape (batch, 4), not (3, 2)", {"query": K[0]}),
        (ShapeError, "the query must have shape (batch, 4), not (5, 3, 4)", {"query": EQUAL}),
        (ShapeError, "the keys must have shape (time, 3, 2), not (5, 3, 3)", {"keys": V}),
        (ShapeError, "the keys must have shape (time, 3, 2), not (5, 2, 2)", {"keys": K[:, :2]}),
        (ShapeError, "the values must have shape (time, 3, features)", {"values": Q}),
        (ShapeError, "keys of 5 steps and values of 4", {"values": V[:4]}),
        (ShapeError, "lengths must be (3,), one for each row", {"lengths": LENGTHS[:2]}),
        (DTypeError, "lengths are integers, not float64", {"lengths": Q[:, 0]}),
        (ShapeError, "mask must be (5, 3), not (3, 5)", {"mask": MASK.T}),
        (DTypeError, "the mask is bool, not float64", {"mask": K[..., 0]}),
        (ArgumentError, "give one of them", {"mask": MASK, "lengths": LENGTHS}),
    ],
)
def test_mistakes_are_told(error, text, call):
    with pytest.raises(error) as raised:
        additive()(**({"query": Q, "keys": K} | call))
    assert text in str(raised.value)


def test_how_they_look():
    assert repr(additive()) == "AdditiveAttention(4, 2, 6)"
    assert repr(general(scaled=True)) == "DotAttention(4, 2, scaled=True)"
    assert repr(gn.nn.DotAttention(4)) == "DotAttention(4)"
    assert gn.nn.DotAttention(4).parameters() == []
